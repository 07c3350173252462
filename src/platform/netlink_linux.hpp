// A netlink socket for rtnetlink requests, through libmnl (linux/netlink.h). It stays in the network namespace that
// its maker's thread was in, and so does every request, whichever thread makes it: one request and its answers at a
// time. An answer counts only with our port and the request's sequence number; what an interrupted request has left
// in the socket is thrown away before the next. Only for interface_linux.cpp and its tests.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>

namespace wintun {

class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) : header_(mnl_nlmsg_put_header(buffer_)) {
    header_->nlmsg_type = type;
    header_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  template <class Body>
  Body& body() {
    return *static_cast<Body*>(mnl_nlmsg_put_extra_header(header_, sizeof(Body)));
  }

  void put(std::uint16_t type, const void* data, std::size_t size) { mnl_attr_put(header_, type, size, data); }
  void put_number(std::uint16_t type, std::uint32_t value) { mnl_attr_put_u32(header_, type, value); }
  nlmsghdr* header() { return header_; }

 private:
  static constexpr std::size_t kBytes = 256;
  alignas(nlmsghdr) std::uint8_t buffer_[kBytes]{};
  nlmsghdr* header_;
};

class Netlink {
 public:
  Netlink() : process_(::getpid()), socket_(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)) {
    if (socket_ == nullptr || mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) {
      open_error_ = errno;
      return;
    }
    int on = 1;
    // Older kernels refuse it; they dump more than was asked for, which readers of the answers leave out.
    (void)mnl_socket_setsockopt(socket_, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
    socklen_t size = sizeof(namespace_);
    // Before Linux 5.14 there is none, and all namespaces count as one: that matters in forked children only.
    if (::getsockopt(descriptor(), SOL_SOCKET, kNamespaceCookie, &namespace_, &size) != 0) namespace_ = 0;
  }
  ~Netlink() {
    if (socket_ != nullptr) (void)mnl_socket_close(socket_);
  }
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  int open_error() const { return open_error_; }  // 0: it is open

  // 0, or the error of the system or of the kernel's answer; EINTR for a dump during which the table has changed.
  // `on_message` runs under the lock and makes no request.
  template <class OnMessage>
  int talk(Request& request, OnMessage on_message) {
    if (open_error_ != 0) return open_error_;
    if (::getpid() != process_) return talk_as_a_child(request, on_message);
    const std::lock_guard lock(mutex_);
    return exchange(request, on_message);
  }

 private:
  static constexpr std::size_t kReplyBytes = 32768;  // the kernel's largest part of a dump
  static constexpr int kNamespaceCookie = 71;        // SO_NETNS_COOKIE, since Linux 5.14

  int descriptor() const { return mnl_socket_get_fd(socket_); }

  // The socket is the parent's too, and each would take the other's answers; its lock may have been taken at the fork
  // by a thread that is not here. So a child has a socket of its own, if that reaches the same namespace.
  template <class OnMessage>
  int talk_as_a_child(Request& request, OnMessage& on_message) const {
    Netlink own;
    if (own.open_error_ != 0) return own.open_error_;
    return own.namespace_ == namespace_ ? own.exchange(request, on_message) : ENODEV;
  }

  template <class OnMessage>
  int exchange(Request& request, OnMessage& on_message) {
    alignas(nlmsghdr) std::uint8_t reply[kReplyBytes];
    if (unfinished_) discard_answers(reply);
    if (++sequence_ == 0) ++sequence_;  // 0 is for messages that nobody asked for
    request.header()->nlmsg_seq = sequence_;
    while (mnl_socket_sendto(socket_, request.header(), request.header()->nlmsg_len) < 0) {
      if (errno != EINTR) return errno;
    }
    unfinished_ = true;
    Answer answer;
    while (!answer.is_complete) {
      const ssize_t size = mnl_socket_recvfrom(socket_, reply, sizeof(reply));
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return errno;
      take(reply, static_cast<int>(size), answer, on_message);
    }
    unfinished_ = false;
    return answer.error == 0 && answer.has_changed ? EINTR : answer.error;
  }

  struct Answer {
    bool is_complete = false;
    bool has_changed = false;  // a dump is read to its end all the same: until then the kernel begins no other
    int error = 0;
  };

  template <class OnMessage>
  void take(const std::uint8_t* reply, int left, Answer& answer, OnMessage& on_message) const {
    const auto* message = reinterpret_cast<const nlmsghdr*>(reply);
    for (; mnl_nlmsg_ok(message, left) && !answer.is_complete; message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_ || message->nlmsg_pid != mnl_socket_get_portid(socket_)) continue;
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) answer.has_changed = true;
      if (message->nlmsg_type >= NLMSG_MIN_TYPE) {
        on_message(message);
      } else if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) {
        // Both begin with an error, negative or 0. A single object comes without an end mark, so all requests but
        // dumps ask for the acknowledgement.
        answer.is_complete = true;
        int error = 0;
        const bool is_whole = mnl_nlmsg_get_payload_len(message) >= sizeof(error);
        if (is_whole) std::memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
        answer.error = is_whole || message->nlmsg_type == NLMSG_DONE ? -error : EBADMSG;
      }
    }
  }

  // Reading is also what moves a dump to its end.
  void discard_answers(std::uint8_t* into) {
    for (;;) {
      if (::recv(descriptor(), into, kReplyBytes, MSG_DONTWAIT) >= 0 || errno == EINTR || errno == ENOBUFS) continue;
      unfinished_ = false;
      return;
    }
  }

  const pid_t process_;
  mnl_socket* const socket_;
  int open_error_ = 0;
  std::uint64_t namespace_ = 0;
  std::mutex mutex_;  // of what follows, and of the socket's traffic
  std::uint32_t sequence_ = 0;
  bool unfinished_ = false;  // a request has failed or thrown before its last answer
};

template <class OnAttribute>
void for_each_attribute(const nlmsghdr* message, unsigned body_bytes, OnAttribute on_attribute) {
  const auto callback = [](const nlattr* attribute, void* context) -> int {
    (*static_cast<OnAttribute*>(context))(attribute);
    return MNL_CB_OK;
  };
  (void)mnl_attr_parse(message, body_bytes, callback, &on_attribute);
}

}  // namespace wintun

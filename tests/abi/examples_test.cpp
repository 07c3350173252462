// The C and the C++ example, as programs of their own, against the kernel in a network namespace. The C one finds the
// library at run time, so it shows too that a program written for the published header works with libringtun.so.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "network.hpp"

extern char** environ;

namespace wintun {
namespace {

// A program whose output is read; ended by SIGINT, as Ctrl-C does.
class Program {
 public:
  explicit Program(std::vector<std::string> words) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    output_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&id_, arguments[0], &actions, nullptr, arguments.data(), environ), 0) << words[0];
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
  }
  ~Program() {
    if (id_ > 0) interrupt();
    ::close(output_);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The next line that contains `part`; empty when the output ends, or after thirty seconds of silence.
  std::string line_with(const std::string& part) {
    for (std::string line;;) {
      pollfd watched{output_, POLLIN, 0};
      char c = 0;
      if (poll(&watched, 1, 30000) != 1 || read(output_, &c, 1) != 1) return "";
      if (c != '\n') {
        line.push_back(c);
      } else if (line.find(part) != std::string::npos) {
        return line;
      } else {
        line.clear();
      }
    }
  }

  // Its exit code.
  int interrupt() { return end_by(SIGINT); }
  int kill_it() { return end_by(SIGKILL); }

 private:
  int end_by(int signal) {
    kill(id_, signal);
    int status = 0;
    waitpid(std::exchange(id_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  int output_ = -1;
  pid_t id_ = -1;
};

// Sends one ping and gives the type of the ICMP message that comes back; -1 after ten seconds.
class Ping {
 public:
  ~Ping() { ::close(socket_); }
  void send(const char* to) const {
    icmphdr request{};
    request.type = ICMP_ECHO;
    request.checksum = htons(0xF7FF);  // of 08 00, and zeros
    const sockaddr_in peer = ipv4(to, 0);
    EXPECT_EQ(sendto(socket_, &request, sizeof(request), 0, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)),
              static_cast<ssize_t>(sizeof(request)))
        << std::strerror(errno);
  }
  int receive() const {
    pollfd watched{socket_, POLLIN, 0};
    std::uint8_t packet[64];
    if (poll(&watched, 1, 10000) != 1) return -1;
    return recv(socket_, packet, sizeof(packet), 0) == 28 ? packet[20] : -1;
  }

 private:
  const int socket_ = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
};

TEST(ExamplesTest, the_c_program_prints_what_the_kernel_sends_and_ends_on_interrupt) {
  in_own_network([] {
    Program reader({WINTUN_C_READER, "Reader", WINTUN_LIBRARY});
    ASSERT_NE(reader.line_with("Try: ping"), "");
    const Ping ping;
    ping.send("10.6.7.8");
    EXPECT_EQ(reader.line_with("Received"), "Received 28 bytes of IPv4 from 10.6.7.7 to 10.6.7.8");
    EXPECT_EQ(reader.interrupt(), 0);
    EXPECT_EQ(if_nametoindex("Reader"), 0u);
  });
}

TEST(ExamplesTest, the_c_program_says_what_is_missing) {
  Program reader({WINTUN_C_READER, "Reader", "/does/not/exist.so"});
  EXPECT_EQ(reader.line_with(""), "");
  EXPECT_EQ(reader.interrupt(), EXIT_FAILURE);
}

TEST(ExamplesTest, the_cpp_program_answers_pings_and_ends_on_interrupt) {
  in_own_network([] {
    Program responder({WINTUN_CPP_PING, "Pinged"});
    ASSERT_NE(responder.line_with("Try: ping"), "");
    const Ping ping;
    for (int i = 0; i < 3; ++i) {
      ping.send("10.6.7.8");
      EXPECT_EQ(ping.receive(), ICMP_ECHOREPLY);
    }
    EXPECT_EQ(responder.line_with("Answered 3"), "Answered 3 pings");
    EXPECT_EQ(responder.interrupt(), 0);
    EXPECT_EQ(if_nametoindex("Pinged"), 0u);
  });
}

TEST(ExamplesTest, a_program_that_is_killed_leaves_no_interface) {
  in_own_network([] {
    Program responder({WINTUN_CPP_PING, "Pinged"});
    ASSERT_NE(responder.line_with("Try: ping"), "");
    EXPECT_NE(if_nametoindex("Pinged"), 0u);
    EXPECT_EQ(responder.kill_it(), -SIGKILL);
    EXPECT_EQ(if_nametoindex("Pinged"), 0u);
  });
}

}  // namespace
}  // namespace wintun

// See library.hpp. Two ways to fill the table: by the linker, and by name from a file. Cold; any thread. The last
// error of the linked library is GetLastError of wintun.h, hence WINTUN_LINKED; a loaded one brings its own.
#define WINTUN_LINKED
#include "session/library.hpp"

#include <cerrno>
#include <mutex>
#include <utility>
#include <vector>

#include "platform/shared_library.hpp"
#include "session/errors.hpp"
#include "session/log.hpp"

namespace wintun {
namespace {

class LinkedLibrary : public Library {
 public:
  LinkedLibrary() {
    functions_.create_adapter = WintunCreateAdapter;
    functions_.open_adapter = WintunOpenAdapter;
    functions_.close_adapter = WintunCloseAdapter;
    functions_.delete_driver = WintunDeleteDriver;
    functions_.get_adapter_luid = WintunGetAdapterLUID;
    functions_.get_running_driver_version = WintunGetRunningDriverVersion;
    functions_.set_logger = WintunSetLogger;
    functions_.start_session = WintunStartSession;
    functions_.end_session = WintunEndSession;
    functions_.get_read_wait_event = WintunGetReadWaitEvent;
    functions_.receive_packet = WintunReceivePacket;
    functions_.release_receive_packet = WintunReleaseReceivePacket;
    functions_.allocate_send_packet = WintunAllocateSendPacket;
    functions_.send_packet = WintunSendPacket;
    functions_.receive_packets = WintunReceivePackets;
    functions_.release_receive_packets = WintunReleaseReceivePackets;
    functions_.allocate_send_packets = WintunAllocateSendPackets;
    functions_.send_packets = WintunSendPackets;
    functions_.get_statistics = WintunGetStatistics;
    functions_.open_adapter_device_object = WintunOpenAdapterDeviceObject;
    attach_logger(functions_);
  }
};

// The published names are looked up one by one; what is missing is told in one go.
class LoadedLibrary : public Library {
 public:
  explicit LoadedLibrary(const std::string& path) : file_(path) {
    path_ = path;
    require("WintunCreateAdapter", functions_.create_adapter);
    require("WintunOpenAdapter", functions_.open_adapter);
    require("WintunCloseAdapter", functions_.close_adapter);
    require("WintunDeleteDriver", functions_.delete_driver);
    require("WintunGetAdapterLUID", functions_.get_adapter_luid);
    require("WintunGetRunningDriverVersion", functions_.get_running_driver_version);
    require("WintunSetLogger", functions_.set_logger);
    require("WintunStartSession", functions_.start_session);
    require("WintunEndSession", functions_.end_session);
    require("WintunGetReadWaitEvent", functions_.get_read_wait_event);
    require("WintunReceivePacket", functions_.receive_packet);
    require("WintunReleaseReceivePacket", functions_.release_receive_packet);
    require("WintunAllocateSendPacket", functions_.allocate_send_packet);
    require("WintunSendPacket", functions_.send_packet);
    if (!missing_.empty()) {
      throw_error(ENOSYS, {.doing = "load the Wintun library \"" + path + "\"",
                           .cause = "it does not export " + missing_,
                           .remedy = "name a library with the functions of Wintun 0.14, or leave the choice to us"});
    }
    find_batches();
    find("WintunGetStatistics", functions_.get_statistics);
    find("WintunOpenAdapterDeviceObject", functions_.open_adapter_device_object);
    find("RingtunGetLastError", functions_.get_last_error);
  }

 private:
  template <class Function>
  void find(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(file_.find(name));
  }

  template <class Function>
  void require(const char* name, Function*& function) {
    find(name, function);
    if (function == nullptr) missing_ += (missing_.empty() ? "" : ", ") + std::string(name);
  }

  // Lending and giving back in batches go together: half of a pair is as good as none.
  void find_batches() {
    find("WintunReceivePackets", functions_.receive_packets);
    find("WintunReleaseReceivePackets", functions_.release_receive_packets);
    find("WintunAllocateSendPackets", functions_.allocate_send_packets);
    find("WintunSendPackets", functions_.send_packets);
    // 0.8 to 0.13 had a WintunReceivePackets of another signature; only ours comes with the others.
    if (functions_.receive_packets == nullptr || functions_.release_receive_packets == nullptr ||
        functions_.allocate_send_packets == nullptr || functions_.send_packets == nullptr) {
      functions_.receive_packets = nullptr;
      functions_.release_receive_packets = nullptr;
      functions_.allocate_send_packets = nullptr;
      functions_.send_packets = nullptr;
    }
  }

  SharedLibrary file_;
  std::string missing_;
};

// A loaded library stays until the process ends: it may have threads, and objects of each thread, that do not go with
// its last device. The same library by whichever path is one object.
std::pair<std::shared_ptr<const Library>, bool> kept(std::shared_ptr<const Library> library) {
  static auto& mutex = *new std::mutex;
  static auto& libraries = *new std::vector<std::shared_ptr<const Library>>;
  const std::lock_guard lock(mutex);
  for (const auto& one : libraries) {
    if (one->functions().create_adapter == library->functions().create_adapter) return {one, false};
  }
  return {libraries.emplace_back(std::move(library)), true};
}

}  // namespace

std::shared_ptr<const Library> Library::linked() {
  // Never destroyed: devices that are static objects of the program may outlive any static object of ours.
  static const auto* const library = new std::shared_ptr<const Library>(std::make_shared<LinkedLibrary>());
  return *library;
}

std::shared_ptr<const Library> Library::load(const std::string& path) {
  if (path.empty()) {
    throw_error(EINVAL, {.doing = "load a Wintun library", .cause = "its path is empty"});
  }
  const auto [library, is_new] = kept(std::make_shared<LoadedLibrary>(path));
  if (is_new) attach_logger(library->functions());  // here, since it may log: no lock is held
  return library;
}

std::uint32_t Library::driver_version() const {
  const LogScope lines;
  if (const std::uint32_t version = functions_.get_running_driver_version(); version != 0) return version;
  const std::uint32_t error = last_error(functions_);
  throw_error(errno_of(error), {.doing = "get the driver's version",
                                .cause = error == ERROR_FILE_NOT_FOUND ? "no driver is loaded" : "",
                                .library = lines.last_complaint(),
                                .remedy = error == ERROR_FILE_NOT_FOUND
                                              ? "load the tun module (modprobe tun) or pass /dev/net/tun into the "
                                                "container"
                                              : ""});
}

}  // namespace wintun

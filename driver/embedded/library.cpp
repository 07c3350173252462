// See library.hpp.
#include "driver/embedded/library.hpp"

#include "api.hpp"
#include "driver/embedded/backend.hpp"
#include "session/log.hpp"

namespace wintun {
namespace {

class EmbeddedLibrary : public Library {
  using Functions = Api<EmbeddedBackend>;

 public:
  EmbeddedLibrary() {
    has_interfaces_ = false;
    functions_.create_adapter = Functions::create_adapter;
    functions_.open_adapter = Functions::open_adapter;
    functions_.close_adapter = Functions::close_adapter;
    functions_.delete_driver = Functions::delete_driver;
    functions_.get_adapter_luid = Functions::get_adapter_luid;
    functions_.get_running_driver_version = Functions::get_running_driver_version;
    functions_.set_logger = Functions::set_logger;
    functions_.start_session = Functions::start_session;
    functions_.end_session = Functions::end_session;
    functions_.get_read_wait_event = Functions::get_read_wait_event;
    functions_.receive_packet = Functions::receive_packet;
    functions_.release_receive_packet = Functions::release_receive_packet;
    functions_.allocate_send_packet = Functions::allocate_send_packet;
    functions_.send_packet = Functions::send_packet;
    functions_.receive_packets = Functions::receive_packets;
    functions_.release_receive_packets = Functions::release_receive_packets;
    functions_.allocate_send_packets = Functions::allocate_send_packets;
    functions_.send_packets = Functions::send_packets;
    functions_.get_statistics = Functions::get_statistics;
    functions_.open_adapter_device_object = Functions::open_adapter_device_object;
    attach_logger(functions_);
  }
};

}  // namespace

std::shared_ptr<const Library> embedded_library() {
  static const std::shared_ptr<const Library> one = std::make_shared<EmbeddedLibrary>();
  return one;
}

}  // namespace wintun

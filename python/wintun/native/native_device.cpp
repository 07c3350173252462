// See native_device.hpp.
#include "native/native_device.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include "native/handles.hpp"
#include "native/reader_thread.hpp"

namespace wintun::python {

NativeDevice::NativeDevice(DeviceOptions options) : device_(std::make_unique<Device>(std::move(options))) {}

NativeDevice::~NativeDevice() {
  if (is_of_the_parent()) {
    (void)device_.release();  // its destructor would end the parent's session; our descriptors go with this process
    return;
  }
  try {
    close();
  } catch (const std::exception&) {
    // Nobody is left to be told; the Device's own destructor frees what it holds.
  }
}

void NativeDevice::up() {
  if (is_of_the_parent()) {
    throw std::system_error(EBADF, std::generic_category(),
                            "starting '" + name() + "': it belongs to the process that forked this one");
  }
  {
    const std::lock_guard lock(control_);
    device_->up();
  }
  wake_readers();
}

void NativeDevice::down() { end_session(false); }

void NativeDevice::close() { end_session(true); }

void NativeDevice::end_session(bool close) {
  if (is_of_the_parent()) {
    if (close) left_.store(true);
    return;
  }
  {
    const std::lock_guard lock(control_);
    // Event loops and select() may be sleeping on the wait handle, or on copies of it. Its end alone wakes none of
    // them, so the copy kept here is made readable after it, for as long as any of them looks at it.
    const WaitHandle handle = device_->wait_handle();
    const WaitHandle copy = handle == kNoWaitHandle ? kNoWaitHandle : duplicate_handle(handle);
    close ? device_->close() : device_->down();
    if (copy != kNoWaitHandle) {
      make_ready(copy);
      close_handle(copy);
    }
    drop_held();
  }
  wake_readers();
}

WaitHandle NativeDevice::duplicate_wait_handle() {
  const std::lock_guard lock(control_);
  const WaitHandle handle = device_->wait_handle();
  return handle == kNoWaitHandle ? kNoWaitHandle : duplicate_handle(handle);
}

IoStatus NativeDevice::receive_many(std::span<Packet> packets, std::size_t& count) {
  if (held_any_.load(std::memory_order_relaxed) && !packets.empty() && take_held(packets[0])) {
    count = 1;
    return IoStatus::ok;
  }
  return device_->receive_many(packets, count);
}

void NativeDevice::hold(const Packet& packet) {
  const std::lock_guard control(control_);
  const std::lock_guard lock(held_mutex_);
  const WaitHandle handle = device_->wait_handle();
  if (handle == kNoWaitHandle) {  // it went down meanwhile: what was not read is dropped
    device_->release(packet);
    return;
  }
  held_.push_back(packet);
  held_any_.store(true, std::memory_order_relaxed);
  make_ready(handle);
}

bool NativeDevice::take_held(Packet& packet) {
  const std::lock_guard control(control_);
  const std::lock_guard lock(held_mutex_);
  if (held_.empty()) return false;
  packet = held_.front();
  held_.erase(held_.begin());
  if (held_.empty()) {
    held_any_.store(false, std::memory_order_relaxed);
    if (const WaitHandle handle = device_->wait_handle(); handle != kNoWaitHandle) unmake_ready(handle);
  }
  return true;
}

void NativeDevice::drop_held() {
  const std::lock_guard lock(held_mutex_);
  for (const Packet& packet : held_) device_->release(packet);
  held_.clear();
  held_any_.store(false, std::memory_order_relaxed);
}

void NativeDevice::cancel_read() {
  cancels_.fetch_add(1, std::memory_order_acq_rel);
  device_->cancel_read();
}

void NativeDevice::add_reader(const std::shared_ptr<ReaderThread>& reader) {
  const std::lock_guard lock(readers_mutex_);
  std::erase_if(readers_, [](const auto& other) { return other.expired(); });
  readers_.push_back(reader);
}

void NativeDevice::wake_readers() {
  const std::lock_guard lock(readers_mutex_);
  for (const auto& weak : readers_) {
    if (const auto reader = weak.lock()) reader->wake();
  }
}

}  // namespace wintun::python

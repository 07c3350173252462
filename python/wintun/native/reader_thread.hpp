// A native thread that waits without the GIL and calls Python back. Made by start_reader(); see bind_readers.cpp.
// wake() and stop requests come from any thread, with or without the GIL.
#pragma once

#include <Python.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "native/native_device.hpp"
#include "platform/event.hpp"

namespace wintun::python {

class ReaderThread {
 public:
  // Steals nothing: takes references of its own. With the GIL.
  ReaderThread(std::shared_ptr<NativeDevice> device, PyObject* callback, bool batch);
  ~ReaderThread();
  ReaderThread(const ReaderThread&) = delete;
  ReaderThread& operator=(const ReaderThread&) = delete;

  // With the GIL. False: Python could not start a thread.
  [[nodiscard]] static bool start(const std::shared_ptr<ReaderThread>& reader);

  // The device went up, down or was closed: look again.
  void wake() { wake_.set(); }

  void request_stop() {
    stopping_.store(true);
    wake_.set();
  }

  // Whether the thread is out, waiting for it no longer than to the deadline. Without the GIL.
  [[nodiscard]] bool wait_until_done(const Deadline& deadline);
  [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }
  [[nodiscard]] bool is_this_thread() const { return ident_.load() == PyThread_get_thread_ident(); }
  void abandon();  // after fork(): the thread stayed in the parent

 private:
  enum class Next { packets, nothing, end };

  static void run(void* argument);
  void loop();
  Next wait_for_work();
  bool call_for_packets();
  bool call_for_batch();
  void call(PyObject* argument);
  void finish();

  const std::shared_ptr<NativeDevice> device_;
  PyObject* callback_;  // owned, until the thread ends; only touched with the GIL
  const bool batch_;
  Event wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<unsigned long> ident_{0};
  std::atomic<bool> done_{false};
  std::mutex mutex_;  // guards the notification of done_
  std::condition_variable finished_;
};

}  // namespace wintun::python

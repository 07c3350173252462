// Something that each thread has of its own, made when it is first asked for, destroyed with the thread: by a key of
// the threads' library and no thread_local, since mingw frees those before it calls their destructors.
#pragma once

#include <pthread.h>

#include <cstdlib>

namespace wintun::kernel {

class PerThread {
 public:
  explicit PerThread(void (*destroy)(void*)) {
    if (pthread_key_create(&key_, destroy) != 0) std::abort();
  }
  PerThread(const PerThread&) = delete;
  PerThread& operator=(const PerThread&) = delete;

  void* get() const { return pthread_getspecific(key_); }  // null: not set yet
  void set(void* value) { pthread_setspecific(key_, value); }

 private:
  pthread_key_t key_;
};

}  // namespace wintun::kernel

// What lwIP asks of a compiler and a platform beyond the C library. Included by lwIP's headers as C and C++.
#ifndef WINTUN_LWIP_CC_H
#define WINTUN_LWIP_CC_H

#ifdef __cplusplus
extern "C" {
#endif
void wintun_lwip_failed(const char* what, const char* file, int line);
#ifdef __cplusplus
}
#endif

// Its assertions stay on: where one fails, memory is no longer what it should be.
#define LWIP_PLATFORM_ASSERT(what) wintun_lwip_failed(what, __FILE__, __LINE__)
#define LWIP_PLATFORM_DIAG(what) \
  do {                           \
  } while (0)
#define LWIP_RAND() wintun_lwip_random()
#define LWIP_NO_UNISTD_H 1

#endif

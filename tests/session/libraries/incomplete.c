/* A library that is no Wintun library: two of its functions are missing, and two have other names. */
#define EXPORT __attribute__((visibility("default")))

EXPORT void* WintunCreateAdapter(void);
void* WintunCreateAdapter(void) { return 0; }
EXPORT void* WintunOpenAdapter(void);
void* WintunOpenAdapter(void) { return 0; }

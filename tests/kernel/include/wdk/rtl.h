// Published helpers: lists, memory, counted strings. The inline ones are the public headers' inline ones.
#pragma once

#include <ntdef.h>
#include <string.h>

extern "C" {

void RtlInitUnicodeString(PUNICODE_STRING string, PCWSTR text);
NTSTATUS RtlAppendUnicodeToString(PUNICODE_STRING to, PCWSTR text);
NTSTATUS RtlAppendUnicodeStringToString(PUNICODE_STRING to, PCUNICODE_STRING from);
NTSTATUS RtlIntegerToUnicodeString(ULONG value, ULONG base, PUNICODE_STRING string);

}  // extern "C"

#define RtlCopyMemory(to, from, bytes) memcpy((to), (from), (bytes))
#define RtlMoveMemory(to, from, bytes) memmove((to), (from), (bytes))
#define RtlZeroMemory(to, bytes) memset((to), 0, (bytes))
#define RtlFillMemory(to, bytes, fill) memset((to), (fill), (bytes))
#define RtlEqualMemory(one, other, bytes) (memcmp((one), (other), (bytes)) == 0)

inline void InitializeListHead(PLIST_ENTRY head) { head->Flink = head->Blink = head; }
inline BOOLEAN IsListEmpty(const LIST_ENTRY* head) { return head->Flink == head; }
inline BOOLEAN RemoveEntryList(PLIST_ENTRY entry) {
  LIST_ENTRY* const next = entry->Flink;
  LIST_ENTRY* const previous = entry->Blink;
  previous->Flink = next;
  next->Blink = previous;
  return next == previous;
}
inline PLIST_ENTRY RemoveHeadList(PLIST_ENTRY head) {
  LIST_ENTRY* const entry = head->Flink;
  RemoveEntryList(entry);
  return entry;
}
inline PLIST_ENTRY RemoveTailList(PLIST_ENTRY head) {
  LIST_ENTRY* const entry = head->Blink;
  RemoveEntryList(entry);
  return entry;
}
inline void InsertTailList(PLIST_ENTRY head, PLIST_ENTRY entry) {
  entry->Flink = head;
  entry->Blink = head->Blink;
  head->Blink->Flink = entry;
  head->Blink = entry;
}
inline void InsertHeadList(PLIST_ENTRY head, PLIST_ENTRY entry) {
  entry->Flink = head->Flink;
  entry->Blink = head;
  head->Flink->Blink = entry;
  head->Flink = entry;
}

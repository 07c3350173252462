// Net buffer lists that miniports make, and reading any packet. A list and its buffer are one allocation, so that
// ASan sees who touches a list that was freed. Public pages: NdisAllocateNetBufferListPool,
// NdisAllocateNetBufferAndNetBufferList, NdisFreeNetBufferList, NdisGetDataBuffer.
#include <cstring>

#include "tests/kernel/ndis/ndis.hpp"

namespace wintun::kernel {

namespace {

struct Pool {
  NDIS_HANDLE owner;
  bool has_buffers;
  std::atomic<long> out{0};
};

Owned<Pool>& pools() {
  static auto* const one = new Owned<Pool>(Kind::net_buffer_list_pool, "net buffer list pool");
  return *one;
}

struct ListAndBuffer {
  NET_BUFFER_LIST list;
  NET_BUFFER buffer;
};

// Where a packet's data begins: the MDL and the offset in it.
bool seek(PMDL mdl, std::uint64_t offset, PMDL& at, ULONG& at_offset) {
  while (mdl != nullptr && offset >= MmGetMdlByteCount(mdl) && mdl->Next != nullptr) {
    offset -= MmGetMdlByteCount(mdl);
    mdl = mdl->Next;
  }
  at = mdl;
  at_offset = static_cast<ULONG>(offset);
  return mdl != nullptr && offset <= MmGetMdlByteCount(mdl);
}

}  // namespace

bool copy_out(const NET_BUFFER& buffer, std::uint8_t* into, std::size_t bytes) {
  PMDL mdl = buffer.CurrentMdl;
  std::size_t offset = buffer.CurrentMdlOffset;
  while (bytes > 0 && mdl != nullptr) {
    const std::size_t here = MmGetMdlByteCount(mdl) - offset;
    const std::size_t part = bytes < here ? bytes : here;
    const auto* const data = static_cast<const std::uint8_t*>(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority));
    if (data == nullptr) return false;
    std::memcpy(into, data + offset, part);
    into += part;
    bytes -= part;
    offset = 0;
    mdl = mdl->Next;
  }
  return bytes == 0;
}

void forget_owner(NDIS_HANDLE owner, const char* when) {
  forget_rw_locks(owner, when);
  pools().forget(owner, when);
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

NDIS_HANDLE NTAPI NdisAllocateNetBufferListPool(NDIS_HANDLE owner, NET_BUFFER_LIST_POOL_PARAMETERS* parameters) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (parameters->Header.Type != NDIS_OBJECT_TYPE_DEFAULT ||
      parameters->Header.Revision != NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1 ||
      parameters->Header.Size < NDIS_SIZEOF_NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1 || parameters->PoolTag == 0) {
    violation("NdisAllocateNetBufferListPool with a bad header, or without a tag");
    return nullptr;
  }
  if (should_fail(__func__)) return nullptr;
  auto* const pool = new Pool{owner, parameters->fAllocateNetBuffer != FALSE, {}};
  take(Kind::net_buffer_list_pool, pool, __func__);
  pools().add(pool);
  return pool;
}

VOID NTAPI NdisFreeNetBufferListPool(NDIS_HANDLE handle) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  auto* const pool = static_cast<Pool*>(handle);
  if (!give_back(Kind::net_buffer_list_pool, pool)) {
    violation("NdisFreeNetBufferListPool of what is no pool, or was freed");
    return;
  }
  if (pool->out != 0) violation("NdisFreeNetBufferListPool while lists of it are out");
  pools().free(pool);
}

PNET_BUFFER_LIST NTAPI NdisAllocateNetBufferAndNetBufferList(NDIS_HANDLE handle, USHORT context_size,
                                                             USHORT back_fill, PMDL mdl, ULONG data_offset,
                                                             SIZE_T data_length) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  auto* const pool = static_cast<Pool*>(handle);
  if (!is_out(Kind::net_buffer_list_pool, pool) || !pool->has_buffers) {
    violation("NdisAllocateNetBufferAndNetBufferList from what is no pool, or one without buffers");
    return nullptr;
  }
  if (context_size != 0 || back_fill != 0) violation("a net buffer list with context: not modelled");
  if (should_fail(__func__)) return nullptr;
  auto* const both = new ListAndBuffer;
  std::memset(static_cast<void*>(both), 0xcd, sizeof(*both));
  both->list.Next = nullptr;
  both->list.FirstNetBuffer = &both->buffer;
  both->list.Context = nullptr;
  both->list.ParentNetBufferList = nullptr;
  both->list.NdisPoolHandle = pool;
  both->list.SourceHandle = nullptr;
  both->list.NblFlags = both->list.Flags = 0;
  both->list.ChildRefCount = 0;
  both->list.Status = NDIS_STATUS_SUCCESS;
  for (PVOID& one : both->list.NetBufferListInfo) one = nullptr;
  both->buffer.Next = nullptr;
  both->buffer.MdlChain = mdl;
  both->buffer.DataOffset = data_offset;
  both->buffer.stDataLength = data_length;
  both->buffer.ChecksumBias = 0;
  both->buffer.NdisPoolHandle = pool;
  if (!seek(mdl, data_offset, both->buffer.CurrentMdl, both->buffer.CurrentMdlOffset)) {
    violation("a net buffer whose data begins behind its MDLs");
  }
  ++pool->out;
  take(Kind::net_buffer_list, &both->list, __func__);
  return &both->list;
}

VOID NTAPI NdisFreeNetBufferList(PNET_BUFFER_LIST list) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (!give_back(Kind::net_buffer_list, list)) {
    violation("NdisFreeNetBufferList of what the driver has not allocated, has freed, or has with the stack");
    return;
  }
  --static_cast<Pool*>(list->NdisPoolHandle)->out;
  delete reinterpret_cast<ListAndBuffer*>(list);
}

PVOID NTAPI NdisGetDataBuffer(PNET_BUFFER buffer, ULONG bytes, PVOID storage, ULONG align_multiple,
                              ULONG align_offset) {
  require_irql_at_most(DISPATCH_LEVEL, __func__);
  if (bytes == 0 || bytes > buffer->DataLength) return nullptr;
  const PMDL mdl = buffer->CurrentMdl;
  if (bytes <= MmGetMdlByteCount(mdl) - buffer->CurrentMdlOffset) {
    auto* const data = static_cast<std::uint8_t*>(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority));
    if (data == nullptr) return nullptr;
    std::uint8_t* const at = data + buffer->CurrentMdlOffset;
    if (align_multiple <= 1 || (reinterpret_cast<std::uintptr_t>(at) - align_offset) % align_multiple == 0) return at;
  }
  if (storage == nullptr) return nullptr;
  return copy_out(*buffer, static_cast<std::uint8_t*>(storage), bytes) ? storage : nullptr;
}

}  // extern "C"

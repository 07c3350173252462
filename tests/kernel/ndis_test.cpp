// NDIS's checks: a miniport as small as one can be, which makes one mistake at a time.
#include <cstring>
#include <optional>

#include "tests/kernel/adapter.hpp"
#include "tests/kernel/expect.hpp"

namespace wintun::kernel {
namespace {

NDIS_HANDLE driver_handle, adapter_handle, list_pool;
PNET_BUFFER_LIST held;  // a send that is not completed yet
std::function<void(PNET_BUFFER_LIST)> on_send;
std::function<NDIS_STATUS()> on_pause, on_initialize;
std::function<void(PNET_BUFFER_LIST)> on_return;
bool keeps_pool;
PNDIS_RW_LOCK_EX lock;

NDIS_STATUS set_attributes(NDIS_HANDLE handle) {
  NDIS_MINIPORT_ADAPTER_ATTRIBUTES attributes{};
  attributes.RegistrationAttributes.Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES, 1,
                                              sizeof(attributes.RegistrationAttributes)};
  attributes.RegistrationAttributes.MiniportAdapterContext = &adapter_handle;
  const NDIS_STATUS status = NdisMSetMiniportAttributes(handle, &attributes);
  if (status != NDIS_STATUS_SUCCESS) return status;
  static NDIS_OID oid = OID_GEN_STATISTICS;
  attributes = {};
  auto& general = attributes.GeneralAttributes;
  general.Header = {NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES,
                    NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2, sizeof(general)};
  general.MediaType = NdisMediumIP;
  general.MediaConnectState = MediaConnectStateConnected;
  general.SupportedOidList = &oid;
  general.SupportedOidListLength = sizeof(oid);
  return NdisMSetMiniportAttributes(handle, &attributes);
}

NDIS_STATUS NTAPI initialize(NDIS_HANDLE handle, NDIS_HANDLE, PNDIS_MINIPORT_INIT_PARAMETERS) {
  adapter_handle = handle;
  NET_BUFFER_LIST_POOL_PARAMETERS parameters{};
  parameters.Header = {NDIS_OBJECT_TYPE_DEFAULT, NET_BUFFER_LIST_POOL_PARAMETERS_REVISION_1, sizeof(parameters)};
  parameters.fAllocateNetBuffer = TRUE;
  parameters.PoolTag = kTag;
  list_pool = NdisAllocateNetBufferListPool(handle, &parameters);
  if (on_initialize) return on_initialize();
  return set_attributes(handle);
}

VOID NTAPI halt(NDIS_HANDLE, NDIS_HALT_ACTION) {
  if (!keeps_pool) NdisFreeNetBufferListPool(list_pool);
}
NDIS_STATUS NTAPI pause(NDIS_HANDLE, PNDIS_MINIPORT_PAUSE_PARAMETERS) {
  return on_pause ? on_pause() : NDIS_STATUS_SUCCESS;
}
NDIS_STATUS NTAPI restart(NDIS_HANDLE, PNDIS_MINIPORT_RESTART_PARAMETERS) { return NDIS_STATUS_SUCCESS; }
NDIS_STATUS NTAPI oid(NDIS_HANDLE, PNDIS_OID_REQUEST request) {
  auto& query = request->DATA.QUERY_INFORMATION;
  if (request->RequestType == NdisRequestSetInformation) return NDIS_STATUS_SUCCESS;
  static_cast<char*>(query.InformationBuffer)[query.InformationBufferLength] = 0;  // one too far
  return NDIS_STATUS_SUCCESS;
}
VOID NTAPI send(NDIS_HANDLE, PNET_BUFFER_LIST lists, NDIS_PORT_NUMBER, ULONG) {
  if (on_send) return on_send(lists);
  for (PNET_BUFFER_LIST list = lists; list != nullptr; list = list->Next) list->Status = NDIS_STATUS_SUCCESS;
  NdisMSendNetBufferListsComplete(adapter_handle, lists, 0);
}
VOID NTAPI give_list_back(NDIS_HANDLE, PNET_BUFFER_LIST lists, ULONG) {
  if (on_return) return on_return(lists);
  while (lists != nullptr) {
    const PNET_BUFFER_LIST next = lists->Next;
    const PMDL mdl = lists->FirstNetBuffer->MdlChain;
    const PVOID memory = MmGetMdlVirtualAddress(mdl);
    NdisFreeNetBufferList(lists);
    IoFreeMdl(mdl);
    ExFreePoolWithTag(memory, kTag);
    lists = next;
  }
}
VOID NTAPI cancel_send(NDIS_HANDLE, PVOID) {}
VOID NTAPI event(NDIS_HANDLE, PNET_DEVICE_PNP_EVENT) {}
VOID NTAPI shut_down(NDIS_HANDLE, NDIS_SHUTDOWN_ACTION) {}
VOID NTAPI cancel_oid(NDIS_HANDLE, PVOID) {}
VOID NTAPI unload(PDRIVER_OBJECT) { NdisMDeregisterMiniportDriver(driver_handle); }

NTSTATUS NTAPI enter(PDRIVER_OBJECT object, PUNICODE_STRING registry_path) {
  NDIS_MINIPORT_DRIVER_CHARACTERISTICS calls{};
  calls.Header = {NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS, NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2,
                  NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2};
  calls.MajorNdisVersion = 6;
  calls.MinorNdisVersion = 20;
  calls.InitializeHandlerEx = initialize;
  calls.HaltHandlerEx = halt;
  calls.UnloadHandler = unload;
  calls.PauseHandler = pause;
  calls.RestartHandler = restart;
  calls.OidRequestHandler = oid;
  calls.SendNetBufferListsHandler = send;
  calls.ReturnNetBufferListsHandler = give_list_back;
  calls.CancelSendHandler = cancel_send;
  calls.DevicePnPEventNotifyHandler = event;
  calls.ShutdownHandlerEx = shut_down;
  calls.CancelOidRequestHandler = cancel_oid;
  return NdisMRegisterMiniportDriver(object, registry_path, nullptr, &calls, &driver_handle);
}

PNET_BUFFER_LIST make_list() {
  PVOID const memory = ExAllocatePoolWithTag(NonPagedPoolNx, 64, kTag);
  std::memset(memory, 0x45, 64);
  const PMDL mdl = IoAllocateMdl(memory, 64, FALSE, FALSE, nullptr);
  MmBuildMdlForNonPagedPool(mdl);
  const PNET_BUFFER_LIST list = NdisAllocateNetBufferAndNetBufferList(list_pool, 0, 0, mdl, 0, 64);
  list->SourceHandle = adapter_handle;
  list->NetBufferListInfo[NetBufferListFrameType] = reinterpret_cast<PVOID>(std::uintptr_t{0x0008});
  return list;
}

void indicate(PNET_BUFFER_LIST list, ULONG count = 1) {
  NdisMIndicateReceiveNetBufferLists(adapter_handle, list, NDIS_DEFAULT_PORT_NUMBER, count, 0);
}

void complete(PNET_BUFFER_LIST list, NDIS_STATUS status) {
  list->Status = status;
  NdisMSendNetBufferListsComplete(adapter_handle, list, 0);
}

class KernelNdis : public ::testing::Test {
 protected:
  void SetUp() override {
    on_send = nullptr;
    on_pause = on_initialize = nullptr;
    on_return = nullptr;
    keeps_pool = false;
    held = nullptr;
    kernel_.emplace();
    driver_.emplace(enter);
    ASSERT_EQ(driver_->status(), NDIS_STATUS_SUCCESS);
    adapter_.emplace(*driver_);
  }
  void TearDown() override {
    adapter_.reset();
    driver_.reset();
    EXPECT_EQ(take_violations(), "");
    kernel_.reset();
  }
  void start() { ASSERT_EQ(adapter_->start(), NDIS_STATUS_SUCCESS); }

  std::optional<Kernel> kernel_;
  std::optional<Driver> driver_;
  std::optional<Adapter> adapter_;
};

TEST_F(KernelNdis, a_miniport_without_mistakes_lives_and_moves_packets) {
  start();
  adapter_->send({{Bytes(20), Bytes(30)}, {Bytes(40)}});
  indicate(make_list());
  EXPECT_EQ(adapter_->completions().size(), 2u);
  EXPECT_EQ(adapter_->received().size(), 1u);
}

TEST_F(KernelNdis, a_list_completed_twice_is_a_violation) {
  start();
  on_send = [](PNET_BUFFER_LIST list) {
    complete(list, NDIS_STATUS_SUCCESS);
    NdisMSendNetBufferListsComplete(adapter_handle, list, 0);
  };
  expect_violation("completed already", [&] { adapter_->send_packet(Bytes(20)); });
}

TEST_F(KernelNdis, a_pause_with_a_send_left_is_a_violation) {
  start();
  on_send = [](PNET_BUFFER_LIST list) { held = list; };
  adapter_->send_packet(Bytes(20));
  expect_violation("1 lists of the stack's not completed", [&] { adapter_->pause(); });
  complete(held, NDIS_STATUS_PAUSED);
}

TEST_F(KernelNdis, a_pause_with_a_list_in_the_stack_is_a_violation) {
  start();
  adapter_->on_receive([](const Received&) { return false; });
  indicate(make_list());
  expect_violation("1 lists still with the stack", [&] { adapter_->pause(); });
  adapter_->give_back_all();
}

TEST_F(KernelNdis, a_packet_delivered_after_pause_is_a_violation) {
  start();
  adapter_->pause();
  expect_violation("paused or sleeping adapter was delivered", [&] { adapter_->send_packet(Bytes(20)); });
}

TEST_F(KernelNdis, a_packet_indicated_after_pause_is_a_violation) {
  start();
  adapter_->pause();
  expect_violation("while the adapter is paused", [] { indicate(make_list()); });
}

TEST_F(KernelNdis, a_list_freed_while_the_stack_has_it_is_a_violation) {
  start();
  adapter_->on_receive([](const Received&) { return false; });
  const PNET_BUFFER_LIST list = make_list();
  indicate(list);
  expect_violation("has with the stack", [&] { NdisFreeNetBufferList(list); });
  expect_violation("with the stack already", [&] { indicate(list); });
  adapter_->give_back_all();
}

TEST_F(KernelNdis, a_wrong_count_of_lists_is_a_violation) {
  start();
  expect_violation("wrong number", [] { indicate(make_list(), 2); });
}

TEST_F(KernelNdis, calling_ndis_with_a_spin_lock_is_a_violation) {
  start();
  on_send = [](PNET_BUFFER_LIST list) {
    KSPIN_LOCK spin = 0;
    const KIRQL before = KeAcquireSpinLockRaiseToDpc(&spin);
    complete(list, NDIS_STATUS_SUCCESS);
    KeReleaseSpinLock(&spin, before);
  };
  expect_violation("with a spin lock held", [&] { adapter_->send_packet(Bytes(20)); });
}

TEST_F(KernelNdis, a_flag_that_says_dispatch_level_below_it_is_a_violation) {
  start();
  on_send = [](PNET_BUFFER_LIST list) {
    list->Status = NDIS_STATUS_SUCCESS;
    NdisMSendNetBufferListsComplete(adapter_handle, list, NDIS_SEND_COMPLETE_FLAGS_DISPATCH_LEVEL);
  };
  expect_violation("says DISPATCH_LEVEL", [&] { adapter_->send_packet(Bytes(20)); });
}

TEST_F(KernelNdis, a_pool_that_halt_leaves_is_a_violation) {
  start();
  adapter_->pause();
  keeps_pool = true;
  expect_violation("pool of the adapter is left", [&] { adapter_->halt(); });
}

TEST_F(KernelNdis, a_pool_that_a_failed_initialize_leaves_is_a_violation) {
  on_initialize = [] { return NDIS_STATUS_RESOURCES; };
  expect_violation("MiniportInitializeEx had failed", [&] { adapter_->initialize(); });
}

TEST_F(KernelNdis, an_initialize_without_attributes_is_a_violation) {
  on_initialize = [] { return NDIS_STATUS_SUCCESS; };
  expect_violation("without general attributes", [&] { adapter_->initialize(); });
}

TEST_F(KernelNdis, a_query_that_writes_too_far_is_a_violation) {
  start();
  char buffer[8];
  expect_violation("wrote behind the buffer", [&] { adapter_->query(OID_GEN_STATISTICS, buffer, sizeof(buffer)); });
}

TEST_F(KernelNdis, a_lock_held_behind_a_call_is_a_violation) {
  start();
  lock = NdisAllocateRWLock(adapter_handle);
  static LOCK_STATE_EX state;
  on_pause = [] {
    NdisAcquireRWLockRead(lock, &state, 0);
    return NDIS_STATUS_SUCCESS;
  };
  expect_violation("MiniportPause came back with a lock held", [&] { adapter_->pause(); });
  NdisReleaseRWLock(lock, &state);
  NdisFreeRWLock(lock);
}

TEST_F(KernelNdis, an_adapter_left_at_unload_is_a_violation) {
  expect_violation("an adapter still plugged in", [&] { driver_->unload(); });
}

}  // namespace
}  // namespace wintun::kernel

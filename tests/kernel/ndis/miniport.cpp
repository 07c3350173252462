// A miniport driver and its adapters' life, as the public pages "Miniport Adapter States and Operations",
// "Initializing a Miniport Driver", "Halting", "Pausing" and "Restarting an Adapter" state it.
#include <cstring>

#include "tests/kernel/ndis/ndis.hpp"
#include "tests/kernel/nt/level.hpp"

namespace wintun::kernel {

std::uint32_t ndis_version = 0x00060053;  // of this kernel

namespace {

struct Drivers {
  std::mutex lock;
  std::map<PDRIVER_OBJECT, std::shared_ptr<MiniportDriver>> all;
  std::vector<std::shared_ptr<MiniportDriver>> gone;
};
Drivers& drivers() {
  static Drivers* const one = new Drivers;
  return *one;
}

}  // namespace

std::shared_ptr<MiniportDriver> driver_of(PDRIVER_OBJECT object) {
  const std::lock_guard locked(drivers().lock);
  const auto found = drivers().all.find(object);
  return found == drivers().all.end() ? nullptr : found->second;
}

void check_call(const char* function, bool says_dispatch) {
  require_irql_at_most(DISPATCH_LEVEL, function);
  if (says_dispatch && this_level().irql != DISPATCH_LEVEL) {
    violation(std::string(function) + " says DISPATCH_LEVEL and is below it");
  }
  for (const HeldLock& held : this_level().held) {
    if (!held.shared) violation(std::string(function) + " is called with a " + held.kind + " held");
  }
}

bool Adapter::Body::enter(std::uint64_t& epoch_now) {
  const std::lock_guard locked(lock);
  if (life == Life::halted || life == Life::initializing || life == Life::unplugged) return false;
  epoch_now = epoch;
  inside.insert(epoch);
  return true;
}

void Adapter::Body::leave(std::uint64_t epoch_then) {
  const std::lock_guard locked(lock);
  inside.erase(inside.find(epoch_then));
  changed.notify_all();
}

void Adapter::Body::change_life(Life now) {
  const std::lock_guard locked(lock);
  life = now;
  ++epoch;
  changed.notify_all();
}

Life Adapter::Body::life_now() const {
  const std::lock_guard locked(lock);
  return life;
}

Adapter::Adapter(Driver& driver, const Options& options) : body_(std::make_unique<Body>()) {
  body_->options = options;
  body_->driver = driver_of(driver.object());
  if (body_->driver == nullptr) {
    violation("an adapter is plugged in, and its driver is no miniport driver");
    body_->life = Life::unplugged;
    return;
  }
  ++body_->driver->adapters;
}

Adapter::~Adapter() { remove(); }

NdisStatus Adapter::initialize() {
  Body& body = *body_;
  if (body.life_now() != Life::halted) {
    violation("a test initializes an adapter that is not halted");
    return NDIS_STATUS_FAILURE;
  }
  body.change_life(Life::initializing);
  body.has_registration = body.has_general = false;
  NDIS_MINIPORT_INIT_PARAMETERS parameters{};
  parameters.Header = {NDIS_OBJECT_TYPE_MINIPORT_INIT_PARAMETERS, NDIS_MINIPORT_INIT_PARAMETERS_REVISION_1,
                       sizeof(parameters)};
  parameters.IfIndex = body.options.luid_index + 10u;
  parameters.NetLuid.Info.NetLuidIndex = body.options.luid_index & 0xFFFFFF;
  parameters.NetLuid.Info.IfType = body.options.interface_type;
  const NdisStatus status = body.driver->functions.InitializeHandlerEx(&body, body.driver->context, &parameters);
  expect_passive_after("MiniportInitializeEx");
  if (status != NDIS_STATUS_SUCCESS) {
    if (NT_SUCCESS(status)) violation("MiniportInitializeEx returned neither success nor a failure");
    body.change_life(Life::halted);
    forget_owner(&body, "after MiniportInitializeEx had failed");
    return status;
  }
  if (!body.has_general) violation("MiniportInitializeEx succeeded without general attributes");
  body.change_life(Life::paused);
  return status;
}

NdisStatus Adapter::restart() {
  Body& body = *body_;
  if (body.life_now() != Life::paused) {
    violation("a test restarts an adapter that is not paused");
    return NDIS_STATUS_FAILURE;
  }
  body.change_life(Life::restarting);
  NDIS_MINIPORT_RESTART_PARAMETERS parameters{};
  parameters.Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, sizeof(parameters)};
  const NdisStatus status = body.driver->functions.RestartHandler(body.context, &parameters);
  expect_passive_after("MiniportRestart");
  if (status == NDIS_STATUS_PENDING) violation("MiniportRestart pends: not modelled");
  body.change_life(status == NDIS_STATUS_SUCCESS ? Life::running : Life::paused);
  return status;
}

void Adapter::pause() {
  Body& body = *body_;
  if (body.life_now() != Life::running) {
    violation("a test pauses an adapter that does not run");
    return;
  }
  body.change_life(Life::pausing);
  NDIS_MINIPORT_PAUSE_PARAMETERS parameters{};
  parameters.Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, sizeof(parameters)};
  const NdisStatus status = body.driver->functions.PauseHandler(body.context, &parameters);
  expect_passive_after("MiniportPause");
  if (status != NDIS_STATUS_SUCCESS)
    violation("MiniportPause did not succeed; it cannot fail, and pending is not modelled");
  body.change_life(Life::paused);
  check_quiet("MiniportPause");
}

// Nothing that began before the change is left: lists of the miniport's with the stack, lists of the stack's with the
// miniport. Calls that are just inside may end first, for they refuse what they have.
void Adapter::check_quiet(const char* function) {
  Body& body = *body_;
  std::unique_lock locked(body.lock);
  const std::size_t received = body.in_stack.size();
  const std::uint64_t now = body.epoch;
  const bool left = body.changed.wait_for(locked, std::chrono::seconds(30),
                                          [&] { return body.inside.empty() || *body.inside.begin() >= now; });
  std::size_t sent = 0;
  for (const auto& [list, of] : body.sent) sent += of->epoch < now ? 1 : 0;
  locked.unlock();
  const std::string name = function;
  if (received != 0) violation(name + " came back with " + std::to_string(received) + " lists still with the stack");
  if (!left) violation(name + ": a call into the miniport has not come back in 30 s");
  if (sent != 0) violation(name + " came back with " + std::to_string(sent) + " lists of the stack's not completed");
}

void Adapter::halt() { halt_for(NdisHaltDeviceDisabled); }

void Adapter::halt_for(int action) {
  Body& body = *body_;
  if (body.life_now() != Life::paused) {
    violation("a test halts an adapter that is not paused");
    return;
  }
  {
    std::unique_lock locked(body.lock);
    body.life = Life::halted;  // nobody enters any more
    ++body.epoch;
    body.changed.wait(locked, [&] { return body.inside.empty(); });
  }
  body.driver->functions.HaltHandlerEx(body.context, static_cast<NDIS_HALT_ACTION>(action));
  expect_passive_after("MiniportHaltEx");
  check_quiet("MiniportHaltEx");
  forget_owner(&body, "after MiniportHaltEx");
  const std::lock_guard locked(body.lock);
  body.context = nullptr;
  body.connected = MediaConnectStateUnknown;
}

NdisStatus Adapter::start() {
  const NdisStatus status = initialize();
  return status == NDIS_STATUS_SUCCESS ? restart() : status;
}

void Adapter::stop() {
  if (body_->life_now() == Life::running) pause();
  if (body_->life_now() == Life::paused) halt();
}

void Adapter::remove() {
  if (body_->life_now() == Life::unplugged) return;
  if (body_->life_now() != Life::halted) query_remove();
  stop();
  --body_->driver->adapters;
  body_->change_life(Life::unplugged);
}

void Adapter::notify(int event) {
  NET_DEVICE_PNP_EVENT notification{};
  notification.Header = {NDIS_OBJECT_TYPE_DEFAULT, 1, sizeof(notification)};
  notification.DevicePnPEvent = static_cast<NDIS_DEVICE_PNP_EVENT>(event);
  std::uint64_t epoch = 0;
  if (!body_->enter(epoch)) {
    violation("a test sends an event to an adapter that is halted");
    return;
  }
  body_->driver->functions.DevicePnPEventNotifyHandler(body_->context, &notification);
  expect_passive_after("MiniportDevicePnPEventNotify");
  body_->leave(epoch);
}

bool Adapter::query_remove() {
  notify(NdisDevicePnPEventQueryRemoved);
  return body_->driver->open_files == 0;
}

void Adapter::surprise_remove() {
  notify(NdisDevicePnPEventSurpriseRemoved);
  if (body_->life_now() == Life::running) pause();
  if (body_->life_now() == Life::paused) halt_for(NdisHaltDeviceSurpriseRemoved);
  --body_->driver->adapters;
  body_->change_life(Life::unplugged);
}

void Adapter::shutdown() {
  std::uint64_t epoch = 0;
  if (!body_->enter(epoch)) return;
  body_->driver->functions.ShutdownHandlerEx(body_->context, NdisShutdownPowerOff);
  expect_passive_after("MiniportShutdownEx");
  body_->leave(epoch);
}

NdisStatus Adapter::set_power(unsigned d) {
  Body& body = *body_;
  const bool up = d == 0;
  if (!up && body.life_now() == Life::running) pause();
  NDIS_DEVICE_POWER_STATE state = static_cast<NDIS_DEVICE_POWER_STATE>(NdisDeviceStateD0 + d);
  const OidResult result = set(OID_PNP_SET_POWER, &state, sizeof(state));
  if (result.status != NDIS_STATUS_SUCCESS) return result.status;
  {
    const std::lock_guard locked(body.lock);
    body.in_d0 = up;
    ++body.epoch;
  }
  if (!up) check_quiet("OID_PNP_SET_POWER");
  return up && body.life_now() == Life::paused ? restart() : NDIS_STATUS_SUCCESS;
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

ULONG NTAPI NdisGetVersion(VOID) { return ndis_version; }

NDIS_STATUS NTAPI NdisMRegisterMiniportDriver(PDRIVER_OBJECT object, PUNICODE_STRING registry_path,
                                              NDIS_HANDLE context, PNDIS_MINIPORT_DRIVER_CHARACTERISTICS functions,
                                              NDIS_HANDLE* handle) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  *handle = nullptr;
  const NDIS_OBJECT_HEADER& header = functions->Header;
  const bool second = header.Revision == NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2 &&
                      header.Size >= NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_2;
  const bool third = header.Revision == NDIS_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3 &&
                     header.Size >= NDIS_SIZEOF_MINIPORT_DRIVER_CHARACTERISTICS_REVISION_3;
  const std::uint32_t version = std::uint32_t{functions->MajorNdisVersion} << 16 | functions->MinorNdisVersion;
  const std::uint32_t needed = third ? 0x00060050u : 0x00060014u;
  if (header.Type != NDIS_OBJECT_TYPE_MINIPORT_DRIVER_CHARACTERISTICS || (!second && !third) ||
      registry_path == nullptr || version < needed) {
    violation("NdisMRegisterMiniportDriver with characteristics that no version of NDIS takes");
    return NDIS_STATUS_BAD_VERSION;
  }
  if (version > ndis_version) return NDIS_STATUS_BAD_VERSION;
  const auto& f = *functions;
  if (f.InitializeHandlerEx == nullptr || f.HaltHandlerEx == nullptr || f.UnloadHandler == nullptr ||
      f.PauseHandler == nullptr || f.RestartHandler == nullptr || f.OidRequestHandler == nullptr ||
      f.SendNetBufferListsHandler == nullptr || f.ReturnNetBufferListsHandler == nullptr ||
      f.CancelSendHandler == nullptr || f.DevicePnPEventNotifyHandler == nullptr || f.ShutdownHandlerEx == nullptr ||
      f.CancelOidRequestHandler == nullptr) {
    violation("NdisMRegisterMiniportDriver without a function that every miniport must have");
    return NDIS_STATUS_FAILURE;
  }
  if (should_fail(__func__)) return NDIS_STATUS_RESOURCES;
  auto driver = std::make_shared<MiniportDriver>();
  driver->object = object;
  driver->context = context;
  std::memcpy(&driver->functions, functions,
              header.Size < sizeof(driver->functions) ? header.Size : sizeof(driver->functions));
  object->DriverUnload = functions->UnloadHandler;
  take(Kind::miniport_driver, driver.get(), __func__);
  *handle = driver.get();
  const std::lock_guard locked(drivers().lock);
  drivers().all[object] = std::move(driver);
  return NDIS_STATUS_SUCCESS;
}

VOID NTAPI NdisMDeregisterMiniportDriver(NDIS_HANDLE handle) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  auto* const driver = static_cast<MiniportDriver*>(handle);
  if (!give_back(Kind::miniport_driver, driver)) {
    violation("NdisMDeregisterMiniportDriver of what is not registered");
    return;
  }
  if (driver->adapters != 0) violation("the driver is unloaded with an adapter still plugged in");
  const std::lock_guard locked(drivers().lock);
  if (driver->open_files != 0) drivers().gone.push_back(drivers().all[driver->object]);  // they will still be closed
  drivers().all.erase(driver->object);
}

NDIS_STATUS NTAPI NdisMSetMiniportAttributes(NDIS_HANDLE handle, PNDIS_MINIPORT_ADAPTER_ATTRIBUTES attributes) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  Adapter::Body& adapter = adapter_of(handle);
  if (adapter.life_now() != Life::initializing)
    violation("NdisMSetMiniportAttributes outside of MiniportInitializeEx");
  const NDIS_OBJECT_HEADER& header = attributes->RegistrationAttributes.Header;
  if (should_fail(__func__)) return NDIS_STATUS_RESOURCES;
  if (header.Type == NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES) {
    if (header.Size < NDIS_SIZEOF_MINIPORT_ADAPTER_REGISTRATION_ATTRIBUTES_REVISION_1) return NDIS_STATUS_FAILURE;
    adapter.context = attributes->RegistrationAttributes.MiniportAdapterContext;
    adapter.attribute_flags = attributes->RegistrationAttributes.AttributeFlags;
    adapter.has_registration = true;
    return NDIS_STATUS_SUCCESS;
  }
  const auto& general = attributes->GeneralAttributes;
  if (header.Type != NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES || !adapter.has_registration ||
      header.Revision != NDIS_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2 ||
      header.Size < NDIS_SIZEOF_MINIPORT_ADAPTER_GENERAL_ATTRIBUTES_REVISION_2) {
    violation(
        "NdisMSetMiniportAttributes: the registration attributes come first, then the general ones, revision 2");
    return NDIS_STATUS_FAILURE;
  }
  if (general.SupportedOidList == nullptr || general.SupportedOidListLength % sizeof(NDIS_OID) != 0) {
    violation("NdisMSetMiniportAttributes without a list of OIDs");
    return NDIS_STATUS_FAILURE;
  }
  adapter.supported.assign(general.SupportedOidList,
                           general.SupportedOidList + general.SupportedOidListLength / sizeof(NDIS_OID));
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&general);
  adapter.general.assign(bytes, bytes + sizeof(general));
  const std::lock_guard locked(adapter.lock);
  adapter.connected = general.MediaConnectState;
  adapter.speed = general.XmitLinkSpeed;
  adapter.has_general = true;
  return NDIS_STATUS_SUCCESS;
}

}  // extern "C"

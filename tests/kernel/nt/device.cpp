// Devices and their names. Names are compared without regard to case; \DosDevices, \?? and
// \GLOBAL?? are one directory, and Global in it is that directory again. Who may open
// one is security.cpp's to say.
#include <algorithm>
#include <cstring>
#include <map>

#include "tests/kernel/nt/files.hpp"

// Not of the WDK's headers: a library there, a function of the kernel here and in Wine.
extern "C" NTSTATUS NTAPI IoCreateDeviceSecure(PDRIVER_OBJECT driver, ULONG extension, PUNICODE_STRING name,
                                               DEVICE_TYPE type, ULONG characteristics, BOOLEAN exclusive,
                                               PCUNICODE_STRING sddl, const GUID* group, PDEVICE_OBJECT* device);

namespace wintun::kernel {
namespace {

struct Names {
  std::mutex lock;
  std::map<std::u16string, Device*> devices;
  std::map<std::u16string, std::u16string> links;
};
Names& names() {
  static Names* const one = new Names;
  return *one;
}

std::u16string lower(std::u16string_view text) {
  std::u16string all(text);
  for (char16_t& one : all) {
    if (one >= u'A' && one <= u'Z') one = static_cast<char16_t>(one + 32);
  }
  return all;
}

bool take_prefix(std::u16string& text, std::u16string_view prefix) {
  if (text.compare(0, prefix.size(), prefix) != 0) return false;
  text.erase(0, prefix.size());
  return true;
}

// In lower case, with one way to write each directory.
std::u16string canonical(std::u16string_view name) {
  std::u16string text = lower(name);
  for (const std::u16string_view directory :
       {u"\\\\.\\", u"\\\\?\\", u"\\??\\", u"\\dosdevices\\", u"\\global??\\"}) {
    if (!take_prefix(text, directory)) continue;
    while (take_prefix(text, u"global\\")) {
    }
    if (take_prefix(text, u"globalroot\\")) return u"\\" + text;
    if (text.compare(0, 7, u"device\\") == 0) return u"\\" + text;  // how the oldest programs wrote it
    return u"\\global??\\" + text;
  }
  return text;
}

std::u16string text_of(PCUNICODE_STRING string) {
  std::u16string text(string->Length / sizeof(WCHAR), u'\0');
  if (!text.empty()) std::memcpy(text.data(), string->Buffer, string->Length);
  return text;
}

void destroy_device(void* body) {
  static_cast<Device*>(body)->~Device();
  free_body(body);
}
_OBJECT_TYPE device_type{"Device", destroy_device};

// A deleted device stays in its driver's list as long as somebody has it open. Under the lock of names().
void leave_driver_if_unused(Device& device) {
  if (device.files != 0 || is_out(Kind::device, &device.object)) return;
  PDEVICE_OBJECT* link = &device.object.DriverObject->DeviceObject;
  while (*link != nullptr && *link != &device.object) link = &(*link)->NextDevice;
  if (*link != nullptr) *link = device.object.NextDevice;
}

}  // namespace

Device* find_device(std::u16string_view name) {
  const std::lock_guard locked(names().lock);
  std::u16string at = canonical(name);
  for (int hops = 0; hops < 8; ++hops) {
    const auto device = names().devices.find(at);
    if (device != names().devices.end()) {
      reference(device->second);
      return device->second;
    }
    const auto link = names().links.find(at);
    if (link == names().links.end()) return nullptr;
    at = link->second;
  }
  return nullptr;
}

void set_label(Device& device, Integrity label, bool no_read_up, bool no_write_up) {
  const std::lock_guard locked(names().lock);
  device.acl.label = label;
  device.acl.no_read_up = no_read_up;
  device.acl.no_write_up = no_write_up;
}

Acl acl_of(Device& device) {
  const std::lock_guard locked(names().lock);
  return device.acl;
}

void forget_file(Device& device) {
  const std::lock_guard locked(names().lock);
  --device.files;
  leave_driver_if_unused(device);
}

std::size_t open_files_of(PDRIVER_OBJECT driver) {
  const std::lock_guard locked(names().lock);
  long files = 0;
  for (PDEVICE_OBJECT device = driver->DeviceObject; device != nullptr; device = device->NextDevice) {
    files += device_of(device).files;
  }
  return static_cast<std::size_t>(files);
}

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

NTSTATUS NTAPI IoCreateDeviceSecure(PDRIVER_OBJECT driver, ULONG extension, PUNICODE_STRING name, DEVICE_TYPE type,
                                    ULONG characteristics, BOOLEAN, PCUNICODE_STRING sddl, const GUID*,
                                    PDEVICE_OBJECT* object) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  if ((characteristics & FILE_DEVICE_SECURE_OPEN) == 0) {
    violation("IoCreateDeviceSecure without FILE_DEVICE_SECURE_OPEN: names behind the device's are not checked");
  }
  const std::optional<Acl> acl = parse_sddl(text_of(sddl));
  if (!acl.has_value()) return STATUS_INVALID_PARAMETER;
  if (should_fail(__func__)) return STATUS_INSUFFICIENT_RESOURCES;
  const std::u16string path = name != nullptr ? canonical(text_of(name)) : std::u16string();
  const std::lock_guard locked(names().lock);
  if (!path.empty() && (names().devices.count(path) != 0 || names().links.count(path) != 0)) {
    return STATUS_OBJECT_NAME_COLLISION;
  }
  Device* const device = make_object<Device>(&device_type);
  device->name = path;
  device->acl = *acl;
  device->extension = std::make_unique<char[]>(extension);
  device->object.DriverObject = driver;
  device->object.NextDevice = driver->DeviceObject;
  device->object.DeviceExtension = device->extension.get();
  device->object.DeviceType = type;
  device->object.Characteristics = characteristics;
  device->object.StackSize = 1;
  device->object.Flags = DO_DEVICE_INITIALIZING;
  driver->DeviceObject = &device->object;
  if (!path.empty()) names().devices[path] = device;
  take(Kind::device, device, __func__);
  *object = &device->object;
  return STATUS_SUCCESS;
}

VOID NTAPI IoDeleteDevice(PDEVICE_OBJECT object) {
  require_irql_at_most(APC_LEVEL, __func__);
  if (!give_back(Kind::device, object)) {
    violation("IoDeleteDevice of what is no device, or was deleted");
    return;
  }
  Device& device = device_of(object);
  {
    const std::lock_guard locked(names().lock);
    names().devices.erase(device.name);
    leave_driver_if_unused(device);
  }
  dereference(&device);
}

NTSTATUS NTAPI IoCreateSymbolicLink(PUNICODE_STRING link, PUNICODE_STRING target) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  if (should_fail(__func__)) return STATUS_INSUFFICIENT_RESOURCES;
  const std::u16string path = canonical(text_of(link));
  const std::lock_guard locked(names().lock);
  if (names().devices.count(path) != 0) return STATUS_OBJECT_NAME_COLLISION;
  const auto [added, is_new] = names().links.try_emplace(path, canonical(text_of(target)));
  if (!is_new) return STATUS_OBJECT_NAME_COLLISION;
  take(Kind::link, &added->second, __func__);
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI IoDeleteSymbolicLink(PUNICODE_STRING link) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  const std::lock_guard locked(names().lock);
  const auto found = names().links.find(canonical(text_of(link)));
  if (found == names().links.end()) {
    violation("IoDeleteSymbolicLink of a link that is not there");
    return STATUS_OBJECT_NAME_NOT_FOUND;
  }
  give_back(Kind::link, &found->second);
  names().links.erase(found);
  return STATUS_SUCCESS;
}

}  // extern "C"

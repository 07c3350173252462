// Devices, their names, and who may open them. Names are compared without regard to case; \DosDevices, \?? and
// \GLOBAL?? are one directory, and Global in it is that directory again. SDDL: allowing entries of the DACL and the
// mandatory label, as "Security Descriptor String Format" and "Mandatory Integrity Control" describe them.
#include <algorithm>
#include <cstring>
#include <map>

#include "tests/kernel/nt/files.hpp"

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

ACCESS_MASK rights_of(std::u16string_view text) {
  static const std::map<std::u16string_view, ACCESS_MASK> known{
      {u"GA", FILE_ALL_ACCESS},   {u"FA", FILE_ALL_ACCESS},    {u"GR", FILE_GENERIC_READ},
      {u"FR", FILE_GENERIC_READ}, {u"GW", FILE_GENERIC_WRITE}, {u"FW", FILE_GENERIC_WRITE},
      {u"GX", SYNCHRONIZE},       {u"FX", SYNCHRONIZE}};
  ACCESS_MASK all = 0;
  for (std::size_t i = 0; i + 2 <= text.size(); i += 2) {
    const auto found = known.find(text.substr(i, 2));
    if (found == known.end()) return 0;
    all |= found->second;
  }
  return all;
}

}  // namespace

std::optional<Acl> parse_sddl(std::u16string_view text) {
  Acl acl;
  bool in_sacl = false;
  for (std::size_t at = 0; at < text.size();) {
    if (text.compare(at, 2, u"D:") == 0 || text.compare(at, 2, u"S:") == 0) {
      in_sacl = text[at] == u'S';
      at += 2;
      while (at < text.size() && text[at] != u'(' && text.compare(at, 2, u"S:") != 0) ++at;  // flags
      continue;
    }
    const std::size_t end = text.find(u')', at);
    if (text[at] != u'(' || end == std::u16string_view::npos) return std::nullopt;
    std::vector<std::u16string> fields(1);
    for (const char16_t one : text.substr(at + 1, end - at - 1)) {
      if (one == u';') {
        fields.emplace_back();
      } else {
        fields.back() += one;
      }
    }
    at = end + 1;
    if (fields.size() != 6) return std::nullopt;
    if (!in_sacl) {
      const ACCESS_MASK rights = rights_of(fields[2]);
      if (fields[0] != u"A" || rights == 0) return std::nullopt;
      acl.allowed.push_back({fields[5], rights});
      continue;
    }
    static const std::map<std::u16string_view, Integrity> labels{
        {u"LW", Integrity::low}, {u"ME", Integrity::medium}, {u"HI", Integrity::high}, {u"SI", Integrity::system}};
    const auto label = labels.find(fields[5]);
    if (fields[0] != u"ML" || label == labels.end()) return std::nullopt;
    acl.label = label->second;
    acl.no_write_up = fields[2].find(u"NW") != std::u16string::npos;
    acl.no_read_up = fields[2].find(u"NR") != std::u16string::npos;
  }
  return acl;
}

NTSTATUS check_access(const Acl& acl, const Account& account, ACCESS_MASK wanted, ACCESS_MASK& granted) {
  if ((wanted & GENERIC_ALL) != 0) wanted |= FILE_ALL_ACCESS;
  if ((wanted & GENERIC_READ) != 0) wanted |= FILE_GENERIC_READ;
  if ((wanted & GENERIC_WRITE) != 0) wanted |= FILE_GENERIC_WRITE;
  wanted &= FILE_ALL_ACCESS;
  ACCESS_MASK allowed = 0;
  for (const Acl::Entry& entry : acl.allowed) {
    const bool is_his = (entry.who == u"SY" && account.is_system) ||
                        (entry.who == u"BA" && account.is_administrator) || entry.who == u"WD";
    if (is_his) allowed |= entry.access;
  }
  if (account.integrity < acl.label) {
    if (acl.no_write_up) allowed &= ~(FILE_GENERIC_WRITE & ~(FILE_GENERIC_READ));
    if (acl.no_read_up) allowed &= ~(FILE_GENERIC_READ & ~(FILE_GENERIC_WRITE));
    if (acl.no_read_up && acl.no_write_up) allowed = 0;
  }
  granted = wanted;
  return (wanted & allowed) == wanted ? STATUS_SUCCESS : STATUS_ACCESS_DENIED;
}

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
    if (device.files == 0) {  // an open one stays in the driver's list until it is closed
      PDEVICE_OBJECT* link = &object->DriverObject->DeviceObject;
      while (*link != nullptr && *link != object) link = &(*link)->NextDevice;
      if (*link != nullptr) *link = object->NextDevice;
    }
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

// Who may open a device. SDDL: the allowing entries of a DACL, and the mandatory label, as the public pages "Security
// Descriptor String Format" and "Mandatory Integrity Control" describe them; a label may also be set by itself.
#include <cstring>
#include <map>

#include "tests/kernel/nt/files.hpp"

namespace wintun::kernel {
namespace {

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

// The words of a self-relative security descriptor ([MS-DTYP] 2.4.6) that a label needs.
constexpr std::size_t kSaclOffset = 12;
constexpr std::uint8_t kMandatoryLabel = 0x11;
constexpr ULONG kLabelInformation = 0x10;

template <class T>
T word_at(const std::uint8_t* bytes, std::size_t offset) {
  T word;
  std::memcpy(&word, bytes + offset, sizeof(word));
  return word;
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

}  // namespace wintun::kernel

using namespace wintun::kernel;

extern "C" {

NTSTATUS NTAPI ObOpenObjectByPointer(PVOID object, ULONG attributes, PACCESS_STATE, ACCESS_MASK access,
                                     POBJECT_TYPE type, KPROCESSOR_MODE, PHANDLE handle) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  if (type != nullptr && header_of(object).type != type) return STATUS_OBJECT_TYPE_MISMATCH;
  if (should_fail(__func__)) return STATUS_INSUFFICIENT_RESOURCES;
  const bool of_the_kernel = (attributes & OBJ_KERNEL_HANDLE) != 0;
  *handle = insert_handle(of_the_kernel ? system_process() : current_process(), object, access);
  take(Kind::handle, *handle, __func__);
  return STATUS_SUCCESS;
}

NTSTATUS NTAPI ZwSetSecurityObject(HANDLE handle, SECURITY_INFORMATION what, PSECURITY_DESCRIPTOR descriptor) {
  require_irql_at_most(PASSIVE_LEVEL, __func__);
  const auto* const bytes = static_cast<const std::uint8_t*>(descriptor);
  const std::size_t ace = word_at<ULONG>(bytes, kSaclOffset) + 8;
  if (what != kLabelInformation || bytes[ace] != kMandatoryLabel) {
    violation("ZwSetSecurityObject of something else than a mandatory label: not modelled");
    return STATUS_INVALID_SECURITY_DESCR;
  }
  void* object = nullptr;
  ACCESS_MASK granted = 0;
  const NTSTATUS found = find_handle(current_process(), handle, 0, nullptr, KernelMode, object, granted);
  if (!NT_SUCCESS(found)) return found;
  NTSTATUS status = should_fail(__func__) ? STATUS_INSUFFICIENT_RESOURCES : STATUS_SUCCESS;
  constexpr ACCESS_MASK kWriteOwner = 0x00080000;
  if ((granted & kWriteOwner) == 0) status = STATUS_ACCESS_DENIED;
  if (NT_SUCCESS(status)) {
    const auto mask = word_at<ULONG>(bytes, ace + 4);
    // The identifier's one sub-authority is the level.
    set_label(*static_cast<Device*>(object), static_cast<Integrity>(word_at<ULONG>(bytes, ace + 16)), (mask & 2) != 0,
              (mask & 1) != 0);
  }
  dereference(object);
  return status;
}

}  // extern "C"

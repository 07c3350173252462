#include "tests/kernel/windows/image.hpp"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "tests/kernel/windows/unwind.hpp"

namespace wintun::kernel {
namespace {

using Bytes = std::vector<std::uint8_t>;

// All offsets below are checked against this: a file that is cut short must not take the test down.
class File {
 public:
  explicit File(const std::string& path) : path_(path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) fail("cannot be read");
    data_.assign(std::istreambuf_iterator<char>(stream), {});
  }

  template <class T>
  T at(std::size_t offset) const {
    T value;
    std::memcpy(&value, range(offset, sizeof(T)), sizeof(T));
    return value;
  }
  const std::uint8_t* range(std::size_t offset, std::size_t size) const {
    if (offset > data_.size() || size > data_.size() - offset) fail("is cut short");
    return data_.data() + offset;
  }
  [[noreturn]] void fail(const std::string& why) const { throw std::runtime_error(path_ + " " + why); }

 private:
  std::string path_;
  Bytes data_;
};

template <class T>
T* at(void* base, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<std::uint8_t*>(base) + offset);
}

void copy_sections(const File& file, const IMAGE_NT_HEADERS64& header, std::size_t headers_at, void* base) {
  std::memcpy(base, file.range(0, header.OptionalHeader.SizeOfHeaders), header.OptionalHeader.SizeOfHeaders);
  std::size_t offset =
      headers_at + offsetof(IMAGE_NT_HEADERS64, OptionalHeader) + header.FileHeader.SizeOfOptionalHeader;
  for (unsigned i = 0; i < header.FileHeader.NumberOfSections; ++i, offset += sizeof(IMAGE_SECTION_HEADER)) {
    const auto section = file.at<IMAGE_SECTION_HEADER>(offset);
    if (section.VirtualAddress > header.OptionalHeader.SizeOfImage ||
        section.SizeOfRawData > header.OptionalHeader.SizeOfImage - section.VirtualAddress) {
      file.fail("has a section outside of its image");
    }
    std::memcpy(at<void>(base, section.VirtualAddress), file.range(section.PointerToRawData, section.SizeOfRawData),
                section.SizeOfRawData);
  }
}

void relocate(const File& file, const IMAGE_OPTIONAL_HEADER64& header, void* base) {
  const IMAGE_DATA_DIRECTORY directory = header.DataDirectory[IMAGE_DIRECTORY_ENTRY_BASERELOC];
  const std::uint64_t delta = reinterpret_cast<std::uintptr_t>(base) - header.ImageBase;
  for (std::size_t done = 0; done < directory.Size;) {
    const auto* block = at<IMAGE_BASE_RELOCATION>(base, directory.VirtualAddress + done);
    if (block->SizeOfBlock < sizeof(*block)) break;
    const auto* entries = reinterpret_cast<const std::uint16_t*>(block + 1);
    for (std::size_t i = 0; i < (block->SizeOfBlock - sizeof(*block)) / 2; ++i) {
      if (entries[i] >> 12 == IMAGE_REL_BASED_ABSOLUTE) continue;
      if (entries[i] >> 12 != IMAGE_REL_BASED_DIR64) file.fail("has a relocation that x64 does not know");
      *at<std::uint64_t>(base, block->VirtualAddress + (entries[i] & 0xFFFU)) += delta;
    }
    done += block->SizeOfBlock;
  }
}

// An import of a variable is its address. The published headers declare these as pointers to it, and so they are
// defined in this program.
bool is_variable(const std::string& name) {
  return name == "ExEventObjectType" || name == "PsThreadType" || name == "PsProcessType" ||
         name == "IoFileObjectType";
}

// 0: nobody has it.
std::uintptr_t find(const std::string& name) {
  if (name == "__C_specific_handler") return reinterpret_cast<std::uintptr_t>(&handle_exception);
  // This program's functions first: they are the kernel.
  for (const char* library : {static_cast<const char*>(nullptr), "ntdll.dll", "msvcrt.dll"}) {
    const FARPROC found = GetProcAddress(GetModuleHandleA(library), name.c_str());
    if (found == nullptr) continue;
    const auto address = reinterpret_cast<std::uintptr_t>(found);
    return is_variable(name) ? *reinterpret_cast<const std::uintptr_t*>(address) : address;
  }
  return 0;
}

void bind(const File& file, const IMAGE_OPTIONAL_HEADER64& header, void* base) {
  std::string missing;
  const IMAGE_DATA_DIRECTORY directory = header.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
  for (auto* library = at<IMAGE_IMPORT_DESCRIPTOR>(base, directory.VirtualAddress);
       directory.Size != 0 && library->Name != 0; ++library) {
    auto* thunk = at<IMAGE_THUNK_DATA64>(base, library->FirstThunk);
    for (; thunk->u1.AddressOfData != 0; ++thunk) {
      const char* name = at<IMAGE_IMPORT_BY_NAME>(base, thunk->u1.AddressOfData)->Name;
      thunk->u1.Function = find(name);
      if (thunk->u1.Function == 0) missing += std::string(" ") + name;
    }
  }
  if (!missing.empty()) file.fail("imports what this kernel lacks:" + missing);
}

}  // namespace

Image::Image(const std::string& path) {
  const File file(path);
  const auto dos = file.at<IMAGE_DOS_HEADER>(0);
  const auto header = file.at<IMAGE_NT_HEADERS64>(static_cast<std::size_t>(dos.e_lfanew));
  if (dos.e_magic != IMAGE_DOS_SIGNATURE || header.Signature != IMAGE_NT_SIGNATURE ||
      header.FileHeader.Machine != IMAGE_FILE_MACHINE_AMD64) {
    file.fail("is no x64 image");
  }
  base_ = VirtualAlloc(nullptr, header.OptionalHeader.SizeOfImage, MEM_RESERVE | MEM_COMMIT, PAGE_EXECUTE_READWRITE);
  if (base_ == nullptr) file.fail("finds no memory");
  copy_sections(file, header, static_cast<std::size_t>(dos.e_lfanew), base_);
  relocate(file, header.OptionalHeader, base_);
  bind(file, header.OptionalHeader, base_);
  // What makes __try in the driver work: the unwinder finds its frames.
  const IMAGE_DATA_DIRECTORY unwind = header.OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_EXCEPTION];
  if (unwind.Size != 0) {
    RtlAddFunctionTable(at<RUNTIME_FUNCTION>(base_, unwind.VirtualAddress), unwind.Size / sizeof(RUNTIME_FUNCTION),
                        reinterpret_cast<std::uintptr_t>(base_));
  }
  entry_ = at<void>(base_, header.OptionalHeader.AddressOfEntryPoint);
  keep_variables(static_cast<std::size_t>(dos.e_lfanew));
}

void Image::keep_variables(std::size_t header_at) {
  auto* const header = at<IMAGE_NT_HEADERS64>(base_, header_at);
  const IMAGE_SECTION_HEADER* section = IMAGE_FIRST_SECTION(header);
  for (unsigned i = 0; i < header->FileHeader.NumberOfSections; ++i, ++section) {
    if ((section->Characteristics & IMAGE_SCN_MEM_WRITE) == 0) continue;
    auto* const begin = at<std::uint8_t>(base_, section->VirtualAddress);
    variables_.push_back({begin, Bytes(begin, begin + section->Misc.VirtualSize)});
  }
}

void Image::reset() {
  for (const auto& [begin, bytes] : variables_) std::memcpy(begin, bytes.data(), bytes.size());
}

}  // namespace wintun::kernel

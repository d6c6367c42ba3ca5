// The table loader's script: QEMU's way to let firmware decide where ACPI tables lie (qemu: hw/acpi/bios-linker-loader,
// described in SeaBIOS as "struct romfile_loader_entry_s"). A list of 128-byte commands: allocate a file's memory, add
// its address to fields, make checksums.
#include "dualvm/boot/acpi.h"
#include "little_endian.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace dualvm::boot {

namespace {

constexpr std::size_t kCommandSize = 128, kFileNameSize = 56;
enum : u32 { kAllocate = 1, kAddPointer = 2, kAddChecksum = 3 };
enum : u8 { kAnywhere = 1, kFirmwareSegment = 2 };  // zones: F0000h-FFFFFh is where guests look for the RSDP

const char* file(bool rsdp) { return rsdp ? kAcpiRsdpFile : kAcpiTablesFile; }

class Command {
public:
    explicit Command(u32 code) : bytes_(kCommandSize) { put(code); }
    Command& name(std::string_view text) {
        std::copy(text.begin(), text.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at_));
        at_ += kFileNameSize;
        return *this;
    }
    template <class T>
    Command& put(T value) {
        store(bytes_, at_, value);
        at_ += sizeof(T);
        return *this;
    }
    void append_to(std::vector<u8>& script) const { script.insert(script.end(), bytes_.begin(), bytes_.end()); }

private:
    std::vector<u8> bytes_;
    std::size_t at_ = 0;
};

}  // namespace

std::vector<u8> loader_script(const AcpiTables& tables) {
    std::vector<u8> script;
    Command(kAllocate).name(kAcpiRsdpFile).put(u32{16}).put(u8{kFirmwareSegment}).append_to(script);
    Command(kAllocate).name(kAcpiTablesFile).put(u32{kAcpiTablesAlignment}).put(u8{kAnywhere}).append_to(script);
    for (const AcpiTables::Pointer& p : tables.pointers) {
        Command(kAddPointer)
            .name(file(p.in_rsdp))
            .name(kAcpiTablesFile)
            .put(p.offset)
            .put(static_cast<u8>(p.size))
            .append_to(script);
    }
    for (const AcpiTables::Checksum& c : tables.checksums) {
        Command(kAddChecksum).name(file(c.in_rsdp)).put(c.offset).put(c.start).put(c.length).append_to(script);
    }
    return script;
}

}  // namespace dualvm::boot

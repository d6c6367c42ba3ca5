// What firmware is told about the machine, as files of QEMU's firmware configuration interface.
#include <algorithm>
#include <array>

#include "dualvm/boot/acpi.h"
#include "dualvm/boot/firmware.h"
#include "dualvm/boot/memory_map.h"
#include "image_file.h"
#include "little_endian.h"

namespace dualvm::boot {

namespace {

constexpr const char* kVgaBios = "/usr/share/seabios/vgabios-stdvga.bin";
constexpr u64 kLargestOptionRom = 64 * 1024;

// Where there is RAM; firmware itself works out what of it is its own.
std::vector<u8> ram_map(const VMem& memory) {
    struct Range {
        u64 base, size;
    };
    const u64 low = std::min(memory.ram_size(), VMem::kHoleBase);
    std::vector<Range> ranges = {{0, low}};
    if (memory.ram_size() > low) ranges.push_back({VMem::kHoleEnd, memory.ram_size() - low});
    constexpr u64 kEntrySize = 20;  // base, size, type, as INT 15h, AX=E820h has them
    std::vector<u8> bytes(ranges.size() * kEntrySize);
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        store(bytes, i * kEntrySize, ranges[i].base);
        store(bytes, i * kEntrySize + 8, ranges[i].size);
        store(bytes, i * kEntrySize + 16, static_cast<u32>(MemoryType::Usable));
    }
    return bytes;
}

}  // namespace

std::vector<FirmwareFile> firmware_files(const Machine& machine, bool serial_console) {
    // When there is nothing to boot from, firmware says so and waits: it does not start again after a minute. QEMU,
    // too, gives -1 unless it is told otherwise (-boot reboot-timeout).
    const std::vector<u8> for_ever(sizeof(u32), 0xff);
    std::vector<FirmwareFile> files = {{"etc/e820", ram_map(machine.vmem())}, {"etc/boot-fail-wait", for_ever}};
    if (machine.platform()) {
        AcpiTables acpi = make_acpi_tables(*machine.platform());
        files.push_back({kAcpiLoaderFile, loader_script(acpi)});
        files.push_back({kAcpiTablesFile, std::move(acpi.tables)});
        files.push_back({kAcpiRsdpFile, std::move(acpi.rsdp)});
    }
    if (serial_console) {
        constexpr u16 kCom1 = 0x3f8;
        std::vector<u8> port(sizeof kCom1);
        store(port, 0, kCom1);
        files.push_back({"etc/sercon-port", std::move(port)});
    }
    // Without it firmware runs all the same, but shows nothing on the screen.
    // The name says which PCI function it is for: SeaBIOS then tells the VGA BIOS where on the bus that is.
    if (auto vga = read_image_file(kVgaBios, "VGA BIOS", kLargestOptionRom)) {
        files.push_back({"pci1234,1111.rom", std::move(*vga)});
    }
    return files;
}

std::vector<u8> vga_font() {
    // How such a font begins: an empty character, and the upper half of a smiling face.
    static constexpr std::array<u8, 24> kBeginning = {0, 0, 0, 0, 0, 0, 0,    0,    0,    0,    0,    0,
                                                      0, 0, 0, 0, 0, 0, 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd};
    constexpr std::ptrdiff_t kFontBytes = 256 * 16;
    const auto bios = read_image_file(kVgaBios, "VGA BIOS", kLargestOptionRom);
    if (!bios) return {};
    const auto font = std::search(bios->begin(), bios->end(), kBeginning.begin(), kBeginning.end());
    if (bios->end() - font < kFontBytes) return {};
    return {font, font + kFontBytes};
}

}  // namespace dualvm::boot

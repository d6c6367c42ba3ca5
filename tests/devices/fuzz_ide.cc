// libFuzzer: the input is what a guest does to its disks: accesses to the registers of IDE, its bus masters, the floppy
// controller and DMA, words in memory where tables lie, data by the block, and archives.
#include <span>

#include "dualvm/devices/pc.h"
#include "memory_disk.h"

namespace {

using namespace dualvm;

class Life {
public:
    explicit Life(std::span<const u8> bytes) : bytes_(bytes) {}
    bool over() const { return bytes_.empty(); }
    u8 byte() {
        if (bytes_.empty()) return 0;
        const u8 b = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return b;
    }
    u32 number() {
        u32 value = 0;
        for (unsigned i = 0; i < 4; ++i) value |= u32{byte()} << (8 * i);
        return value;
    }
    std::span<const u8> rest(std::size_t most) {
        const auto taken = bytes_.first(std::min(most, bytes_.size()));
        bytes_ = bytes_.subspan(taken.size());
        return taken;
    }

private:
    std::span<const u8> bytes_;
};

constexpr u16 kPorts[] = {0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6,  0x1f7,  0x3f6,  0x170,  0x171,  0x172,
                          0x173, 0x174, 0x175, 0x176, 0x177, 0x376, 0xc000, 0xc002, 0xc004, 0xc008, 0xc00a, 0xc00c,
                          0x3f2, 0x3f4, 0x3f5, 0x3f7, 0x04,  0x05,  0x0a,   0x0b,   0x0c,   0x81,   0xcf8,  0xcfc};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    devices::MemoryDisk disk(600), disc(400), floppy(720);
    auto machine = *Machine::create({.memory_mebibytes = 1});
    devices::PcConfig config;
    config.ide_drives[0] = devices::IdeDriveConfig{.disk = &disk};
    config.ide_drives[2] = devices::IdeDriveConfig{.disk = &disc, .cdrom = true};
    config.ide_drives[3] = devices::IdeDriveConfig{.disk = nullptr, .cdrom = true};
    config.floppies[0] = &floppy;
    auto pc = *devices::Pc::build(*machine, config);
    VIo& vio = machine->vio();
    Life life({data, size});
    while (!life.over()) {
        const u8 what = life.byte();
        const u16 port = kPorts[life.byte() % std::size(kPorts)];
        const unsigned width = 1u << (what >> 4 & 1) << (what >> 5 & 1);
        switch (what & 7) {
            case 0: vio.read_port(port, width); break;
            case 1:  // where tables lie: small addresses, so that they can point at themselves
                machine->vmem().write_value(life.byte() * 4u, life.number());
                break;
            case 2: {
                const u16 from = (what & 8) != 0 ? 0x170 : 0x1f0;
                for (unsigned i = 0; i < 256; ++i) vio.read_port(from, 2);
                break;
            }
            case 3: {
                const u16 to = (what & 8) != 0 ? 0x170 : 0x1f0;
                for (u8 b : life.rest(12)) vio.write_port(to, 2, b);
                break;
            }
            case 4: {
                const auto archive = life.rest(life.byte() * 4u);
                ArchiveReader in(archive.data(), archive.size());
                machine->devices()[(what >> 3) % machine->devices().size()]->load(in);
                break;
            }
            case 5: disk.failing = disc.failing = (what & 8) != 0; break;
            default: vio.write_port(port, width, life.number()); break;
        }
        machine->take_request();
    }
    ArchiveWriter out;
    for (const auto& device : machine->devices()) device->save(out);
    ArchiveReader in(out.bytes().data(), out.bytes().size());
    for (const auto& device : machine->devices()) device->load(in);
    if (!in.ok() || !in.at_end()) __builtin_trap();  // whatever the guest does can be saved, and loaded again
    return 0;
}

// libFuzzer: the input is what a guest does to the graphics adapter, by its ports, its window, its PCI function and its
// frame buffer. Then the screen is rendered: nothing may be read outside of its memory, and its size stays bounded.
#include <span>

#include "dualvm/devices/pc.h"

namespace {

using namespace dualvm;
using devices::Vga;

class Input {
public:
    explicit Input(std::span<const u8> bytes) : bytes_(bytes) {}
    bool over() const { return bytes_.empty(); }
    u64 number(unsigned size) {
        u64 value = 0;
        for (unsigned i = 0; i < size && !bytes_.empty(); ++i) {
            value |= u64{bytes_.front()} << (8 * i);
            bytes_ = bytes_.subspan(1);
        }
        return value;
    }

private:
    std::span<const u8> bytes_;
};

void look(const devices::Pc& pc) {
    const devices::Screen screen = pc.vga().screen();
    if (screen.cells.size() != std::size_t{screen.columns} * screen.rows) __builtin_trap();
    screen.text();
    const devices::Picture picture = pc.vga().picture();
    const u64 pixels = u64{picture.width} * picture.height;
    if (pixels > devices::VgaRenderer::kLargestPicture || picture.rgb.size() != pixels * 3) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    auto machine = *Machine::create({.memory_mebibytes = 1});
    devices::PcConfig config;
    config.video_memory = u64{256} << 10;
    auto pc = *devices::Pc::build(*machine, config);
    VIo& vio = machine->vio();
    unsigned looks = 0;
    for (Input in({data, size}); !in.over();) {
        const auto what = static_cast<u8>(in.number(1));
        const unsigned bytes = 1u << (what >> 4 & 3);
        switch (what & 7) {
            case 0:  // an index and its value
            case 1: {
                constexpr u16 kIndexes[] = {0x3c4, 0x3ce, 0x3d4, 0x3b4};
                vio.write_port(kIndexes[what >> 3 & 3], 2, in.number(2));
                break;
            }
            case 2:
                vio.write_port(0x1ce, 2, in.number(1) & 15);
                vio.write_port(0x1cf, 2, in.number(2));
                break;
            case 3: {
                const auto port = static_cast<u16>(Vga::kPorts + in.number(1) % Vga::kPortsSize);
                (what & 0x80) != 0 ? vio.write_port(port, 1, in.number(1)) : void(vio.read_port(port, 1));
                break;
            }
            case 4: {
                const u64 address = Vga::kWindow + in.number(3) % Vga::kWindowSize;
                (what & 0x80) != 0 ? vio.write_mmio(address, bytes, in.number(bytes))
                                   : void(vio.read_mmio(address, bytes));
                break;
            }
            case 5: {  // configuration space: BARs, command
                const u64 at = in.number(1) % 8;
                vio.write_port(0xcf8, 4,
                               0x80001000 | (at == 7 ? devices::pci::kCommand : devices::pci::kBars + 4 * at));
                vio.write_port(0xcfc, 4, in.number(4));
                break;
            }
            case 6: {  // wherever it lies now
                const auto bar =
                    pc->pci().find(2, 0)->bar((what & 8) != 0 ? Vga::kFrameBufferBar : Vga::kRegistersBar).at;
                const u64 address = bar.value_or(0xe0000000) + in.number(2);
                u64 value = in.number(bytes);
                if (!machine->vmem().write(address, &value, bytes)) vio.write_mmio(address, bytes, value);
                vio.read_mmio(address, bytes);
                break;
            }
            default:
                if (looks++ < 4) look(*pc);
                break;
        }
    }
    look(*pc);
    ArchiveWriter out;
    pc->vga().save(out);
    ArchiveReader back(out.bytes().data(), out.bytes().size());
    for (const auto& device : machine->devices()) {
        if (device.get() == static_cast<const Device*>(&pc->vga())) device->load(back);
    }
    if (!back.ok() || !back.at_end()) __builtin_trap();
    ArchiveReader hostile(data, size);
    for (const auto& device : machine->devices()) {
        if (device.get() == static_cast<const Device*>(&pc->vga())) device->load(hostile);
    }
    look(*pc);
    return 0;
}

// libFuzzer: the input is a life of a PC, as port and MMIO accesses, steps in time, input, interrupts and archives.
#include <span>

#include "dualvm/devices/io_apic.h"
#include "dualvm/devices/pc.h"

namespace {

using namespace dualvm;
using devices::IoApic;
using devices::LocalApic;

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
    u64 number(unsigned size) {
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i) value |= u64{byte()} << (8 * i);
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

void access(Machine& machine, Life& life, u8 what) {
    VIo& vio = machine.vio();
    const unsigned size = 1u << (what >> 3 & 3);
    const bool write = (what & 0x20) != 0;
    if (what & 0x40) {
        const u64 where = life.number(3);
        const u64 windows[] = {0xa0000 + (where & 0x1ffff), LocalApic::kUsualBase + (where & 0xfff),
                               IoApic::kUsualBase + (where & 0x1f), LocalApic::kUsualBase + (where & 0x3f0)};
        const u64 address = windows[where >> 22];
        write ? vio.write_mmio(address, size, life.number(size)) : void(vio.read_mmio(address, size));
        return;
    }
    // Ports where something is: a byte names the range, another the place in it.
    const auto& ranges = vio.ports().ranges();
    const IoRange& range = ranges[life.byte() % ranges.size()];
    const auto port = static_cast<u16>(range.base + life.byte() % range.size);
    const unsigned port_size = std::min(size, 4u);
    write ? vio.write_port(port, port_size, life.number(port_size)) : void(vio.read_port(port, port_size));
}

void use_keyboard_and_mouse(devices::I8042& controller, Life& life, u8 what) {
    const auto& names = devices::key_names();
    const devices::Key key = names[life.byte() % names.size()].key;
    switch (what >> 3 & 3) {
        case 0: controller.keyboard().press(key); break;
        case 1: controller.keyboard().release(key); break;
        case 2: controller.mouse().set_buttons(life.byte()); break;
        default:
            controller.mouse().move(static_cast<i16>(life.number(2)), static_cast<i8>(life.byte()),
                                    static_cast<i8>(life.byte()));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    auto machine = *Machine::create({.memory_mebibytes = 1});
    devices::PcConfig config;
    config.firmware = devices::FirmwareConfig{};
    auto pc = *devices::Pc::build(*machine, config);
    pc->add_firmware_file("file", std::vector<u8>(100, 0x55));
    VirtualClock& clock = *machine->virtual_clock();
    Life life({data, size});
    while (!life.over()) {
        const u8 what = life.byte();
        switch (what & 7) {
            case 0:
                clock.skip_to(clock.now() + life.number(1 + (what >> 3 & 3)));
                clock.fire_due();
                break;
            case 1:
                if ((what & 0x80) == 0) {
                    pc->serial_input(life.rest(what >> 3 & 15));
                } else {
                    use_keyboard_and_mouse(pc->keyboard_controller(), life, what);
                }
                break;
            case 2:
                if (machine->interrupt_pending()) machine->acknowledge_interrupt();
                if (what & 0x80) {  // memory, for devices that look there
                    const u64 address = life.number(2);
                    const auto bytes = life.rest(what >> 3 & 15);
                    machine->vmem().write(address, bytes.data(), bytes.size());
                }
                break;
            case 3: {
                const auto archive = life.rest(life.number(2));
                ArchiveReader in(archive.data(), archive.size());
                machine->devices()[(what >> 3) % machine->devices().size()]->load(in);
                break;
            }
            default: access(*machine, life, what); break;
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

// Saving and loading all of a PC's devices at once, as a snapshot does.
#include <algorithm>
#include <random>

#include "device_test.h"
#include "dualvm/devices/io_apic.h"
#include "dualvm/devices/pc.h"

namespace dualvm::devices {
namespace {

struct Subject {
    Subject() {
        PcConfig config;
        config.serial_output = [this](u8 byte) { serial += static_cast<char>(byte); };
        config.firmware = FirmwareConfig{};
        pc = *Pc::build(*machine, config);
    }
    std::vector<u8> save() const {
        ArchiveWriter out;
        for (const auto& device : machine->devices()) device->save(out);
        return out.bytes();
    }
    bool load(const std::vector<u8>& bytes) {
        ArchiveReader in(bytes.data(), bytes.size());
        for (const auto& device : machine->devices()) device->load(in);
        return in.ok() && in.at_end();
    }
    // One step of a life determined by `random`: an access, input, an interrupt taken or time. What it saw.
    u64 step(std::mt19937& random) {
        VIo& vio = machine->vio();
        const auto& ranges = vio.ports().ranges();
        const IoRange& range = ranges[random() % ranges.size()];
        const auto port = static_cast<u16>(range.base + random() % range.size);
        const u64 value = random();
        machine->take_request();
        switch (random() % 8) {
            case 0:
            case 1:
            case 2: vio.write_port(port, 1, value); return 0;
            case 3: input(value); return 0;
            case 4: {
                // Now and then a timer is due and has not fired yet.
                VirtualClock& clock = *machine->virtual_clock();
                const Nanoseconds time = value / 4 % 3'000'000;
                value % 4 == 0 ? clock.skip_to(clock.now() + time) : pass(clock, time);
                return 0;
            }
            case 5: return machine->interrupt_pending() ? machine->acknowledge_interrupt() : 0x100;
            case 6:
                switch (value % 3) {
                    case 0: vio.write_mmio(0xb8000 + value / 3 % 0x8000, 1, value >> 16); return 0;
                    case 1: vio.write_mmio(IoApic::kUsualBase + (value & 0x10), 4, value >> 8 & 0x3ffff); return 0;
                    default: {
                        const u64 at = LocalApic::kUsualBase + (value >> 4 & 0x3f) * 0x10;
                        vio.write_mmio(at, 4, value >> 10 & 0x3ffff);
                        return vio.read_mmio(at, 4);
                    }
                }
            default: return vio.read_port(port, 1);
        }
    }

    void input(u64 value) {
        I8042& controller = pc->keyboard_controller();
        const Key key = key_names()[value / 4 % 8].key;
        const u8 byte[] = {static_cast<u8>(value)};
        switch (value % 4) {
            case 0: pc->serial_input(byte); break;
            case 1: controller.keyboard().press(key); break;
            case 2: controller.keyboard().release(key); break;
            default: controller.mouse().move(static_cast<i8>(value >> 2), static_cast<i8>(value >> 10), 1); break;
        }
    }

    std::string serial;
    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 2});
    std::unique_ptr<Pc> pc;
};

TEST(SaveAndLoad, ALoadedPcBehavesAsTheSavedOne) {
    for (u32 seed = 0; seed < 40; ++seed) {
        std::mt19937 life(seed);
        Subject one, two;
        for (int i = 0; i < 3000; ++i) one.step(life);
        // The clock is the machine's to save, before its devices.
        two.machine->virtual_clock()->restore(0, one.machine->clock().now());
        ASSERT_TRUE(two.load(one.save())) << seed;
        ASSERT_EQ(two.save(), one.save()) << seed;
        two.serial = one.serial;
        std::mt19937 again = life;
        for (int i = 0; i < 1000; ++i) ASSERT_EQ(one.step(life), two.step(again)) << seed << ' ' << i;
        EXPECT_EQ(one.serial, two.serial);
        const std::vector<u8> a = one.save(), b = two.save();
        const auto differs = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
        ASSERT_TRUE(a == b) << "seed " << seed << ", at byte " << differs - a.begin();
    }
}

TEST(SaveAndLoad, LoadingOverALivingPcIsTheSameAsIntoAFreshOne) {
    std::mt19937 life(7);
    Subject one, two;
    for (int i = 0; i < 3000; ++i) one.step(life);
    for (int i = 0; i < 1234; ++i) two.step(life);
    two.machine->virtual_clock()->skip_to(one.machine->clock().now());
    one.machine->virtual_clock()->skip_to(two.machine->clock().now());
    ASSERT_TRUE(two.load(one.save()));
    EXPECT_EQ(two.save(), one.save());
}

TEST(SaveAndLoad, ATruncatedArchiveIsBad) {
    std::mt19937 life(3);
    Subject one;
    for (int i = 0; i < 1000; ++i) one.step(life);
    const std::vector<u8> whole = one.save();
    Subject two;
    for (std::size_t size = 0; size < whole.size(); size += 1 + size / 16) {
        EXPECT_FALSE(two.load({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)})) << size;
    }
    EXPECT_FALSE(two.load({whole.begin(), whole.end() - 1}));
}

TEST(SaveAndLoad, RandomBytesAreBad) {
    std::mt19937 random(11);
    Subject subject;
    for (int i = 0; i < 100; ++i) {
        std::vector<u8> bytes(random() % 4000);
        for (u8& byte : bytes) byte = static_cast<u8>(random());
        EXPECT_FALSE(subject.load(bytes));
    }
}

// A changed byte may be refused or make another state; either way the PC goes on without harm.
TEST(SaveAndLoad, AnArchiveWithChangedBytesDoesNoHarm) {
    std::mt19937 random(5);
    Subject one, two;
    for (int i = 0; i < 1000; ++i) one.step(random);
    const std::vector<u8> whole = one.save();
    int refused = 0;
    for (int round = 0; round < 300; ++round) {
        std::vector<u8> bytes = whole;
        // The devices before the screen, whose 128 KiB would take all the changes.
        for (int i = 0; i < 8; ++i) bytes[random() % 700] = static_cast<u8>(random());
        if (!two.load(bytes)) ++refused;
        for (int i = 0; i < 50; ++i) two.step(random);
    }
    EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace dualvm::devices

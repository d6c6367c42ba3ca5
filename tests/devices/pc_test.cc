#include "dualvm/devices/pc.h"

#include <random>

#include "device_test.h"
#include "dualvm/devices/bus_memory.h"

namespace dualvm::devices {
namespace {

class WholePc : public testing::Test {
protected:
    WholePc() { pc = *Pc::build(*machine, {.serial_output = sink(serial), .debug_console_output = sink(console)}); }
    static std::function<void(u8)> sink(std::string& into) {
        return [&into](u8 byte) { into += static_cast<char>(byte); };
    }
    u64 in(u16 port, unsigned size = 1) { return machine->vio().read_port(port, size); }
    void out(u16 port, u64 value, unsigned size = 1) { machine->vio().write_port(port, size, value); }
    void initialize_pic() {
        for (auto [port, value] : {std::pair{0x20, 0x11},
                                   {0x21, 0x20},
                                   {0x21, 4},
                                   {0x21, 1},
                                   {0xa0, 0x11},
                                   {0xa1, 0x28},
                                   {0xa1, 2},
                                   {0xa1, 1}}) {
            out(static_cast<u16>(port), static_cast<u64>(value));
        }
    }
    void pass_time(Nanoseconds time) { pass(*machine->virtual_clock(), time); }

    std::string serial, console;
    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 4});
    std::unique_ptr<Pc> pc;
};

TEST_F(WholePc, SerialPortAndDebugConsolesReachTheirSinks) {
    out(0x3f8, 'a');
    out(0xe9, 'b');
    out(0x402, 'c');
    EXPECT_EQ(serial, "a");
    EXPECT_EQ(console, "bc");
    EXPECT_EQ(in(0xe9), 0xe9u);
    EXPECT_EQ(in(0x402), 0xe9u);
}

TEST_F(WholePc, DmaReachesTheGraphicsWindow) {
    const BusMemory memory(*machine);
    const std::array<u8, 2> text = {'x', 0x1e};
    EXPECT_TRUE(memory.write(0xb8000, text.data(), text.size()));
    EXPECT_EQ(machine->vio().read_mmio(0xb8000, 1), 'x');
    std::array<u8, 2> back{};
    EXPECT_TRUE(memory.read(0xb8000, back.data(), back.size()));
    EXPECT_EQ(back, text);
    EXPECT_TRUE(memory.write(0x9ffff, text.data(), text.size()));  // half of it is RAM
    EXPECT_TRUE(machine->vmem().read(0x9ffff, back.data(), 1));
    EXPECT_EQ(back[0], 'x');
    EXPECT_FALSE(memory.write(0xf0000000, text.data(), text.size()));
}

TEST_F(WholePc, TheTimerInterruptsAtIrq0) {
    initialize_pic();
    out(0x43, 0x34);
    out(0x40, 0xa9);
    out(0x40, 0x04);  // 1000 Hz
    EXPECT_FALSE(machine->interrupt_pending());
    pass_time(1'100'000);
    ASSERT_TRUE(machine->interrupt_pending());
    EXPECT_EQ(machine->acknowledge_interrupt(), 0x20);
}

TEST_F(WholePc, SerialInputInterruptsAtIrq4) {
    initialize_pic();
    out(0x3fc, 8);
    out(0x3f9, 1);
    EXPECT_TRUE(pc->serial_input_interrupts());
    const u8 byte[] = {'k'};
    pc->serial_input(byte);
    ASSERT_TRUE(machine->interrupt_pending());
    EXPECT_EQ(machine->acknowledge_interrupt(), 0x24);
    EXPECT_EQ(in(0x3f8), u64{'k'});
    EXPECT_EQ(pc->serial_input_waiting(), 0u);
}

TEST_F(WholePc, TheClockInterruptsAtIrq8) {
    initialize_pic();
    out(0x70, 0x0b);
    out(0x71, 0x42);
    pass_time(2'000'000);
    ASSERT_TRUE(machine->interrupt_pending());
    EXPECT_EQ(machine->acknowledge_interrupt(), 0x28);
}

TEST_F(WholePc, AnX87ErrorInterruptsAtIrq13UntilPortF0IsWritten) {
    initialize_pic();
    out(0xf0, 0);  // nothing to take back
    EXPECT_FALSE(machine->ignores_fpu_error());
    ASSERT_TRUE(machine->report_fpu_error());
    ASSERT_TRUE(machine->interrupt_pending());
    EXPECT_EQ(machine->acknowledge_interrupt(), 0x2d);
    out(0xf0, 0);
    EXPECT_TRUE(machine->ignores_fpu_error());
    for (const u16 port : {u16{0xa0}, u16{0x20}}) out(port, 0x20);
    EXPECT_FALSE(machine->interrupt_pending());
    ASSERT_TRUE(machine->report_fpu_error());  // another one
    EXPECT_TRUE(machine->interrupt_pending());
}

TEST_F(WholePc, UnderAVirtualClockItIsTheYear2000) {
    out(0x70, 9);
    EXPECT_EQ(in(0x71), 0u);
    out(0x70, 0x32);
    EXPECT_EQ(in(0x71), 0x20u);
}

TEST(PcStartTime, CanBeGiven) {
    auto machine = *Machine::create({.memory_mebibytes = 1});
    auto pc = *Pc::build(*machine, {.start_time = 1'700'000'000});  // 2023-11-14
    machine->vio().write_port(0x70, 1, 8);
    EXPECT_EQ(machine->vio().read_port(0x71, 1), 0x11u);
}

TEST_F(WholePc, DebugExitTakesEverySizeAtItsPorts) {
    for (unsigned size : {1u, 2u, 4u}) {
        out(0xf4, 0x21, size);
        const auto request = machine->take_request();
        ASSERT_TRUE(request);
        EXPECT_EQ(request->debug_exit_value, 0x21);
    }
}

TEST_F(WholePc, ByteAccessToCf9IsResetControl) {
    out(0xcf8, 0x80000000, 4);
    EXPECT_FALSE(machine->pending_request());
    out(0xcf9, 6);
    ASSERT_TRUE(machine->pending_request());
    EXPECT_EQ(machine->pending_request()->kind, RequestKind::Reset);
    EXPECT_EQ(in(0xcfc, 4), 0x12378086u);
}

TEST_F(WholePc, TextMemoryIsAHoleInRamThatTheScreenAnswers) {
    EXPECT_EQ(machine->vmem().find(0xb8000), nullptr);
    machine->vio().write_mmio(0xb8000, 4, 0x07690748);
    EXPECT_EQ(pc->vga().text(), "Hi\n");
    EXPECT_EQ(machine->vio().read_mmio(0xb8000, 2), 0x0748u);
}

TEST_F(WholePc, OtherSerialPortsAreAbsent) {
    for (u16 base : {u16{0x2f8}, u16{0x3e8}, u16{0x2e8}}) {
        out(static_cast<u16>(base + 7), 0x5a);
        EXPECT_EQ(in(static_cast<u16>(base + 7)), 0xffu);
    }
}

TEST_F(WholePc, AMachineResetLeavesNothingPendingAndTheScreenEmpty) {
    initialize_pic();
    out(0x3fc, 8);
    out(0x3f9, 2);
    machine->vio().write_mmio(0xb8000, 1, 'x');
    EXPECT_TRUE(machine->interrupt_pending());
    machine->reset();
    EXPECT_FALSE(machine->interrupt_pending());
    EXPECT_EQ(pc->vga().text(), "");
}

TEST_F(WholePc, CannotBeBuiltTwice) {
    const auto again = Pc::build(*machine, {});
    ASSERT_FALSE(again);
    EXPECT_NE(again.error().text.find("overlaps"), std::string::npos) << again.error().text;
}

// Every port and the whole window, at random, with random sizes and times in between.
TEST_F(WholePc, RandomAccessesDoNoHarm) {
    std::mt19937_64 random(2026);
    const auto& ranges = machine->vio().ports().ranges();
    const unsigned sizes[] = {1, 2, 4};
    for (int i = 0; i < 200'000; ++i) {
        const u64 r = random(), value = random();
        const IoRange& range = ranges[r % ranges.size()];
        const auto port = (r >> 8 & 3) == 0 ? static_cast<u16>(value >> 32)
                                            : static_cast<u16>(range.base + (value >> 32) % range.size);
        const unsigned size = sizes[(r >> 16) % 3];
        switch (r >> 24 & 7) {
            case 0: in(port, size); break;
            case 1: machine->vio().write_mmio(0x9fff8 + (value & 0x2000f), 1u << (r >> 32 & 3), value); break;
            case 2: machine->vio().read_mmio(0x9fff8 + (value & 0x2000f), 1u << (r >> 32 & 3)); break;
            case 3: pass_time((value & 7) == 0 ? value >> 34 : value & 0xffff); break;
            case 4:
                if (machine->interrupt_pending()) machine->acknowledge_interrupt();
                pc->serial_input({reinterpret_cast<const u8*>(&value), value & 7});
                break;
            default: out(port, value, size); break;
        }
        machine->take_request();
    }
    serial.clear();
    machine->reset();
    out(0x3f8, 'z');
    EXPECT_EQ(serial, "z") << "after all that it still is a PC";
    EXPECT_LE(pc->vga().text().size(), 25u * (80 * 3 + 1));
}

}  // namespace
}  // namespace dualvm::devices

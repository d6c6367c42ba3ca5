// String instructions where the host cannot be asked: 16-bit addresses, segments, ports, and coming back half way.
#include <gtest/gtest.h>

#include "host_cpu.h"
#include "mode_test.h"

namespace dualvm::interp {
namespace {

// Counts what it is asked.
class CountingDevice final : public Device {
public:
    const char* name() const override { return "counting device"; }
    u64 read(u64, unsigned) override { return 0x40 + reads++; }
    void write(u64, unsigned, u64 value) override {
        ++writes;
        last = value;
    }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}

    u64 reads = 0, writes = 0, last = 0;
};

class String : public ModeTest {
protected:
    static constexpr u16 kPort = 0x2f8;

    void SetUp() override {
        ASSERT_TRUE(cpu_.machine().vio().ports().add(kPort, 4, device_));
        cpu_.gpr(RDX) = kPort;
    }

    CountingDevice device_;
};

TEST_F(String, SixteenBitAddressesWrapAndKeepUpperHalves) {
    cpu_.gpr(RSI) = 0x1111fffe;
    cpu_.gpr(RDI) = 0x22220000;
    cpu_.gpr(RCX) = 0x33330002;
    cpu_.poke(0xfffe, 0xbeef, 2);
    cpu_.poke(0x0000, 0, 4);
    EXPECT_EQ(run({0xf3, 0xa5}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0, 2), 0xbeefu);
    EXPECT_EQ(cpu_.peek(2, 2), 0xbeefu);  // what the first element had put at 0
    EXPECT_EQ(cpu_.gpr(RSI), 0x11110002u);
    EXPECT_EQ(cpu_.gpr(RDI), 0x22220004u);
    EXPECT_EQ(cpu_.gpr(RCX), 0x33330000u);
}
TEST_F(String, AnOverrideMovesTheSourceOnly) {
    cpu_.segment(FS).base = 0x10000;
    cpu_.segment(ES).base = 0x20000;
    cpu_.poke(0x10100, 0x5a, 1);
    cpu_.gpr(RSI) = cpu_.gpr(RDI) = 0x100;
    EXPECT_EQ(run({0x64, 0xa4}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0x20100, 1), 0x5au);
}
TEST_F(String, DirectionFlagGoesDown) {
    cpu_.rflags() |= rflags::DF;
    cpu_.gpr(RDI) = 0x1000;
    cpu_.gpr(RCX) = 3;
    cpu_.gpr(RAX) = 0x7777;
    EXPECT_EQ(run({0xf3, 0xab}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RDI), 0xffau);
    EXPECT_EQ(cpu_.peek(0xffc, 2), 0x7777u);
    EXPECT_EQ(cpu_.peek(0xffa, 2), 0u);
}
TEST_F(String, LongRunsComeBackInBetween) {
    cpu_.enter_protected_mode(32);
    cpu_.gpr(RDI) = 0x10001;
    cpu_.gpr(RCX) = 70000;
    cpu_.gpr(RAX) = 0x99;
    EXPECT_EQ(run({0xf3, 0xaa}), Flow::Again);
    EXPECT_EQ(cpu_.gpr(RCX), 70000u - 65536);
    EXPECT_EQ(cpu_.gpr(RDI), 0x10001u + 65536);
    EXPECT_EQ(run({0xf3, 0xaa}), Flow::Next);
    EXPECT_EQ(cpu_.gpr(RCX), 0u);
    EXPECT_EQ(cpu_.peek(0x10001 + 69999, 2), 0x99u);
}
TEST_F(String, WithTheTrapFlagOneElementAtATime) {
    cpu_.rflags() |= rflags::TF;
    cpu_.gpr(RDI) = 0x1000;
    cpu_.gpr(RCX) = 2;
    EXPECT_EQ(run({0xf3, 0xaa}), Flow::Again);
    EXPECT_EQ(cpu_.gpr(RCX), 1u);
    EXPECT_EQ(run({0xf3, 0xaa}), Flow::Next);
}
TEST_F(String, ALimitInTheMiddleLeavesRegistersAtTheElement) {
    cpu_.segment(ES).limit = 0x1fff;
    cpu_.gpr(RDI) = 0x1ffa;
    cpu_.gpr(RCX) = 10;
    EXPECT_EQ(run({0xf3, 0xab}), Flow::Fault);
    EXPECT_EQ(cpu_.state().fault.vector, GP);
    EXPECT_EQ(cpu_.gpr(RDI), 0x2000u);
    EXPECT_EQ(cpu_.gpr(RCX), 7u);
}
TEST_F(String, BlocksEndWhereAddressesWrap) {
    cpu_.enter_protected_mode(16);
    cpu_.segment(ES).base = 0x10800;  // so that the wrap is in the middle of a page
    cpu_.gpr(RDI) = 0xfffc;
    cpu_.gpr(RCX) = 8;
    cpu_.gpr(RAX) = 0x99;
    EXPECT_EQ(run({0xf3, 0xaa}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0x207fc, 8), 0x99999999u);
    EXPECT_EQ(cpu_.peek(0x10800, 8), 0x99999999u);
    EXPECT_EQ(cpu_.gpr(RDI), 4u);
}
TEST_F(String, MisalignedElementsAreCheckedInBlocksToo) {
    cpu_.enter_user_program(true);
    cpu_.state().cpu.control.cr0 |= cr0::AM;
    cpu_.rflags() |= rflags::AC;
    cpu_.gpr(RSI) = kWindow;
    cpu_.gpr(RDI) = kWindow + 0x102;
    cpu_.gpr(RCX) = 8;
    expect_fault_without_effect({0xf3, 0xa5}, AC);
    cpu_.gpr(RDI) = kWindow + 0x104;
    EXPECT_EQ(run({0xf3, 0xa5}), Flow::Next);
}

// --- ports
// ------------------------------------------------------------------------------------------------------------

TEST_F(String, OutsComesBackAfterEachElement) {
    cpu_.poke(0x1000, 0x2211, 2);
    cpu_.gpr(RSI) = 0x1000;
    cpu_.gpr(RCX) = 2;
    EXPECT_EQ(run({0xf3, 0x6e}), Flow::Again);
    EXPECT_EQ(device_.last, 0x11u);
    EXPECT_EQ(run({0xf3, 0x6e}), Flow::Next);
    EXPECT_EQ(device_.last, 0x22u);
    EXPECT_EQ(device_.writes, 2u);
}
TEST_F(String, InsStoresWhatThePortGives) {
    cpu_.gpr(RDI) = 0x1000;
    EXPECT_EQ(run({0x6c}), Flow::Next);
    EXPECT_EQ(cpu_.peek(0x1000, 1), 0x40u);
    EXPECT_EQ(cpu_.gpr(RDI), 0x1001u);
}
TEST_F(String, InsWithoutAPlaceDoesNotReadThePort) {
    cpu_.segment(ES).limit = 0xfff;
    cpu_.gpr(RDI) = 0x1000;
    expect_fault_without_effect({0x6c}, GP);
    EXPECT_EQ(device_.reads, 0u);
}
TEST_F(String, PortsWithoutPermissionFault) {
    cpu_.enter_virtual8086(3);  // where IOPL does not help, and there is no TSS to ask
    cpu_.segment(ES).limit = 0xffff;
    cpu_.state().cpu.segments.tr.access = Segment::Unusable;
    cpu_.gpr(RSI) = cpu_.gpr(RDI) = 0x1000;
    expect_fault_without_effect({0x6c}, GP);
    expect_fault_without_effect({0x6e}, GP);
    EXPECT_EQ(device_.reads + device_.writes, 0u);
}

}  // namespace
}  // namespace dualvm::interp

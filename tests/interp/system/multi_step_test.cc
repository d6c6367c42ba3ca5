// Instructions of several steps that fault on the way leave nothing half-done, and those that repeat stop where they
// can go on (SDM vol. 3A, 6.5; vol. 2B, "REP"). Accesses across pages, and the edges of code.
#include "control_registers.h"
#include "system_fixture.h"

namespace dualvm::interp {
namespace {

constexpr u64 kEnd = u64{2} << 20;  // the first address that is not mapped
enum : u32 { kErrorPresent = 1, kErrorWrite = 2, kErrorUser = 4, kErrorFetch = 16 };

class MultiStep : public SystemTest {
protected:
    // 32-bit protected mode with paging: 2 MiB mapped by one PAE page, so that instructions of old are there.
    void paged32() {
        protected_mode();
        store<u64>(kPageTables, (kPageTables + 0x1000) | 1);
        store<u64>(kPageTables + 0x1000, 0x80 | 7);
        cpu().control.cr4 = cr4::PAE;
        cpu().control.cr3 = kPageTables;
        ASSERT_EQ(write_cr0(s(), cr0::PE | cr0::PG), Flow::Jump);
    }
    void expect_unmapped(std::initializer_list<u8> bytes, u64 cr2, u32 error) {
        expect_fault(bytes, PF, error);
        EXPECT_EQ(cpu().control.cr2, cr2);
    }
    // What the engine does at RIP: finds the block, which fetches and decodes.
    bool fetch(u64 rip) {
        cpu().general.rip = rip;
        s().blocks->refresh_mode(s());
        return s().blocks->find(s()) != nullptr;
    }
};

TEST_F(MultiStep, PushaAcrossAnUnmappedPage) {
    paged32();
    reg(RSP) = kEnd + 8;
    reg(RDI) = 0x1234;
    expect_unmapped({0x60}, kEnd + 4, kErrorWrite);
    EXPECT_EQ(load32(kEnd - 24), 0u);
}

TEST_F(MultiStep, PopaAcrossAnUnmappedPage) {
    paged32();
    store<u32>(kEnd - 8, 0x55);
    reg(RSP) = kEnd - 8;
    expect_unmapped({0x61}, kEnd, 0);
}

TEST_F(MultiStep, EnterWithNestingAcrossAnUnmappedPage) {
    paged32();
    reg(RBP) = kEnd + 4;  // the display reaches into what is not mapped
    expect_unmapped({0xc8, 0x10, 0x00, 0x03}, kEnd, 0);
    reg(RBP) = kEnd - 0x100;
    reg(RSP) = kEnd + 4;
    expect_unmapped({0xc8, 0x10, 0x00, 0x03}, kEnd, kErrorWrite);
}

TEST_F(MultiStep, CallGateWithParametersAcrossAnUnmappedPage) {
    paged32();
    store(kGdt + kGate, gate(kCode0, kHandler, 0xec, 4));
    set_level(3);
    reg(RSP) = kEnd - 8;  // two of four parameters can be read
    expect_unmapped({0x9a, 0, 0, 0, 0, kGate, 0}, kEnd, kErrorUser);
    EXPECT_EQ(load32(kStack0 - 4), 0u);
}

TEST_F(MultiStep, CallGateToAStackThatIsNotMapped) {
    paged32();
    store(kGdt + kGate, gate(kCode0, kHandler, 0xec, 1));
    store<u32>(kTss + 4, kEnd + 8);  // SS and ESP would go to what is not mapped
    set_level(3);
    expect_unmapped({0x9a, 0, 0, 0, 0, kGate, 0}, kEnd + 4, kErrorWrite);
    EXPECT_EQ(cpu().cpl(), 3u);
}

TEST_F(MultiStep, CallGateCopiesParameters) {
    protected_mode();
    store(kGdt + kGate, gate(kCode0, kHandler, 0xec, 2));
    set_level(3);
    store<u32>(kStack3, 0x11111111);
    store<u32>(kStack3 + 4, 0x22222222);
    EXPECT_EQ(execute({0x9a, 0, 0, 0, 0, kGate, 0}), Flow::Jump);
    EXPECT_EQ(reg(RSP), kStack0 - 24);
    EXPECT_EQ(load32(kStack0 - 4), u32{kData3});
    EXPECT_EQ(load32(kStack0 - 8), kStack3);
    EXPECT_EQ(load32(kStack0 - 12), 0x22222222u);
    EXPECT_EQ(load32(kStack0 - 16), 0x11111111u);
}

TEST_F(MultiStep, CallGate16CopiesWords) {
    protected_mode();
    store(kGdt + kGate, gate(kCode0, 0x12347000, 0xe4, 2));
    set_level(3);
    store<u32>(kStack3, 0x22221111);
    EXPECT_EQ(execute({0x9a, 0, 0, 0, 0, kGate, 0}), Flow::Jump);
    EXPECT_EQ(cpu().general.rip, kHandler);
    EXPECT_EQ(reg(RSP), kStack0 - 12);
    EXPECT_EQ(load<u16>(kStack0 - 6), 0x2222);
    EXPECT_EQ(load<u16>(kStack0 - 8), 0x1111);
}

TEST_F(MultiStep, RepeatedStoreStopsAtTheUnmappedPage) {
    long_mode();
    reg(RDI) = kEnd - 6;
    reg(RCX) = 10;
    reg(RAX) = 0xab;
    Flow flow = Flow::Again;
    while (flow == Flow::Again) flow = execute({0xf3, 0xaa});
    EXPECT_EQ(flow, Flow::Fault);
    EXPECT_EQ(s().fault.vector, PF);
    EXPECT_EQ(cpu().control.cr2, kEnd);
    EXPECT_EQ(reg(RDI), kEnd);
    EXPECT_EQ(reg(RCX), 4u);
    EXPECT_EQ(load<u8>(kEnd - 1), 0xab);
}

TEST_F(MultiStep, RepeatedMoveStopsAtTheUnmappedPageOfItsSource) {
    long_mode();
    reg(RSI) = kEnd - 12;
    reg(RDI) = kData;
    reg(RCX) = 4;
    store<u32>(kEnd - 4, 0x600df00d);
    Flow flow = Flow::Again;
    while (flow == Flow::Again) flow = execute({0xf3, 0xa5});
    EXPECT_EQ(flow, Flow::Fault);
    EXPECT_EQ(reg(RSI), kEnd);
    EXPECT_EQ(reg(RDI), kData + 12);
    EXPECT_EQ(reg(RCX), 1u);
    EXPECT_EQ(load32(kData + 8), 0x600df00du);
}

TEST_F(MultiStep, Cmpxchg16bOfAReadOnlyPage) {
    long_mode(0);
    cpu().control.cr0 |= cr0::WP;
    store<u64>(kPageTables + 0x2000, 0x80 | 5);
    reg(RBX) = kData;
    expect_fault({0x48, 0x0f, 0xc7, 0x0b}, PF, kErrorPresent | kErrorWrite);  // even if it would not be exchanged
    reg(RBX) = kData + 8;
    expect_fault({0x48, 0x0f, 0xc7, 0x0b}, GP);  // misaligned
}

TEST_F(MultiStep, WriteAcrossAnUnmappedPageWritesNothing) {
    long_mode();
    reg(RBX) = kEnd - 3;
    reg(RAX) = ~u64{0};
    expect_unmapped({0x48, 0x89, 0x03}, kEnd, kErrorWrite);
    EXPECT_EQ(load<u8>(kEnd - 3), 0);
    expect_unmapped({0x48, 0x01, 0x03}, kEnd, kErrorWrite);
    expect_unmapped({0x48, 0x8b, 0x03}, kEnd, 0);
}

TEST_F(MultiStep, FxsaveAcrossAnUnmappedPageWritesNothing) {
    long_mode();
    cpu().control.cr4 |= cr4::OSFXSR;
    reg(RBX) = kEnd - 256;
    expect_unmapped({0x0f, 0xae, 0x03}, kEnd, kErrorWrite);
    EXPECT_EQ(load32(kEnd - 256), 0u);
    expect_unmapped({0x0f, 0xae, 0x0b}, kEnd, 0);
}

TEST_F(MultiStep, CodeThatRunsIntoAnUnmappedPage) {
    long_mode();
    store<u8>(kEnd - 2, 0x48);  // MOV RAX, imm64, of which two bytes are there
    store<u8>(kEnd - 1, 0xb8);
    EXPECT_FALSE(fetch(kEnd - 2));
    EXPECT_EQ(s().fault.vector, PF);
    EXPECT_EQ(s().fault.error_code, 0u);  // the fetch bit wants NXE or SMEP
    EXPECT_EQ(cpu().control.cr2, kEnd);
    cpu().control.efer |= efer::NXE;
    EXPECT_FALSE(fetch(kEnd - 2));
    EXPECT_EQ(s().fault.error_code, kErrorFetch);
}

TEST_F(MultiStep, CodeThatEndsAtTheUnmappedPageRuns) {
    long_mode();
    store<u8>(kEnd - 1, 0x90);
    EXPECT_TRUE(fetch(kEnd - 1));
}

TEST_F(MultiStep, CodeThatRunsOutOfItsSegmentIsNoPageFault) {
    paged32();
    store<u8>(kEnd - 2, 0x05);  // ADD EAX, imm32
    seg(CS).limit = kEnd - 1;
    cpu().control.cr2 = 0;
    EXPECT_FALSE(fetch(kEnd - 2));
    EXPECT_EQ(s().fault.vector, GP);
    EXPECT_EQ(cpu().control.cr2, 0u);
}

TEST_F(MultiStep, CodeThatRunsOutOfCanonicalAddressesIsNoPageFault) {
    long_mode();
    constexpr u64 kCanonicalEnd = 0x800000000000;
    store(kPageTables + 8 * 255, (kPageTables + 0x1000) | 7);
    store(kPageTables + 0x1000 + 8 * 511, (kPageTables + 0x2000) | 7);
    store<u64>(kPageTables + 0x2000 + 8 * 511, 0x80 | 7);
    store<u8>(kEnd - 2, 0x05);
    cpu().control.cr2 = 0;
    EXPECT_FALSE(fetch(kCanonicalEnd - 2));
    EXPECT_EQ(s().fault.vector, GP);
    EXPECT_EQ(cpu().control.cr2, 0u);
    store<u8>(kEnd - 1, 0x90);
    EXPECT_TRUE(fetch(kCanonicalEnd - 1));
}

TEST_F(MultiStep, InstructionsHave15Bytes) {
    long_mode();
    for (unsigned i = 0; i < 20; ++i) store<u8>(kCode + i, 0x66);
    store<u8>(kCode + 14, 0x90);
    EXPECT_TRUE(fetch(kCode));
    for (unsigned i = 0; i < 20; ++i) store<u8>(kCode + 0x100 + i, 0x66);
    store<u8>(kCode + 0x100 + 15, 0x90);
    EXPECT_FALSE(fetch(kCode + 0x100));
    EXPECT_EQ(s().fault.vector, GP);
}

TEST_F(MultiStep, LockWantsAReadModifyWriteOfMemory) {
    long_mode();
    const std::initializer_list<std::initializer_list<u8>> undefined = {
        {0xf0, 0x01, 0xc0},        // LOCK ADD EAX, EAX
        {0xf0, 0x8b, 0x03},        // LOCK MOV EAX, [RBX]
        {0xf0, 0x39, 0x03},        // LOCK CMP [RBX], EAX
        {0xf0, 0x90},              // LOCK NOP
        {0xf0, 0x03, 0x03},        // LOCK ADD EAX, [RBX]
        {0xf0, 0x0f, 0xa3, 0x03},  // LOCK BT [RBX], EAX
    };
    u64 at = kCode;
    for (const auto& bytes : undefined) {
        at += 0x40;
        u64 to = at;
        for (u8 byte : bytes) store<u8>(to++, byte);
        EXPECT_FALSE(fetch(at)) << std::hex << at;
        EXPECT_EQ(s().fault.vector, UD) << std::hex << at;
    }
    reg(RBX) = kData;
    EXPECT_EQ(execute({0xf0, 0x01, 0x03}), Flow::Next);
}

TEST_F(MultiStep, StackAddressThatIsNotCanonical) {
    long_mode();
    reg(RSP) = u64{1} << 47;
    expect_fault({0x58}, SS_);
    reg(RSP) = (u64{1} << 47) + 4;
    expect_fault({0x50}, SS_);
    reg(RBP) = u64{1} << 47;
    expect_fault({0x48, 0x8b, 0x45, 0x00}, SS_);
    reg(RBX) = u64{1} << 47;
    expect_fault({0x48, 0x8b, 0x03}, GP);
}

TEST_F(MultiStep, BranchTargetThatIsNotCanonical) {
    long_mode();
    reg(RAX) = u64{1} << 47;
    expect_fault({0xff, 0xe0}, GP);  // JMP RAX
    expect_fault({0xff, 0xd0}, GP);  // CALL RAX
    store<u64>(kStack0, u64{1} << 47);
    expect_fault({0xc3}, GP);
    store<u64>(kStack0 + 8, u64{kCode0});
    store<u64>(kStack0 + 16, 2);
    store<u64>(kStack0 + 24, kStack0);
    store<u64>(kStack0 + 32, u64{kData0});
    expect_fault({0x48, 0xcf}, GP);  // IRETQ
}

TEST_F(MultiStep, StackOf16BitsWraps) {
    protected_mode();
    seg(SS).access &= ~Segment::DB;
    seg(SS).limit = 0xffff;
    reg(RSP) = 0xabcd0000;
    reg(RAX) = 0x12345678;
    EXPECT_EQ(execute({0x50}), Flow::Next);
    EXPECT_EQ(reg(RSP), 0xabcdfffcu);
    EXPECT_EQ(load32(0xfffc), 0x12345678u);
    reg(RSP) = 0xabcd0002;
    expect_fault({0x50}, SS_);  // its four bytes would lie on both sides of the end
}

TEST_F(MultiStep, ExpandDownStackOf64Kibibytes) {
    protected_mode();
    seg(SS).access = (seg(SS).access & ~(Segment::DB | Segment::kTypeMask)) | 7;  // expand-down, to FFFFh
    seg(SS).limit = 0x7fff;
    reg(RSP) = 0x8004;
    EXPECT_EQ(execute({0x50}), Flow::Next);
    expect_fault({0x50}, SS_);
}

// A segment that has become smaller, at the same base: blocks found before lie beyond its limit now.
TEST_F(MultiStep, CodeBeyondALimitThatHasShrunk) {
    protected_mode();
    store<u8>(kCode, 0xc3);  // RET
    seg(CS).limit = 0xfffff;
    ASSERT_TRUE(fetch(kCode));
    ASSERT_TRUE(fetch(kCode));
    seg(CS).limit = kCode - 1;
    EXPECT_FALSE(fetch(kCode));
    EXPECT_EQ(s().fault.vector, GP);
}

// In compatibility mode linear addresses have 32 bits, whatever 64-bit code has been to beyond them.
TEST_F(MultiStep, StringsGoRoundTheEndOf32BitLinearAddresses) {
    constexpr u64 kTop = kEnd - 3 * kPageSize, kAbove = kTop + kPageSize, kLast = 0xfffff000;
    long_mode();
    const auto map = [&](u64 gibibyte, u64 directory, u64 entry, u64 page) {
        store(kPageTables + 0x1000 + 8 * gibibyte, directory | 7);
        store(directory + 8 * entry, (directory + kPageSize) | 7);
        store(directory + kPageSize + 8 * entry, page | 7);
    };
    map(3, 0x13000, 511, kTop);
    map(4, 0x15000, 0, kAbove);
    for (const u64 linear : {kLast, kLast + kPageSize}) {
        reg(RDI) = linear;
        EXPECT_EQ(execute({0xaa}), Flow::Next);  // stosb
    }
    seg(CS).access = (seg(CS).access & ~Segment::L) | Segment::DB;
    seg(ES).base = kLast;
    s().blocks->refresh_mode(s());
    reg(RDI) = 0xff0;
    reg(RCX) = 8;
    reg(RAX) = 0x11223344;
    EXPECT_EQ(execute({0xf3, 0xab}), Flow::Next);  // rep stosd
    EXPECT_EQ(load32(kTop + 0xffc), 0x11223344u);
    EXPECT_EQ(load32(0), 0x11223344u);
    EXPECT_EQ(load32(12), 0x11223344u);
    EXPECT_EQ(load32(kAbove), 0u);
}

}  // namespace
}  // namespace dualvm::interp

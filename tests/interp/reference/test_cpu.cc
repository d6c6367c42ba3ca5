#include "test_cpu.h"

#include <gtest/gtest.h>

#include "host_cpu.h"
#include "reference_call.h"

namespace dualvm::interp {

namespace {

constexpr u64 kMebibytes = 4, kWindowPhysical = 0x200000, kPageTables = 0x10000;
constexpr u32 kCodeType = 11, kDataType = 3;  // execute/read and read/write, accessed

}  // namespace

TestCpu::TestCpu() : machine_(std::move(*Machine::create({.memory_mebibytes = kMebibytes}))) {
    state_.machine = machine_.get();
    blocks_ = std::make_unique<BlockCache>(state_, u64{1} << 20);
    state_.blocks = blocks_.get();
    state_.cpu.control.cr0 = cr0::ET;
    for (Segment& s : state_.cpu.segments.seg) {
        s = {.base = 0, .limit = 0xffff, .access = Segment::P | Segment::S | kDataType, .selector = 0};
    }
    flush_tlb(state_);
    privilege_changed(state_);
}

void TestCpu::set_flat_segments(u32 dpl, u32 code_bits) {
    const u32 common = Segment::P | Segment::S | Segment::G | dpl << Segment::DplShift;
    for (Segment& s : state_.cpu.segments.seg) {
        s = {.base = 0,
             .limit = 0xffffffff,
             .access = common | kDataType | Segment::DB,
             .selector = static_cast<u16>(0x10 | dpl)};
    }
    segment(CS) = {.base = 0,
                   .limit = 0xffffffff,
                   .access = common | kCodeType | code_bits,
                   .selector = static_cast<u16>(8 | dpl)};
}

void TestCpu::enter_user_program(bool long_mode) {
    set_flat_segments(3, long_mode ? Segment::L : Segment::DB);
    ControlGroup& c = state_.cpu.control;
    // One entry in each of PML4, page-directory-pointer table and page directory; the window's pages in the last table.
    constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAll = kPresent | kWritable | kUser;
    poke(kPageTables, (kPageTables + 0x1000) | kAll, 8);
    poke(kPageTables + 0x1000, (kPageTables + 0x2000) | kAll, 8);
    poke(kPageTables + 0x2000 + (kWindow >> 21) * 8, (kPageTables + 0x3000) | kAll, 8);
    for (u64 i = 0; i < kReadablePages; ++i) {
        const u64 rights = i < kWritablePages ? kAll : kPresent | kUser;
        poke(kPageTables + 0x3000 + i * 8, (kWindowPhysical + i * kPageSize) | rights, 8);
    }
    c.cr0 = cr0::PE | cr0::PG | cr0::WP | cr0::NE | cr0::ET;
    c.cr3 = kPageTables;
    c.cr4 = cr4::PAE;
    c.efer = efer::LME | efer::LMA;
    flush_tlb(state_);
    privilege_changed(state_);
}

void TestCpu::enter_protected_mode(unsigned code_size) {
    set_flat_segments(0, code_size == 32 ? Segment::DB : 0);
    state_.cpu.control.cr0 = cr0::PE | cr0::NE | cr0::ET;
    flush_tlb(state_);
    privilege_changed(state_);
}

void TestCpu::enter_virtual8086(unsigned iopl) {
    state_.cpu.control.cr0 = cr0::PE | cr0::NE | cr0::ET;
    for (Segment& s : state_.cpu.segments.seg) {
        s = {.base = 0,
             .limit = 0xffff,
             .access = Segment::P | Segment::S | kDataType | 3u << Segment::DplShift,
             .selector = 0};
    }
    rflags() = rflags::Fixed1 | rflags::VM | u64{iopl} << 12;
    flush_tlb(state_);
    privilege_changed(state_);
}

void TestCpu::write_window(std::span<const u8> bytes) {
    ASSERT_TRUE(machine_->vmem().write(kWindowPhysical, bytes.data(), bytes.size()));
}
void TestCpu::read_window(std::span<u8> bytes) {
    ASSERT_TRUE(machine_->vmem().read(kWindowPhysical, bytes.data(), bytes.size()));
}
void TestCpu::poke(u64 address, u64 value, unsigned size) {
    ASSERT_TRUE(machine_->vmem().write(address, &value, size));
}
u64 TestCpu::peek(u64 address, unsigned size) {
    u64 value = 0;
    EXPECT_TRUE(machine_->vmem().read(address, &value, size));
    return value;
}

Flow TestCpu::run_once(std::span<const u8> insn) {
    const unsigned code_size = state_.code64() ? 64 : segment(CS).has(Segment::DB) ? 32 : 16;
    const u64 rip = this->rip();
    Insn decoded;
    const DecodeResult result = decoder_.decode(insn, code_size, rip, decoded);
    EXPECT_EQ(result, DecodeResult::Ok);
    EXPECT_EQ(decoded.length, insn.size());
    if (result != DecodeResult::Ok) return state_.raise(UD);
    state_.io_done = state_.code_written = false;
    const Flow flow = run_reference(state_, decoded, rip);
    if (flow == Flow::Fault || flow == Flow::Again) this->rip() = rip;
    return flow;
}

Flow TestCpu::run(std::span<const u8> insn) {
    Flow flow = Flow::Again;
    while (flow == Flow::Again) flow = run_once(insn);
    return flow;
}

}  // namespace dualvm::interp

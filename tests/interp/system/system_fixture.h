// A machine in a mode of the test's choice, with descriptor tables in its memory, that executes single instructions by
// their reference implementations.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>

#include "block_cache.h"
#include "decoder.h"
#include "descriptors.h"
#include "memory.h"
#include "reference_call.h"
#include "system.h"

namespace dualvm::interp {

// Where things lie in guest memory.
constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kTss2 = 0x3800, kLdtTable = 0x4000, kPageTables = 0x10000,
              kCode = 0x5000, kData = 0x6000, kStack0 = 0x8000, kStack3 = 0x9000, kIst1 = 0xa008;
constexpr u64 kHandler = 0x7000;  // where gates lead

// The GDT.
enum Selector : u16 {
    kCode0 = 0x08,            // ring 0 code: 32-bit, or 64-bit in long mode
    kData0 = 0x10,            // ring 0 data
    kCode3 = 0x18 | 3,        // ring 3 code
    kData3 = 0x20 | 3,        // ring 3 data
    kTask = 0x28,             // TSS; 16 bytes
    kConforming = 0x38,       // conforming code, DPL 0
    kAbsent = 0x40,           // data, not present
    kLocal = 0x48,            // LDT; 16 bytes
    kGate = 0x58,             // call gate; 16 bytes
    kCode16 = 0x68,           // 16-bit code, ring 0
    kExecuteOnly = 0x70,      // code that cannot be read
    kReadOnly = 0x78,         // data that cannot be written
    kTask2 = 0x80,            // another TSS
    kTaskGate_ = 0x88,        // a task gate to kTask2
    kCompatible3 = 0x90 | 3,  // 32-bit ring 3 code in long mode
    kBeyond = 0xa0,           // first selector outside the GDT
};

// Access rights: byte 5 of a descriptor, and the high half of byte 6 as bits 8-11.
constexpr u64 descriptor(u64 base, u64 limit, u64 rights) {
    return (limit & 0xffff) | (base & 0xffffff) << 16 | (rights & 0xff) << 40 | (limit >> 16 & 0xf) << 48 |
           (rights >> 8 & 0xf) << 52 | (base >> 24 & 0xff) << 56;
}
constexpr u64 gate(u16 selector, u64 offset, u64 rights, u64 count = 0) {
    return (offset & 0xffff) | u64{selector} << 16 | count << 32 | (rights & 0xff) << 40 |
           (offset >> 16 & 0xffff) << 48;
}
constexpr u64 kFlat32 = 0xc00, kFlat64 = 0xa00;  // G with D/B, G with L

class SystemTest : public ::testing::Test {
protected:
    void SetUp() override {
        auto machine = Machine::create({.memory_mebibytes = 2});
        ASSERT_TRUE(machine) << machine.error().text;
        machine_ = std::move(*machine);
        state_ = std::make_unique<State>();
        s().machine = machine_.get();
        blocks_ = std::make_unique<BlockCache>(s(), u64{1} << 20);
        s().blocks = blocks_.get();
        s().cpu.reset();
        s().cpu.segments.seg[CS].base = 0;
        s().cpu.segments.seg[CS].selector = 0;
        s().cpu.general.rip = kCode;
        s().cpu.general.gpr[RSP] = kStack0;
        privilege_changed(s());
    }

    State& s() { return *state_; }
    CpuFile& cpu() { return state_->cpu; }
    u64& reg(Gpr r) { return cpu().general.gpr[r]; }
    Segment& seg(SegmentName name) { return cpu().segments.seg[name]; }

    template <class T>
    void store(u64 address, T value) {
        ASSERT_TRUE(machine_->vmem().write_value(address, value));
    }
    template <class T>
    T load(u64 address) {
        T value{};
        EXPECT_TRUE(machine_->vmem().read_value(address, value));
        return value;
    }
    u32 load32(u64 address) { return load<u32>(address); }
    u64 load64(u64 address) { return load<u64>(address); }

    void make_gdt(bool long_mode) {
        const u64 code = long_mode ? kFlat64 : kFlat32;
        store(kGdt + kCode0, descriptor(0, 0xfffff, code | 0x9a));
        store(kGdt + kData0, descriptor(0, 0xfffff, kFlat32 | 0x92));
        store(kGdt + (kCode3 & ~3), descriptor(0, 0xfffff, code | 0xfa));
        store(kGdt + (kData3 & ~3), descriptor(0, 0xfffff, kFlat32 | 0xf2));
        store(kGdt + kTask, descriptor(kTss, 0x67 + 0x20, 0x8b));
        store(kGdt + kConforming, descriptor(0, 0xfffff, code | 0x9e));
        store(kGdt + kAbsent, descriptor(0, 0xfffff, kFlat32 | 0x12));
        store(kGdt + kLocal, descriptor(kLdtTable, 0x17, 0x82));
        store(kGdt + kCode16, descriptor(0, 0xffff, 0x9a));
        store(kGdt + kExecuteOnly, descriptor(0, 0xfffff, kFlat32 | 0x98));
        store(kGdt + kReadOnly, descriptor(0, 0xfffff, kFlat32 | 0x90));
        store(kGdt + kTask2, descriptor(kTss2, 0x67, 0x89));
        store(kGdt + kTaskGate_, gate(kTask2, 0, 0xe5));
        store(kGdt + (kCompatible3 & ~3), descriptor(0, 0xfffff, kFlat32 | 0xfa));
        cpu().segments.gdtr = {.base = kGdt, .limit = kBeyond - 1};
        cpu().segments.idtr = {.base = kIdt, .limit = 0xfff};
        cpu().segments.tr = {.base = kTss, .limit = 0x87, .access = Segment::P | 11, .selector = kTask};
        cpu().segments.ldtr = null_segment(0);
    }

    // Loads all segment registers for `level` without any check.
    void set_level(u32 level) {
        const bool long_mode = s().long_mode_active();
        const u32 dpl = level << Segment::DplShift, size = long_mode ? Segment::L : Segment::DB;
        const u32 data = Segment::P | Segment::S | Segment::G | Segment::DB | 3 | dpl;
        for (Segment& segment : cpu().segments.seg)
            segment = {.limit = 0xffffffff, .access = data, .selector = level == 0 ? u16{kData0} : u16{kData3}};
        seg(CS) = {.limit = 0xffffffff,
                   .access = Segment::P | Segment::S | Segment::G | 11 | dpl | size,
                   .selector = level == 0 ? u16{kCode0} : u16{kCode3}};
        reg(RSP) = level == 0 ? kStack0 : kStack3;
        privilege_changed(s());
    }

    void protected_mode(u32 level = 0) {
        cpu().control.cr0 |= cr0::PE;
        make_gdt(false);
        store<u32>(kTss + 4, kStack0);
        store<u32>(kTss + 8, kData0);
        set_level(level);
    }

    // 64-bit mode: the first 2 MiB mapped to themselves, open to ring 3.
    void long_mode(u32 level = 0) {
        constexpr u64 kOpen = 7, kLarge = 0x80;
        store(kPageTables, (kPageTables + 0x1000) | kOpen);
        store(kPageTables + 0x1000, (kPageTables + 0x2000) | kOpen);
        store(kPageTables + 0x2000, kOpen | kLarge);
        ControlGroup& control = cpu().control;
        control.cr0 |= cr0::PE | cr0::PG;
        control.cr3 = kPageTables;
        control.cr4 = cr4::PAE;
        control.efer = efer::LME | efer::LMA;
        make_gdt(true);
        store<u64>(kTss + 4, kStack0);
        store<u64>(kTss + 36, kIst1);
        set_level(level);
    }

    // Puts a gate into the IDT of the mode.
    void set_gate(u8 vector, u64 rights, u16 selector = kCode0, u64 offset = kHandler, u32 ist = 0) {
        if (s().long_mode_active()) {
            store(kIdt + vector * 16u, gate(selector, offset, rights, ist));
            store<u64>(kIdt + vector * 16u + 8, offset >> 32);
        } else {
            store(kIdt + vector * 8u, gate(selector, offset, rights));
        }
    }

    // Decodes and executes one instruction at RIP by its reference implementation.
    Flow execute(std::initializer_list<u8> bytes) {
        const unsigned code_size = s().code64() ? 64 : seg(CS).has(Segment::DB) ? 32 : 16;
        Insn insn;
        const std::vector<u8> code(bytes);
        EXPECT_EQ(decoder_.decode(code, code_size, cpu().general.rip, insn), DecodeResult::Ok);
        return run_reference(s(), insn, cpu().general.rip);
    }

    // The instruction must fault with this vector and error code, and change no register.
    void expect_fault(std::initializer_list<u8> bytes, u8 vector, u32 error_code = 0) {
        CpuFile before = cpu();
        EXPECT_EQ(execute(bytes), Flow::Fault);
        EXPECT_EQ(s().fault.vector, vector);
        EXPECT_EQ(s().fault.error_code, error_code);
        before.general.rip = cpu().general.rip;  // the next instruction's, as reference implementations have it
        before.control.cr2 = cpu().control.cr2;
        EXPECT_EQ(differences(before, cpu(), Groups::All), "");
    }
    void expect_event_fault(const Event& event, u8 vector, u32 error_code = 0) {
        const CpuFile before = cpu();
        EXPECT_FALSE(deliver_event(s(), event));
        EXPECT_EQ(s().fault.vector, vector);
        EXPECT_EQ(s().fault.error_code, error_code);
        EXPECT_EQ(differences(before, cpu(), Groups::All), "");
    }

private:
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<State> state_;
    std::unique_ptr<BlockCache> blocks_;
    Decoder decoder_;
};

}  // namespace dualvm::interp

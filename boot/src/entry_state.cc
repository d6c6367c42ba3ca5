#include "entry_state.h"

#include "little_endian.h"

namespace dualvm::boot {

namespace {

constexpr u32 kAccessedCode = Segment::P | Segment::S | 11;  // execute/read, accessed
constexpr u32 kAccessedData = Segment::P | Segment::S | 3;   // read/write, accessed

// A segment register's hidden part as the 8-byte descriptor it would be loaded from (SDM vol. 3A, figure 3-8).
u64 descriptor(const Segment& s) {
    const u64 limit = s.has(Segment::G) ? s.limit >> 12 : s.limit;
    return (limit & 0xffff) | (s.base & 0xffffff) << 16 | u64{s.access & 0xf0ff} << 40 | (limit >> 16 & 0xf) << 48 |
           (s.base >> 24 & 0xff) << 56;
}

void set_segments(CpuFile& cpu, const FlatGdt& gdt, u64 gdt_address) {
    for (Segment& s : cpu.segments.seg) s = gdt.data;
    cpu.segments.seg[CS] = gdt.code;
    cpu.segments.gdtr = {.base = gdt_address, .limit = static_cast<u16>(gdt.bytes.size() - 1)};
    // No interrupt table: an exception before the guest has one of its own is a triple fault at once, not a jump into
    // whatever memory holds.
    cpu.segments.idtr = {.base = 0, .limit = 0};
}

}  // namespace

FlatGdt flat_gdt(u16 code_selector, CodeSize size) {
    FlatGdt gdt;
    const u32 code_bits = size == CodeSize::Bits64 ? Segment::L : Segment::DB;
    gdt.code = {
        .base = 0, .limit = 0xffffffff, .access = kAccessedCode | code_bits | Segment::G, .selector = code_selector};
    gdt.data = {.base = 0,
                .limit = 0xffffffff,
                .access = kAccessedData | Segment::DB | Segment::G,
                .selector = static_cast<u16>(code_selector + 8)};
    gdt.bytes.resize(code_selector + 16);
    store(gdt.bytes, gdt.code.selector, descriptor(gdt.code));
    store(gdt.bytes, gdt.data.selector, descriptor(gdt.data));
    return gdt;
}

void enter_protected_mode(CpuFile& cpu, const FlatGdt& gdt, u64 gdt_address, u64 entry) {
    cpu.reset();
    set_segments(cpu, gdt, gdt_address);
    cpu.control.cr0 = cr0::PE | cr0::ET;
    cpu.general.rip = entry;
    cpu.general.gpr[RSP] = kInitialStack;
}

void enter_long_mode(CpuFile& cpu, const FlatGdt& gdt, u64 gdt_address, u64 page_tables, u64 entry) {
    cpu.reset();
    set_segments(cpu, gdt, gdt_address);
    cpu.control.cr0 = cr0::PE | cr0::ET | cr0::PG;
    cpu.control.cr3 = page_tables;
    cpu.control.cr4 = cr4::PAE;
    cpu.control.efer = efer::LME | efer::LMA;
    cpu.general.rip = entry;
    cpu.general.gpr[RSP] = kInitialStack;
}

void enter_real_mode(CpuFile& cpu, u16 entry) {
    cpu.reset();
    cpu.segments.seg[CS].base = 0;
    cpu.segments.seg[CS].selector = 0;
    cpu.segments.idtr = {.base = 0, .limit = 0x3ff};
    cpu.control.cr0 = cr0::ET;
    cpu.general.rip = entry;
    cpu.general.gpr[RSP] = kInitialStack;
}

}  // namespace dualvm::boot

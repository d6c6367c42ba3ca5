#include "interpreter_ldt.h"

#include <cstdlib>

#include "dualvm/interp/interpreter.h"

namespace dualvm::segments {

namespace {

// Physical places. The kernel's are mapped at kKernel, beyond the reach of 32-bit code; it alone may use them.
constexpr u64 kKernel = 0xffff800000000000;
constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kDirectory = 0x3000, kKernelPdpt = 0xd000, kKernelDirectory = 0xe000,
              kKernelTable = 0x4000, kTable = 0x5000, kIdt = 0x6000, kGdt = 0x7000, kTss = 0x8000, kLdt = 0x9000,
              kHandlers = 0xa000, kHandlerBytes = 16, kStack = 0xc000, kCodeMemory = 0x20000, kDataMemory = 0x40000;
constexpr u64 kMebibytes = 2, kVectors = 32;
constexpr u16 kKernelCode = 0x10, kGdtBytes = 0x80;

constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessedDirty = 0x60, kNoExecute = u64{1} << 63;

// REP with 64 KiB of bytes is the longest that ends, but for those that run into a page that is not there.
constexpr u64 kMostInstructions = 300'000;

void store(VMem& memory, u64 address, u64 value) {
    if (!memory.write_value(address, value)) std::abort();  // a mistake in this file
}

}  // namespace

InterpreterLdt::InterpreterLdt(std::vector<std::string> without)
    : machine_(std::move(*Machine::create({.memory_mebibytes = kMebibytes}))),
      engine_(make_interpreter(*machine_, {.without = std::move(without)})) {
    lay_out();
    kernel_.reset();
    kernel_.control.cr0 = cr0::PG | cr0::AM | cr0::WP | cr0::NE | cr0::ET | cr0::MP | cr0::PE;
    kernel_.control.cr3 = kPml4;
    kernel_.control.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::UMIP;
    kernel_.control.efer = efer::LME | efer::LMA | efer::NXE | efer::SCE;
    SegmentGroup& s = kernel_.segments;
    constexpr u32 kBusyTss = 11, kLdtType = 2;
    s.gdtr = {.base = kKernel + kGdt, .limit = kGdtBytes - 1};
    s.idtr = {.base = kKernel + kIdt, .limit = kVectors * 16 - 1};
    s.tr = {.base = kKernel + kTss, .limit = 0x67, .access = Segment::P | kBusyTss, .selector = 0x40};
    s.ldtr = {
        .base = kKernel + kLdt, .limit = kSegments.size() * 8 - 1, .access = Segment::P | kLdtType, .selector = 0x50};
    for (SegmentName n : {FS, GS}) s.seg[n] = {.base = 0, .limit = 0, .access = Segment::Unusable, .selector = 0};
}

void InterpreterLdt::lay_out() {
    VMem& memory = machine_->vmem();
    constexpr u64 kAll = kPresent | kWritable | kUser | kAccessedDirty;
    static_assert(kData >> 21 == kCode >> 21 && kData >> 30 == 0, "one page table for both");
    store(memory, kPml4, kPdpt | kAll);
    store(memory, kPdpt, kDirectory | kAll);
    store(memory, kPml4 + 256 * 8, kKernelPdpt | kAll);
    store(memory, kKernelPdpt, kKernelDirectory | kAll);
    store(memory, kKernelDirectory, kKernelTable | kAll);
    store(memory, kDirectory + (kData >> 21) * 8, kTable | kAll);
    for (u64 page = 0; page < 512; ++page) {
        store(memory, kKernelTable + page * 8, page * kPageSize | kPresent | kWritable | kAccessedDirty);
    }
    for (u64 at = 0; at < kBytes; at += kPageSize) {
        store(memory, kTable + ((kCode + at) >> 12 & 511) * 8, (kCodeMemory + at) | kPresent | kUser | kAccessedDirty);
        store(memory, kTable + ((kData + at) >> 12 & 511) * 8, (kDataMemory + at) | kAll | kNoExecute);
    }
    for (u64 vector = 0; vector < kVectors; ++vector) {
        constexpr u64 kInterruptGate = 0x8e, kForPrograms = 0x60;
        const u64 rights = kInterruptGate | (vector == 3 || vector == 4 ? kForPrograms : 0);
        const u64 handler = kHandlers + vector * kHandlerBytes;
        static_assert(kHandlers + kVectors * kHandlerBytes <= 0x10000 && (kKernel & 0xffffffff) == 0, "gates");
        store(memory, kIdt + vector * 16, handler | u64{kKernelCode} << 16 | rights << 40);
        store(memory, kIdt + vector * 16 + 8, kKernel >> 32);
    }
    (void)memory.fill(kHandlers, kFiller, kVectors * kHandlerBytes);
    // Linux's GDT as far as a program can tell (arch/x86/include/asm/segment.h): 32-bit code, data and 64-bit code.
    store(memory, kGdt + kKernelCode, 0x00af9b000000ffff);
    store(memory, kGdt + 0x18, 0x00cf93000000ffff);
    store(memory, kGdt + 0x20, 0x00cffb000000ffff);
    store(memory, kGdt + 0x28, 0x00cff3000000ffff);
    store(memory, kGdt + 0x30, 0x00affb000000ffff);
    // The segment with the number of the CPU as its limit: 0 here.
    store(memory, kGdt + 0x78, 0x0040f50000000000);
    store(memory, kTss + 4, kKernel + kStack);    // RSP0
    store(memory, kTss + 0x60, u64{0x68} << 48);  // the I/O permission bitmap is beyond the limit: no ports
    for (u64 i = 0; i < kSegments.size(); ++i) store(memory, kLdt + i * 8, kSegments[i].descriptor());
    (void)memory.fill(kCodeMemory, kFiller, kBytes);
}

void InterpreterLdt::run(const SegmentCase& c, Result& result) {
    CpuFile& cpu = machine_->cpu();
    cpu = kernel_;
    std::copy(c.state.gpr.begin(), c.state.gpr.end(), cpu.general.gpr.begin());
    cpu.general.rip = c.state.rip;
    cpu.general.rflags = c.state.rflags;
    cpu.fpu = c.state.fpu;
    const auto load = [&](SegmentName name, u16 selector) {
        cpu.segments.seg[name] = is_null(selector)
                                     ? Segment{.base = 0, .limit = 0, .access = Segment::Unusable, .selector = selector}
                                     : segment_of(selector).loaded(selector);
    };
    load(CS, c.state.cs);
    load(SS, c.state.ss);
    load(DS, c.state.ds);
    load(ES, c.state.es);
    VMem& memory = machine_->vmem();
    (void)memory.write(kDataMemory, c.data.data(), kBytes);
    (void)memory.write(kCodeMemory + c.state.rip, c.code.data(), c.code.size());
    engine_->push(Groups::All);
    if (c.instruction.zydis.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) {
        (void)engine_->run({.instructions = 1});
        engine_->pull(Groups::General | Groups::Segments);
        const u64 distance = cpu.code_base() + cpu.general.rip - (kCode + c.state.rip);
        result.into_itself = distance > 0 && distance < c.code.size();
    } else {
        result.into_itself = false;
    }
    const Exit exit = engine_->run({.instructions = kMostInstructions});
    engine_->pull(Groups::All);
    (void)memory.fill(kCodeMemory + c.state.rip, kFiller, c.code.size());

    result.ending = exit.kind == ExitKind::Halt         ? Ending::Exception
                    : exit.kind == ExitKind::BudgetUsed ? Ending::NoEnd
                                                        : Ending::Lost;
    if (result.ending != Ending::Exception) return;
    const u64 vector = (cpu.general.rip - kKernel - kHandlers) / kHandlerBytes;
    constexpr u64 kPageFault = 14;
    // What the exception has pushed (SDM vol. 3A, 6.14.2).
    std::array<u64, 6> pushed{};
    (void)memory.read(cpu.general.gpr[RSP] - kKernel, pushed.data(), sizeof pushed);
    const u64* frame = pushed.data() + (has_error_code(vector) ? 1 : 0);
    result.vector = static_cast<u8>(vector);
    result.error_code = has_error_code(vector) ? static_cast<u32>(pushed[0]) : 0;
    result.cr2 = vector == kPageFault ? cpu.control.cr2 : 0;
    std::copy_n(cpu.general.gpr.begin(), 8, result.state.gpr.begin());
    result.state.rip = frame[0];
    result.state.cs = static_cast<u16>(frame[1]);
    result.state.rflags = frame[2];
    result.state.gpr[RSP] = frame[3];
    result.state.ss = static_cast<u16>(frame[4]);
    result.state.ds = cpu.segments.seg[DS].selector;
    result.state.es = cpu.segments.seg[ES].selector;
    result.state.fpu = cpu.fpu;
    (void)memory.read(kDataMemory, result.data.data(), kBytes);
}

}  // namespace dualvm::segments

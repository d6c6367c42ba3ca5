#include "ring3_world.h"

namespace dualvm::study::world {

namespace {

// Physical pages.
constexpr u64 kPml4 = 0x1000, kLowPdpt = 0x2000, kLowPd = 0x3000, kCodePt = 0x4000, kWindowPt = 0x5000,
              kHighPdpt = 0x6000, kHighPd = 0x7000, kHighPt = 0x8000, kHandlerPage = 0x9000, kIdtPage = 0xb000,
              kGdtPage = 0xc000, kTssPage = 0xd000;
constexpr u64 kIdt = kKernel + 0x2000, kGdt = kKernel + 0x3000, kTss = kKernel + 0x4000;

// A page table entry's bits (SDM vol. 3A, 4.5.4); accessed and dirty are set, so that nobody has to.
constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessedDirty = 0x60, kNoExecute = u64{1} << 63;
constexpr u64 kTable = kPresent | kWritable | kUser | kAccessedDirty, kPage = kPresent | kAccessedDirty;

constexpr u16 kKernelCode = 0x10, kKernelData = 0x18, kTssSelector = 0x40;
constexpr u32 kCodeAccess = Segment::P | Segment::S | 11, kDataAccess = Segment::P | Segment::S | 3,
              kBusyTss = Segment::P | 11, kRing3 = 3u << Segment::DplShift;

constexpr u64 table_index(u64 linear, unsigned level) { return linear >> (12 + 9 * (level - 1)) & 511; }

Segment flat(u16 selector, u32 access) {
    return {.base = 0, .limit = 0xffffffff, .access = access | Segment::G, .selector = selector};
}

// The descriptor of a flat segment with these access rights (SDM vol. 3A, 3.4.5).
u64 descriptor(u32 access) { return 0x000f00000000ffff | (u64{access | Segment::G} << 40 & 0x00f0ff0000000000); }

class Builder {
public:
    explicit Builder(VMem& vmem) : vmem_(vmem) {}

    void word(u64 address, u64 value) { vmem_.write_value(address, value); }
    void entry(u64 table, unsigned level, u64 linear, u64 value) {
        word(table + 8 * table_index(linear, level), value);
    }

    void page_tables() {
        entry(kPml4, 4, 0, kLowPdpt | kTable);
        entry(kLowPdpt, 3, 0, kLowPd | kTable);
        entry(kLowPd, 2, ring3::kCode, kCodePt | kTable);
        entry(kLowPd, 2, ring3::kWindow, kWindowPt | kTable);
        entry(kCodePt, 1, ring3::kCode, kCodePage | kPage | kUser);
        for (u64 page = 0; page < ring3::kReadablePages; ++page) {
            const u64 rights = kUser | kNoExecute | (page < ring3::kWritablePages ? kWritable : 0);
            entry(kWindowPt, 1, ring3::kWindow + page * kPageSize, (kWindowPages + page * kPageSize) | kPage | rights);
        }
        entry(kPml4, 4, kKernel, kHighPdpt | kTable);
        entry(kHighPdpt, 3, kKernel, kHighPd | kTable);
        entry(kHighPd, 2, kKernel, kHighPt | kTable);
        for (u64 page : {kHandlerPage, kStackPage, kIdtPage, kGdtPage, kTssPage}) {
            entry(kHighPt, 1, kKernel + page - kHandlerPage, page | kPage | kWritable);
        }
    }

    void descriptor_tables() {
        word(kGdtPage + kKernelCode, descriptor(kCodeAccess | Segment::L));
        word(kGdtPage + kKernelData, descriptor(kDataAccess | Segment::DB));
        word(kGdtPage + (ring3::kCode32 & ~7u), descriptor(kCodeAccess | kRing3 | Segment::DB));
        word(kGdtPage + (ring3::kData & ~7u), descriptor(kDataAccess | kRing3 | Segment::DB));
        word(kGdtPage + (ring3::kCode64 & ~7u), descriptor(kCodeAccess | kRing3 | Segment::L));
        word(kGdtPage + kTssSelector, (kTss & 0xffffff) << 16 | u64{kBusyTss} << 40 | 0x67);
        word(kGdtPage + kTssSelector + 8, kTss >> 32);
        word(kTssPage + 4, kStackTop);      // RSP0
        constexpr u16 kBehindLimit = 0x68;  // no I/O permission bitmap
        vmem_.write_value(kTssPage + 0x66, kBehindLimit);
        for (u64 vector = 0; vector < kVectors; ++vector) {
            // 64-bit interrupt gates (SDM vol. 3A, 7.14.1). Like Linux's, those of INT3 and INTO are open to ring 3.
            const u64 target = kHandlers + vector * kVectorStride;
            const u64 access = Segment::P | 14 | (vector == 3 || vector == 4 ? kRing3 : 0);
            word(kIdtPage + 16 * vector,
                 (target & 0xffff) | u64{kKernelCode} << 16 | access << 40 | (target >> 16 & 0xffff) << 48);
            word(kIdtPage + 16 * vector + 8, target >> 32);
        }
    }

    void code() {
        constexpr u8 kHlt = 0xf4;
        constexpr std::array<u8, 2> kIretq = {0x48, 0xcf};
        vmem_.fill(kHandlerPage, kHlt, kVectors * kVectorStride);
        vmem_.write(kHandlerPage + kEntry - kHandlers, kIretq.data(), kIretq.size());
        vmem_.fill(kCodePage, ring3::kFiller, kPageSize);
    }

private:
    VMem& vmem_;
};

}  // namespace

void build(Machine& machine, CpuFile& kernel) {
    Builder builder(machine.vmem());
    builder.page_tables();
    builder.descriptor_tables();
    builder.code();

    kernel = {};
    kernel.reset();
    // As Linux has them, so that the rules for programs are the same: alignment checks possible, write protection on.
    kernel.control.cr0 = cr0::PG | cr0::AM | cr0::WP | cr0::NE | cr0::ET | cr0::MP | cr0::PE;
    kernel.control.cr3 = kPml4;
    kernel.control.cr4 = cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    kernel.control.efer = efer::LME | efer::LMA | efer::NXE | efer::SCE;
    auto& segments = kernel.segments;
    segments.seg[CS] = flat(kKernelCode, kCodeAccess | Segment::L);
    segments.seg[SS] = flat(kKernelData, kDataAccess | Segment::DB);
    for (const SegmentName name : {DS, ES}) {
        segments.seg[name] = flat(ring3::kData, kDataAccess | kRing3 | Segment::DB);
    }
    segments.seg[FS] = {.base = ring3::kFsBase, .limit = 0, .access = Segment::Unusable, .selector = 0};
    segments.seg[GS] = {.base = ring3::kGsBase, .limit = 0, .access = Segment::Unusable, .selector = 0};
    segments.ldtr = {.base = 0, .limit = 0, .access = Segment::Unusable, .selector = 0};
    segments.tr = {.base = kTss, .limit = 0x67, .access = kBusyTss, .selector = kTssSelector};
    segments.gdtr = {.base = kGdt, .limit = kTssSelector + 15};
    segments.idtr = {.base = kIdt, .limit = 16 * kVectors - 1};
    kernel.general.rflags = rflags::Fixed1;
    kernel.general.rip = kEntry;
    kernel.general.gpr[RSP] = kEntryFrame;
}

}  // namespace dualvm::study::world

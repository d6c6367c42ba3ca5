#include "scene.h"

#include <cstdlib>

namespace dualvm::scene {

namespace {

constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kTss = 0x5000, kTables = 0x10000;
constexpr unsigned kVectors = 256;
constexpr u8 kHlt = 0xf4;

// The GDT. Handlers are flat and of the largest size that the mode has; the scene's own segments have its ring.
constexpr u16 kHandlerCode = 0x08, kHandlerData = 0x10, kSceneCode = 0x18, kSceneData = 0x20, kSceneStack = 0x28,
              kTask = 0x30, kCallGate = 0x40, kGdtBytes = 0x50;

bool is_long(CpuMode mode) {
    return mode == CpuMode::Compatibility16 || mode == CpuMode::Compatibility32 || mode == CpuMode::Long64;
}
bool has_bases(CpuMode mode) {
    return mode == CpuMode::Real || mode == CpuMode::Virtual8086 || mode == CpuMode::Protected16 ||
           mode == CpuMode::Compatibility16;
}
u64 base_of(const Scene& scene, u64 place) { return has_bases(scene.mode) ? place : 0; }

void store(VMem& memory, u64 address, u64 value, unsigned bytes = 8) {
    if (!memory.write(address, &value, bytes)) std::abort();  // a mistake in this file
}

// A segment as CpuFile has it, and the same as a descriptor (SDM vol. 3A, 3.4.5).
Segment make_segment(u16 selector, u64 base, u32 ring, u32 type, u32 size_bits, bool small) {
    const u32 access =
        Segment::P | Segment::S | ring << Segment::DplShift | type | size_bits | (small ? 0 : Segment::G);
    return {.base = base, .limit = small ? 0xffff : 0xffffffff, .access = access, .selector = selector};
}
u64 descriptor(const Segment& s) {
    const u64 limit = s.has(Segment::G) ? s.limit >> 12 : s.limit;
    return (limit & 0xffff) | (s.base & 0xffffff) << 16 | u64{s.access & 0xff} << 40 | (limit >> 16 & 0xf) << 48 |
           u64{s.access >> 12 & 0xf} << 52 | (s.base >> 24 & 0xff) << 56;
}

constexpr u32 kCodeType = 11, kDataType = 3;  // execute/read and read/write, accessed

Segment handler_code(const Scene& scene) {
    return make_segment(kHandlerCode, 0, 0, kCodeType, is_long(scene.mode) ? Segment::L : Segment::DB, false);
}
Segment handler_data() { return make_segment(kHandlerData, 0, 0, kDataType, Segment::DB, false); }
Segment scene_code(const Scene& scene) {
    const bool wide = scene.mode == CpuMode::Protected32 || scene.mode == CpuMode::Compatibility32;
    const u32 size = scene.mode == CpuMode::Long64 ? Segment::L : wide ? Segment::DB : 0;
    return make_segment(static_cast<u16>(kSceneCode | scene.ring), base_of(scene, kCode), scene.ring, kCodeType, size,
                        has_bases(scene.mode));
}
Segment scene_data(const Scene& scene, u16 selector, u64 place) {
    const bool small = has_bases(scene.mode);
    return make_segment(static_cast<u16>(selector | scene.ring), base_of(scene, place), scene.ring, kDataType,
                        small ? 0 : Segment::DB, small);
}
// Real-address and virtual-8086 mode: base = selector * 16 (SDM vol. 3A, 20.1.1 and 20.2.1).
Segment real_segment(u64 place, u32 ring) {
    return make_segment(static_cast<u16>(place >> 4), place, ring, kDataType, 0, true);
}
Segment task_segment(const Scene& scene) {
    constexpr u32 kBusyTss = 11;
    return {.base = kTss,
            .limit = 0x2067,
            .access = Segment::P | kBusyTss,
            .selector = scene.mode == CpuMode::Real ? u16{0} : kTask};
}

void lay_out_gdt(VMem& memory, const Scene& scene) {
    store(memory, kGdt + kHandlerCode, descriptor(handler_code(scene)));
    store(memory, kGdt + kHandlerData, descriptor(handler_data()));
    store(memory, kGdt + kSceneCode, descriptor(scene_code(scene)));
    store(memory, kGdt + kSceneData, descriptor(scene_data(scene, kSceneData, kData)));
    store(memory, kGdt + kSceneStack, descriptor(scene_data(scene, kSceneStack, kStack)));
    store(memory, kGdt + kTask, descriptor(task_segment(scene)));
    constexpr u64 kGateRights = 0xec;  // a call gate that ring 3 may use
    store(memory, kGdt + kCallGate, (kHandlers & 0xffff) | u64{kHandlerCode} << 16 | kGateRights << 40);
}

// Where the handler of `vector` lies, as an offset into its segment.
u64 handler(const Scene& scene, unsigned vector) {
    if (scene.handlers == Handlers::Halt) return kHandlers + vector * kHandlerBytes % 0x1000;
    return kCode + vector * 67 % kCodeBytes;  // any places, not aligned
}

void lay_out_handlers(VMem& memory, const Scene& scene) {
    for (u64 at = kHandlers; at < kHandlers + 0x1000; at += kHandlerBytes) store(memory, at, kHlt, 1);
    for (unsigned vector = 0; vector < kVectors; ++vector) {
        const u64 offset = handler(scene, vector);
        // Real mode's table at 0 (SDM vol. 3A, 20.1.4).
        store(memory, vector * 4, (offset & 0xf) | (offset >> 4) << 16, 4);
        // Interrupt gates, open to INT n from ring 3 (SDM vol. 3A, figures 6-2 and 6-8).
        constexpr u64 kGate = 0xee;
        const u64 step = is_long(scene.mode) ? 16 : 8;
        store(memory, kIdt + vector * step,
              (offset & 0xffff) | u64{kHandlerCode} << 16 | kGate << 40 | (offset >> 16) << 48);
    }
}

// All of the first MiB to itself, but for the page behind the code. Ring 3 gets code, data and stack; the last page of
// the data is read-only (SDM vol. 3A, 4.3 to 4.5).
void lay_out_page_tables(VMem& memory, const Scene& scene) {
    constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAll = kPresent | kWritable | kUser;
    if (scene.paging == Paging::Off) return;
    const unsigned entry = scene.paging == Paging::TwoLevel ? 4 : 8;
    const u64 table = kTables + 0x3000;
    for (u64 page = 0; page < 0x100; ++page) {
        const u64 at = page * kPageSize;
        auto within = [&](u64 place, u64 bytes) { return at >= place && at < place + bytes; };
        u64 rights = kPresent | kWritable;
        if (within(kCode, kCodeBytes) || within(kData, kDataBytes) || within(kStack, kStackBytes)) rights |= kUser;
        if (at == kData + kDataBytes - kPageSize) rights &= ~kWritable;
        if (at == kCode + kCodeBytes) rights = 0;
        store(memory, table + page * entry, at | rights, entry);
    }
    // Above it: a page directory, a table of four pointers to those, and the fourth level.
    store(memory, kTables + 0x2000, table | kAll, entry);
    store(memory, kTables + 0x1000, (kTables + 0x2000) | (scene.paging == Paging::Pae ? kPresent : kAll));
    store(memory, kTables, (kTables + 0x1000) | kAll);
}
u64 page_table_root(Paging paging) {
    switch (paging) {
        case Paging::TwoLevel: return kTables + 0x2000;
        case Paging::Pae: return kTables + 0x1000;
        case Paging::FourLevel: return kTables;
        case Paging::Off: break;
    }
    return 0;
}

void lay_out_task_state(VMem& memory, const Scene& scene) {
    if (is_long(scene.mode)) {
        store(memory, kTss + 4, kInnerStack);  // RSP0 (SDM vol. 3A, figure 7-11)
    } else {
        store(memory, kTss + 4, kInnerStack, 4);  // ESP0, SS0 (figure 7-2)
        store(memory, kTss + 8, kHandlerData, 4);
    }
    store(memory, kTss + 0x64, 0x680000, 4);  // the I/O permission bitmap follows; all of it is 0: every port is open
}

}  // namespace

const std::vector<Scene>& all_scenes() {
    static const std::vector<Scene> scenes = [] {
        std::vector<Scene> all;
        auto add = [&](CpuMode mode, u32 ring, Paging paging) {
            for (Handlers handlers : {Handlers::Halt, Handlers::Code}) all.push_back({mode, ring, paging, handlers});
        };
        add(CpuMode::Real, 0, Paging::Off);
        for (Paging paging : {Paging::Off, Paging::TwoLevel, Paging::Pae}) {
            add(CpuMode::Virtual8086, 3, paging);
            for (u32 ring : {0u, 3u}) {
                add(CpuMode::Protected16, ring, paging);
                add(CpuMode::Protected32, ring, paging);
            }
        }
        for (u32 ring : {0u, 3u}) {
            for (CpuMode mode : {CpuMode::Compatibility16, CpuMode::Compatibility32, CpuMode::Long64})
                add(mode, ring, Paging::FourLevel);
        }
        return all;
    }();
    return scenes;
}

std::string to_text(const Scene& scene) {
    static const char* const kPaging[] = {"no", "two-level", "PAE", "four-level"};
    return std::string(dualvm::to_string(scene.mode)) + " mode, ring " + std::to_string(scene.ring) + ", " +
           kPaging[static_cast<unsigned>(scene.paging)] + " paging, handlers " +
           (scene.handlers == Handlers::Halt ? "halt" : "are code");
}

void lay_out(VMem& memory, const Scene& scene) {
    if (!memory.fill(0, 0, kMemoryMebibytes << 20)) std::abort();
    lay_out_handlers(memory, scene);
    lay_out_gdt(memory, scene);
    lay_out_page_tables(memory, scene);
    lay_out_task_state(memory, scene);
}

CpuFile first_state(const Scene& scene) {
    CpuFile cpu;
    cpu.reset();
    cpu.general.gpr.fill(0);
    cpu.general.rip = has_bases(scene.mode) ? 0 : kCode;
    cpu.general.gpr[RSP] = has_bases(scene.mode) ? kStackBytes / 2 : kStack + kStackBytes / 2;

    ControlGroup& control = cpu.control;
    control.cr0 = cr0::NE | cr0::ET | cr0::WP;
    control.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::FSGSBASE;
    if (scene.mode != CpuMode::Real) control.cr0 |= cr0::PE;
    if (scene.paging != Paging::Off) control.cr0 |= cr0::PG;
    if (scene.paging == Paging::Pae || scene.paging == Paging::FourLevel) control.cr4 |= cr4::PAE;
    if (scene.paging == Paging::Pae) control.pdpte[0] = (kTables + 0x2000) | 1;
    if (is_long(scene.mode)) control.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    control.cr3 = page_table_root(scene.paging);

    SegmentGroup& s = cpu.segments;
    s.tr = task_segment(scene);
    s.gdtr = {.base = kGdt, .limit = kGdtBytes - 1};
    s.idtr = {.base = kIdt, .limit = static_cast<u16>(kVectors * (is_long(scene.mode) ? 16 : 8) - 1)};
    if (scene.mode == CpuMode::Real || scene.mode == CpuMode::Virtual8086) {
        for (Segment& segment : s.seg) segment = real_segment(kData, scene.ring);
        s.seg[CS] = real_segment(kCode, scene.ring);
        s.seg[SS] = real_segment(kStack, scene.ring);
        if (scene.mode == CpuMode::Real) s.idtr = {.base = 0, .limit = 0x3ff};
        if (scene.mode == CpuMode::Virtual8086) cpu.general.rflags |= rflags::VM | rflags::IOPL;
    } else {
        for (Segment& segment : s.seg) segment = scene_data(scene, kSceneData, kData);
        s.seg[CS] = scene_code(scene);
        s.seg[SS] = scene_data(scene, kSceneStack, kStack);
    }
    return cpu;
}

}  // namespace dualvm::scene

// Descriptor tables, tasks and pages of the generated cases: see cases32.h.
#include "../runtime/cpu.h"
#include "cases32.h"

extern const char case_entries[], double_fault_entry[], ring0_stack_top[], double_fault_stack_top[];

static uint32_t page_directory[1024] __attribute__((aligned(4096)));
static uint32_t page_tables[3][1024] __attribute__((aligned(4096)));  // 0, 4 MiB and the window's 8 MiB

// Bits of page-table entries (Intel SDM volume 3, section 4.3).
enum { kPresent = 1, kWritable = 2, kUser = 4 };

void make_pages(void) {
    for (unsigned i = 0; i < 3; ++i) page_directory[i] = (uint32_t)page_tables[i] | kPresent | kWritable | kUser;
    // The guest itself is there for ring 0; low memory and the arena for all; in between there is nothing.
    for (unsigned page = 0; page < 1024; ++page) {
        const uint32_t address = page << 12;
        const bool frames = address >= kWindowFrames && address < kWindowFrames + (kWindowPages << 12);
        const bool low = address < kLowBytes, own = (address >= 0x100000 && address < kArena) || frames,
                   arena = address >= kArena && address < kArena + kArenaBytes;
        if (low || own || arena) page_tables[0][page] = address | kPresent | kWritable | (own ? 0 : kUser);
    }
    write_cr3((unsigned long)page_directory);
    write_cr0(read_cr0() | 1u << 31);
}

// Each page of the window has other rights: present, writable, user in the order of the bits of its number, the other
// eight the same again.
static void make_window(void) {
    for (unsigned i = 0; i < kWindowPages; ++i) {
        uint32_t* const entry = &page_tables[2][i];
        *entry = (kWindowFrames + (i << 12)) | (i & 7);
        invalidate_page((const void*)(kWindow + (i << 12)));
    }
}

// --- what descriptors are made of

uint32_t made_selector(void) {
    switch (below(12)) {
        case 0: return below(4);
        case 1: return chance() & 0xffff;
        case 2: return ring_code(below(4)) ^ (one_in(4) ? below(4) : 0);
        case 3: return ring_data(below(4)) ^ (one_in(4) ? below(4) : 0);
        case 4: return (kMainTask + 8 * below(3)) | below(4);
        case 5: return below(kLdtEntries + 1) << 3 | 4 | below(4);
        default: return (kFirstMade + 8 * below(kGdtEntries - kFirstMade / 8)) | below(4);
    }
}

// Somewhere in the INT3s; now and then nowhere.
uint32_t made_code_offset(void) {
    switch (below(8)) {
        case 0: return 0x1000 + below(0x6000);
        case 1: return 0xc000 + below(0x3fff);
        case 2: return one_in(2) ? 0xffff : 0x10000 + below(0x1000);
        case 3: return 0xfffff000 + below(0x1000);
        default: return kCode + 0x1000 + below(0x6000);
    }
}

uint32_t made_flags(void) {
    const uint32_t arithmetic = chance() & 0x8d5, iopl = below(4) << 12;
    return 2 | arithmetic | iopl | (one_in(8) ? 0x100 : 0) | (one_in(4) ? 0x400 : 0) | (one_in(8) ? 0x4000 : 0) |
           (one_in(6) ? 0x20000 : 0) | (one_in(8) ? 0x10000 : 0) | (one_in(8) ? 0x200000 : 0) | (one_in(2) ? 0x200 : 0);
}

// Limits of code are looked at by jumps, and by LSL.
static uint64_t made_code(void) {
    const uint32_t access = made_rights(kSegment | 8 | below(8));
    const uint32_t size = one_in(4) ? 0 : kBig;
    switch (below(4)) {
        case 0: return segment(kCode, 0xffff, access, size);
        case 1: return segment(0, below(0x40000), access, size);
        default: return segment(0, kFlat, access, size | kPages);
    }
}

static uint64_t made_task(void) {
    const bool wide = !one_in(3);
    const uint32_t limit = one_in(8) ? below(0x70) : wide ? 0x67 + below(0x20) : 0x2b + below(0x20);
    const uint32_t type = (wide ? 9u : 1u) | (one_in(4) ? 2 : 0);
    // The last is an image of 16 bits, whose registers would be taken for CR3.
    return segment(kTasks + 0x200 + 0x100 * below(wide ? kMadeTasks - 1 : kMadeTasks), limit, made_rights(type), 0);
}

static uint64_t made_descriptor(void) {
    switch (below(10)) {
        case 0:
        case 1: return made_code();
        case 2:
        case 3: return made_data_segment();
        case 4: return made_task();
        case 5: return gate(made_selector(), made_code_offset(), made_rights(5), 0);
        case 6:
        case 7:
            return gate(one_in(4) ? made_selector() : ring_code(below(4)), made_code_offset(),
                        made_rights(one_in(3) ? 4 : 12), one_in(2) ? 0 : below(6));
        case 8: return segment(kLdt, 8 * below(kLdtEntries + 1) - 1u, made_rights(2), 0);
        default: return segment(chance(), chance() & 0x7ffff, made_rights(below(16)), below(16));  // of any system type
    }
}

static uint64_t made_interrupt_gate(void) {
    static const uint8_t kTypes[8] = {6, 7, 14, 15, 14, 15, 5, 12};
    const uint32_t type = kTypes[below(8)];
    const uint32_t selector = one_in(3) ? made_selector() : ring_code(below(4));
    return gate(type == 5 ? made_selector() : selector, made_code_offset() & (type < 8 ? 0xffff : ~0u),
                made_rights(type), 0);
}

// --- tasks

// A task that could run, but for its code: at any ring, or in virtual-8086 mode.
static void make_task_images(void) {
    for (unsigned task = 0; task < kMadeTasks; ++task) {
        volatile uint32_t* const image = word_at(kTasks + 0x200 + 0x100 * task);
        const unsigned ring = below(4);
        const bool wide = task < 3;
        for (unsigned i = 0; i < 0x100 / 4; ++i) image[i] = chance();
        const uint32_t flags = made_flags();
        uint32_t code = one_in(6) ? made_selector() : ring_code(ring), ip = made_code_offset();
        uint32_t stack = one_in(6) ? made_selector() : ring_data(ring), data[4];
        for (unsigned i = 0; i < 4; ++i) data[i] = one_in(6) ? made_selector() : ring_data(ring);
        const uint32_t ldt = one_in(4) ? made_selector() : one_in(2) ? 0 : kLdtSelector;
        if (wide) {  // SDM volume 3, figure 8-2
            if (flags & 0x20000) code = 0x1000 + below(0x1000), stack = 0x2000, ip &= 0xffff;
            image[0] = one_in(2) ? kMainTask : made_selector();
            for (unsigned inner = 0; inner < 3; ++inner) {
                image[1 + 2 * inner] = inner == 0 ? (uint32_t)ring0_stack_top : kStacks + 0x1000 * (inner + 1);
                image[2 + 2 * inner] = ring_data(inner);
            }
            image[7] = read_cr3();
            image[8] = ip;
            image[9] = flags;
            image[14] = kStackOfCase;
            image[18] = data[0], image[19] = code, image[20] = stack, image[21] = data[1], image[22] = data[2];
            image[23] = data[3], image[24] = ldt;
            image[25] = 0x680000u | (one_in(8) ? 1 : 0);
        } else {  // figure 8-10
            volatile uint16_t* const narrow = (volatile uint16_t*)image;
            const uint16_t words[22] = {kMainTask,
                                        0xf000,
                                        kKernelData,
                                        0xe000,
                                        (uint16_t)ring_data(1),
                                        0xd000,
                                        (uint16_t)ring_data(2),
                                        (uint16_t)(ip & 0xffff),
                                        (uint16_t)flags,
                                        1,
                                        2,
                                        3,
                                        4,
                                        0x8000,
                                        6,
                                        7,
                                        8,
                                        (uint16_t)data[0],
                                        (uint16_t)code,
                                        (uint16_t)stack,
                                        (uint16_t)data[1],
                                        (uint16_t)ldt};
            for (unsigned i = 0; i < 22; ++i) narrow[i] = words[i];
        }
    }
}

static void make_own_tasks(void) {
    volatile uint32_t* const main = word_at(kTasks);
    volatile uint32_t* const fault = word_at(kTasks + 0x100);
    for (unsigned i = 0; i < 0x80; ++i) main[i] = 0;
    main[0] = one_in(2) ? made_selector() : (uint32_t)(kFirstMade + 8 * below(20));  // where IRET with NT goes
    for (unsigned ring = 0; ring < 3; ++ring) {
        main[1 + 2 * ring] = ring == 0 ? (uint32_t)ring0_stack_top : kStacks + 0x1000 * (ring + 1);
        main[2 + 2 * ring] = ring != 0 && one_in(8) ? made_selector() : ring_data(ring);
    }
    // Of the task that runs: only what a switch to itself finds before it is stored, and CR3, which never is.
    main[7] = read_cr3();
    main[8] = kCode + 0x1000, main[9] = 2, main[14] = kStackOfCase;
    main[18] = main[20] = main[21] = main[22] = main[23] = kKernelData, main[19] = kKernelCode;
    main[25] = 0x68u << 16;
    for (unsigned i = 26; i < 34; ++i) main[i] = chance();  // the I/O permission map: ports 0 to FFh
    main[34] = 0xff;
    fault[7] = read_cr3();
    fault[8] = (uint32_t)double_fault_entry;
    fault[9] = 2;
    fault[14] = (uint32_t)double_fault_stack_top;
    fault[18] = fault[20] = fault[21] = fault[22] = fault[23] = kKernelData;
    fault[19] = kKernelCode;
    fault[25] = 0x68u << 16;
}

// --- all of it

static void make_tables(void) {
    put(kGdt, 0, 0);
    for (unsigned ring = 0; ring < 4; ++ring) {
        const uint32_t at_ring = 0x80 | ring << 5 | kSegment | kAccessed;
        put(kGdt, ring_code(ring), segment(0, kFlat, at_ring | 0xa, kBig | kPages));
        put(kGdt, ring_data(ring), segment(0, kFlat, at_ring | 2, kBig | kPages));
    }
    put(kGdt, kMainTask, segment(kTasks, 0x8b, 0x89, 0));
    put(kGdt, kDoubleFaultTask, segment(kTasks + 0x100, 0x67, 0x89, 0));
    put(kGdt, kLdtSelector, segment(kLdt, 8 * kLdtEntries - 1, 0x82, 0));
    for (unsigned i = kFirstMade / 8; i < kGdtEntries; ++i) put(kGdt, 8 * i, made_descriptor());
    for (unsigned i = 0; i < kLdtEntries; ++i) put(kLdt, 8 * i, made_descriptor());
    for (unsigned vector = 0; vector < kIdtEntries; ++vector) {
        const uint32_t entry = (uint32_t)case_entries + 16 * vector;
        uint64_t g = vector < 32 ? gate(kKernelCode, entry, vector == 3 || vector == 4 ? 0xee : 0x8e, 0) : 0;
        if (vector == 8) g = gate(kDoubleFaultTask, 0, 0x85, 0);
        if (vector >= kFirstMadeGate) g = made_interrupt_gate();
        put(kIdt, 8 * vector, g);
    }
}

void make_world(void) {
    for (unsigned i = 0; i < 0x10000 / 4; ++i) *word_at(kCode + 4 * i) = 0xcccccccc;
    make_window();
    make_own_tasks();
    make_task_images();
    make_tables();
    // Stacks hold what returns could take: an offset, a selector, flags, a stack pointer, a stack selector.
    const unsigned ring = below(4);
    for (uint32_t at = kStacks; at < kStacks + 0x10000; at += 4) {
        const uint32_t slot = (at - kStackOfCase) / 4;
        uint32_t value = 0;
        if (slot < 16) {
            switch (slot) {
                case 0: value = made_code_offset(); break;
                case 1: value = one_in(3) ? made_selector() : ring_code(ring); break;
                case 2: value = one_in(2) ? made_flags() : kStackOfCase - 0x800; break;
                case 3: value = one_in(2) ? kStackOfCase - 0x400 : ring_data(ring); break;
                case 4: value = one_in(3) ? made_selector() : ring_data(ring); break;
                default: value = made_selector(); break;
            }
        }
        *word_at(at) = value;
    }
    for (uint32_t at = kData; at < kData + 0x1000; at += 4) *word_at(at) = at < kData + 0x100 ? chance() : 0;
}

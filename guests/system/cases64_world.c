// Descriptor tables, the task and the pages of the generated cases in long mode: see cases64.h.
#include "../runtime/cpu.h"
#include "cases64.h"

extern const char case_entries[], safe_stack_top[];

// Bits of page-table entries (Intel SDM volume 3, section 4.5).
#define kPresent 1ul
#define kWritable 2ul
#define kUser 4ul
#define kNoExecute (1ul << 63)
#define kReserved (1ul << 51)  // beyond the physical addresses of both machines

static uint64_t top[512] __attribute__((aligned(4096)));
static uint64_t pointers[512] __attribute__((aligned(4096))), high_pointers[512] __attribute__((aligned(4096)));
static uint64_t directory[512] __attribute__((aligned(4096)));
static uint64_t low_tables[2][512] __attribute__((aligned(4096)));  // 4 MiB
static uint64_t window_table[512] __attribute__((aligned(4096)));

void make_pages(void) {
    const uint64_t all = kPresent | kWritable | kUser;
    top[0] = (uint64_t)pointers | all;
    top[256] = (uint64_t)high_pointers | kPresent | kWritable;  // kHigh
    pointers[0] = high_pointers[0] = (uint64_t)directory | all;
    for (unsigned i = 0; i < 2; ++i) directory[i] = (uint64_t)low_tables[i] | all;
    // The guest itself is there for ring 0; low memory and the arena for all; in between there is nothing.
    for (unsigned page = 0; page < 1024; ++page) {
        const uint64_t address = (uint64_t)page << 12;
        const bool frames = address >= kWindowFrames && address < kWindowFrames + (kWindowFrameCount << 12);
        const bool low = address < kLowBytes, own = (address >= 0x100000 && address < kArena) || frames,
                   arena = address >= kArena && address < kArena + kArenaBytes;
        if (low || own || arena) low_tables[page >> 9][page & 511] = address | kPresent | kWritable | (own ? 0 : kUser);
    }
    write_cr3((unsigned long)top);
}

// Each page of the window has other rights, by the bits of its number, and each view of it has others again.
static void make_window(void) {
    for (unsigned view = 0; view < kWindowViews; ++view)
        directory[kWindow / 0x200000 + view] = (uint64_t)window_table | kPresent | (view & 1 ? 0 : kWritable) |
                                               (view & 2 ? 0 : kUser) | (view & 4 ? kNoExecute : 0);
    for (uint64_t i = 0; i < kWindowPages; ++i)
        window_table[i] = (kWindowFrames + (i % kWindowFrameCount << 12)) | (i & 7) | (i & 8 ? kNoExecute : 0) |
                          (i >= 16 && one_in(4) ? kReserved : 0);
}

uint32_t window_dirty_pages(void) {
    uint32_t dirty = 0;
    for (unsigned i = 0; i < kWindowPages; ++i) dirty |= (uint32_t)(window_table[i] >> 6 & 1) << i;
    return dirty;
}

// --- what descriptors and frames are made of

uint32_t made_selector(void) {
    switch (below(12)) {
        case 0: return below(4);
        case 1: return chance() & 0xffff;
        case 2: return ring_code(below(4)) ^ (one_in(4) ? below(4) : 0);
        case 3: return ring_data(below(4)) ^ (one_in(4) ? below(4) : 0);
        case 4: return (kMainTask + 8 * below(4)) | below(4);
        case 5: return below(kLdtEntries + 1) << 3 | 4 | below(4);
        case 6: return compatibility_code(below(4)) ^ (one_in(4) ? below(4) : 0);
        default: return (kFirstMade + 8 * below(kGdtEntries - kFirstMade / 8)) | below(4);
    }
}

uint64_t made_hole_address(void) {
    switch (below(4)) {
        case 0: return kHole + below(0x1000);
        case 1: return kHigh - 1 - below(0x1000);
        case 2: return 1ul << 63 | kCode;
        default: return (uint64_t)chance() << 47 | kHole | kCode;
    }
}

// Somewhere in the INT3s; now and then nowhere.
uint64_t made_code_address(void) {
    switch (below(12)) {
        case 0: return 0x1000 + below(0x6000);
        case 1:
        case 2: return kHigh + kCode + 0x1000 + below(0x6000);
        case 3: return made_hole_address();
        case 4: return 1ul << 32 | (kCode + below(0x6000));
        case 5: return one_in(2) ? 0xfffff000 + below(0x1000) : kHole - 1 - below(0x1000);
        default: return kCode + 0x1000 + below(0x6000);
    }
}

uint64_t made_stack_address(void) {
    const uint64_t good = (one_in(4) ? 0 : kHigh) + kStackOfCase - 0x400 * (1 + below(8));
    switch (below(16)) {
        case 0: return made_hole_address();
        case 1: return kHole - 8 * below(8);
        case 2: return kHigh + 8 * below(8);
        case 3: return 0x40000000;
        case 4: return kWindow + ((uint64_t)below(kWindowPages) << 12) + 8 * below(8);
        case 5:
        case 6:
        case 7: return good + below(16);
        default: return good;
    }
}

uint64_t made_flags(void) {
    const uint32_t arithmetic = chance() & 0x8d5, iopl = below(4) << 12;
    return 2 | arithmetic | iopl | (one_in(8) ? 0x100 : 0) | (one_in(4) ? 0x400 : 0) | (one_in(8) ? 0x4000 : 0) |
           (one_in(10) ? 0x20000 : 0) | (one_in(8) ? 0x10000 : 0) | (one_in(8) ? 0x200000 : 0) |
           (one_in(2) ? 0x200 : 0) | (one_in(4) ? 0x40000 : 0);
}

static uint64_t made_code_segment(void) {
    const uint32_t access = made_rights(kSegment | 8 | below(8));
    const uint32_t size = one_in(2) ? kLong : one_in(8) ? kLong | kBig : one_in(4) ? 0 : kBig;
    switch (below(4)) {
        case 0: return segment(kCode, 0xffff, access, size);
        case 1: return segment(0, below(0x40000), access, size);
        default: return segment(0, kFlat, access, size | kPages);
    }
}

// Puts a descriptor of 16 bytes; its upper half is mostly what it should be.
static void put_wide(unsigned long table, uint32_t selector, uint64_t low, uint64_t high) {
    put(table, selector, low);
    put(table, selector + 8, one_in(10) ? high ^ (uint64_t)(1 + below(31)) << 40 : high);
}

static void put_task(unsigned long table, uint32_t selector) {
    // Never so small that the stack of double faults is beyond it.
    const uint32_t limit = one_in(6) ? 0x2b + below(0x3d) : 0x67 + below(0x30);
    // Those of 16 bits are busy: QEMU's TCG would take others, and die of them.
    const uint32_t type = one_in(6) ? 3 : one_in(6) ? 11 : 9;
    const uint64_t base = one_in(10) ? made_hole_address() : kHigh + kTasks + 0x200 + 0x100 * below(kMadeTasks);
    put_wide(table, selector, segment((uint32_t)base, limit, made_rights(type), 0), base >> 32);
}

static void put_call_gate(unsigned long table, uint32_t selector) {
    const uint32_t code = one_in(4) ? made_selector() : ring_code(below(4));
    const uint64_t offset = made_code_address();
    const uint32_t access = made_rights(one_in(8) ? 4 : 12);
    put_wide(table, selector, gate(code, (uint32_t)offset, access, one_in(4) ? below(32) : 0), offset >> 32);
}

// Fills a table from `selector` on; system descriptors take two entries.
static void put_made(unsigned long table, uint32_t selector, uint32_t end) {
    while (selector < end) {
        const uint32_t kind = selector + 16 > end ? below(4) : below(10);
        switch (kind) {
            case 0:
            case 1: put(table, selector, made_code_segment()); break;
            case 2:
            case 3: put(table, selector, made_data_segment()); break;
            case 4: put_task(table, selector); break;
            case 5: {
                const uint64_t base = one_in(10) ? made_hole_address() : kHigh + kLdt;
                const uint32_t limit = 8 * below(kLdtEntries + 1) - 1u;
                put_wide(table, selector, segment((uint32_t)base, limit, made_rights(2), 0), base >> 32);
                break;
            }
            case 6: {  // of any system type, but for tasks that would have no stack for double faults
                uint32_t type = below(16);
                if (type == 1 || type == 9) type |= 2;
                put_wide(table, selector, segment(chance(), chance() & 0x7ffff, made_rights(type), below(16)),
                         below(2));
                break;
            }
            default: put_call_gate(table, selector); break;
        }
        selector += kind < 4 ? 8 : 16;
    }
}

static void put_made_interrupt_gate(uint32_t vector) {
    const uint32_t type = one_in(8) ? below(16) : 14 + below(2);
    const uint32_t selector = one_in(4) ? made_selector() : ring_code(below(4));
    const uint64_t offset = made_code_address();
    put(kIdt, 16 * vector, gate(selector, (uint32_t)offset, made_rights(type), one_in(2) ? 0 : below(8)));
    put(kIdt, 16 * vector + 8, offset >> 32);
}

// --- tasks (SDM volume 3, figure 7-11)

static void make_tasks(void) {
    for (unsigned task = 0; task < 2 + kMadeTasks; ++task) {
        volatile uint32_t* const image = word_at(kTasks + 0x100 * task);
        for (unsigned i = 0; i < 0x100 / 4; ++i) image[i] = task == 0 ? 0 : chance();
        for (unsigned i = 0; i < 11; ++i) {  // RSP0 to RSP2, a reserved place, IST1 to IST7
            const uint64_t usual = kHigh + kStackOfCase - 0x400 * (1 + below(8));
            const uint64_t stack = i == 4 ? (uint64_t)safe_stack_top : one_in(3) ? made_stack_address() : usual;
            image[1 + 2 * i] = (uint32_t)stack;
            image[2 + 2 * i] = (uint32_t)(stack >> 32);
        }
        image[25] = 0x68u << 16;
    }
    volatile uint32_t* const main = word_at(kTasks);
    for (unsigned i = 26; i < 34; ++i) main[i] = chance();  // the I/O permission map: ports 0 to FFh
    main[34] = 0xff;
}

// --- all of it

static void make_tables(void) {
    put(kGdt, 0, 0);
    for (unsigned ring = 0; ring < 4; ++ring) {
        const uint32_t at_ring = 0x80 | ring << 5 | kSegment | kAccessed;
        put(kGdt, ring_code(ring), segment(0, kFlat, at_ring | 0xa, kLong | kPages));
        put(kGdt, ring_data(ring), segment(0, kFlat, at_ring | 2, kBig | kPages));
        put(kGdt, compatibility_code(ring), segment(0, kFlat, at_ring | 0xa, kBig | kPages));
    }
    put(kGdt, kMainTask, segment(kTasks, 0x8b, 0x89, 0));
    put(kGdt, kMainTask + 8, kHigh >> 32);
    put(kGdt, kLdtSelector, segment(kLdt, 8 * kLdtEntries - 1, 0x82, 0));
    put(kGdt, kLdtSelector + 8, kHigh >> 32);
    put_made(kGdt, kFirstMade, 8 * kGdtEntries);
    put_made(kLdt, 0, 8 * kLdtEntries);
    // One stack for all exceptions: where the machines disagree about the vector, the rest can still be compared.
    const uint32_t usual_stack = one_in(3) ? 2 + below(6) : 0;
    for (unsigned vector = 0; vector < kIdtEntries; ++vector) {
        const uint32_t entry = (uint32_t)(unsigned long)case_entries + 32 * vector;
        // Those that come when everything else has gone wrong have a stack of their own.
        const bool safe = vector == 2 || vector == 8 || vector == 18;
        const uint32_t stack = safe ? 1 : usual_stack;
        uint64_t g = 0;
        if (vector < 32) g = gate(kKernelCode, entry, vector == 3 || vector == 4 ? 0xee : 0x8e, stack);
        put(kIdt, 16 * vector, g);
        put(kIdt, 16 * vector + 8, 0);
        if (vector >= kFirstMadeGate) put_made_interrupt_gate(vector);
    }
}

void make_world(void) {
    for (unsigned i = 0; i < 0x10000 / 4; ++i) *word_at(kCode + 4 * i) = 0xcccccccc;
    make_window();
    make_tasks();
    make_tables();
    for (uint32_t at = kStacks; at < kStacks + 0x10000; at += 4) *word_at(at) = 0;
    for (uint32_t at = kData; at < kData + 0x1000; at += 4) *word_at(at) = at < kData + 0x100 ? chance() : 0;
}

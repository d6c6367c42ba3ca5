// What makes a machine that remembers things forget them: -append "kind=0..9 size=EVENTS". Each kind is a cliff that an
// interpreter or translator may fall off; `./dev bench --churn` measures what an event costs.
//
//   walks   a load from another 4 KiB page each time, more pages than a TLB holds
//   cr3     an address space is loaded, then a little work in 8 pages
//   invlpg  one page's translation is dropped, then used
//   data    a store next to code that is running, on the same page, never on the code
//   jit     a function of 32 bytes is rewritten, then called
//   blocks  a call of another small function each time, more of them than a cache of code holds
//   alone   as jit, but each function has a page to itself, which so is now data, now code
//   line    a store into the same 64 bytes as code, on a page full of functions that have run, never on the code
//   load    a page of code is replaced by REP MOVSB, as a program loader does it, and one function of it called
//   pcid    as cr3, where the CPU has PCIDs with translations kept for either address space
#include "../runtime/guest.h"
#include "../runtime/interrupts.h"

extern uint64_t boot_pml4[512], boot_pdpt[512];

enum {
    kPage = 4096,
    kPages = 8192,         // for walks: 32 MiB
    kFunctions = 1 << 18,  // for blocks
    kFunctionBytes = 32,
};

// Second GiB: 4 KiB pages over the memory from 64 MiB on.
#define kWindow 0x40000000ul
#define kFrames (64ul << 20)
static uint64_t directory[512] __attribute__((aligned(kPage)));
static uint64_t tables[kPages] __attribute__((aligned(kPage)));
static uint64_t other_pml4[512] __attribute__((aligned(kPage)));

static void map_window(void) {
    for (unsigned i = 0; i < kPages; ++i) tables[i] = (kFrames + (uint64_t)i * kPage) | 7;
    for (unsigned i = 0; i < kPages / 512; ++i) directory[i] = (uint64_t)&tables[i * 512] | 7;
    boot_pdpt[1] = (uint64_t)directory | 7;
    for (unsigned i = 0; i < 512; ++i) other_pml4[i] = boot_pml4[i];
}

static volatile uint32_t* word_of_page(unsigned long page) {
    return (volatile uint32_t*)(kWindow + page * kPage + page % 61 * 64);
}

static unsigned long walk_pages(unsigned long size) {
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) sum += *word_of_page(i * 17 % kPages) + 1;
    return sum;
}

static unsigned long switch_spaces(unsigned long size) {
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) {
        __asm__ volatile("mov cr3, %0" : : "r"((unsigned long)(i % 2 ? boot_pml4 : other_pml4)) : "memory");
        for (unsigned long page = 0; page < 8; ++page) sum += ++*word_of_page(page);
    }
    return sum;
}

static unsigned long switch_spaces_with_pcids(unsigned long size) {
    enum { kCpuidPcid = 1 << 17 };
    const unsigned long kCr4Pcide = 1ul << 17, kKeep = 1ul << 63;
    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!(ecx & kCpuidPcid)) return switch_spaces(size);
    unsigned long cr4;
    __asm__ volatile("mov %0, cr4" : "=r"(cr4));
    __asm__ volatile("mov cr4, %0" : : "r"(cr4 | kCr4Pcide) : "memory");
    const unsigned long spaces[] = {(unsigned long)other_pml4 | 1 | kKeep, (unsigned long)boot_pml4 | 2 | kKeep};
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) {
        __asm__ volatile("mov cr3, %0" : : "r"(spaces[i % 2]) : "memory");
        for (unsigned long page = 0; page < 8; ++page) sum += ++*word_of_page(page);
    }
    return sum;
}

static unsigned long drop_pages(unsigned long size) {
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) {
        volatile uint32_t* const word = word_of_page(i % 64);
        __asm__ volatile("invlpg [%0]" : : "r"(word) : "memory");
        sum += ++*word;
    }
    return sum;
}

// Code with a counter 64 bytes behind it:  lea rax, [rip + 57]; inc qword ptr [rax]; mov rax, [rax]; ret
static unsigned long store_beside_code(unsigned long size) {
    static const unsigned char code[] = {0x48, 0x8d, 0x05, 57, 0, 0, 0, 0x48, 0xff, 0x00, 0x48, 0x8b, 0x00, 0xc3};
    unsigned char* const place = (unsigned char*)kFrames;
    for (unsigned i = 0; i < sizeof code; ++i) place[i] = code[i];
    for (unsigned i = 0; i < 8; ++i) place[64 + i] = 0;
    __asm__ volatile("" : : : "memory");
    unsigned long last = 0;
    for (unsigned long i = 0; i < size; ++i) last = ((unsigned long (*)(void))place)();
    return last;
}

// mov eax, VALUE; ret
static void write_function(unsigned char* place, uint32_t value) {
    *place = 0xb8;
    *(volatile uint32_t*)(place + 1) = value;
    place[5] = 0xc3;
    __asm__ volatile("" : : : "memory");
}

static unsigned long rewrite_code(unsigned long size) {
    unsigned char* const place = (unsigned char*)kFrames;
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) {
        write_function(place + i % 16 * 256, (uint32_t)i);
        sum += ((uint32_t(*)(void))(place + i % 16 * 256))();
    }
    return sum;
}

static unsigned long call_many(unsigned long size) {
    unsigned char* const place = (unsigned char*)kFrames;
    for (unsigned long i = 0; i < kFunctions && i < size; ++i) write_function(place + i * kFunctionBytes, (uint32_t)i);
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) sum += ((uint32_t(*)(void))(place + i % kFunctions * kFunctionBytes))();
    return sum;
}

static unsigned long rewrite_pages(unsigned long size) {
    unsigned char* const place = (unsigned char*)kWindow;
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) {
        write_function(place + i % 16 * kPage, (uint32_t)i);
        sum += ((uint32_t(*)(void))(place + i % 16 * kPage))();
    }
    return sum;
}

static uint32_t call_page(const unsigned char* place) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < kPage; i += kFunctionBytes) sum += ((uint32_t(*)(void))(place + i))();
    return sum;
}

static unsigned long store_between_functions(unsigned long size) {
    unsigned char* const place = (unsigned char*)kFrames;
    for (unsigned i = 0; i < kPage; i += kFunctionBytes) write_function(place + i, i);
    unsigned long sum = call_page(place);
    for (unsigned long i = 0; i < size; ++i) {
        volatile uint32_t* const word = (volatile uint32_t*)(place + i % 128 * kFunctionBytes + 16);
        *word = (uint32_t)i;
        sum += *word;
    }
    return sum + call_page(place);
}

static unsigned long load_pages(unsigned long size) {
    unsigned char* const place = (unsigned char*)kWindow;
    for (unsigned page = 1; page <= 2; ++page) {
        for (unsigned i = 0; i < kPage; i += kFunctionBytes) write_function(place + page * kPage + i, page + i);
    }
    unsigned long sum = 0;
    for (unsigned long i = 0; i < size; ++i) {
        unsigned char* to = place;
        const unsigned char* from = place + (1 + i % 2) * kPage;
        unsigned long count = kPage;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        sum += ((uint32_t(*)(void))(place + i % 128 * kFunctionBytes))();
    }
    return sum;
}

static const struct {
    const char* name;
    unsigned long (*run)(unsigned long size);
} kinds[] = {{"walks", walk_pages},    {"cr3", switch_spaces},
             {"invlpg", drop_pages},   {"data", store_beside_code},
             {"jit", rewrite_code},    {"blocks", call_many},
             {"alone", rewrite_pages}, {"line", store_between_functions},
             {"load", load_pages},     {"pcid", switch_spaces_with_pcids}};

int guest_main(void) {
    serial_open();
    const unsigned long size = command_line_number("size", 1000), kind = command_line_number("kind", 0);
    if (kind >= sizeof kinds / sizeof kinds[0]) {
        print("kind= is 0 to 9\n");
        return 1;
    }
    map_window();
    print(kinds[kind].name);
    print(" size=");
    print_decimal(size);
    print(" checksum=");
    print_decimal(kinds[kind].run(size));
    print("\n");
    return 0;
}

// The instructions of a generated case in long mode that stay where they are: see cases64.h.
#include "../runtime/cpu.h"
#include "cases64.h"

enum Size size_prefix(void) {
    if (one_in(3)) {
        byte(0x66);
        return kSize16;
    }
    if (mode.compatibility || one_in(2)) return kSize32;
    byte(0x48);
    return kSize64;
}

void data_operand(uint32_t reg, uint32_t offset) {
    byte(modrm(2, reg, 6));
    dword(offset);
}

// --- segments and tables

static void queries(void) {
    case_registers.ax = made_selector();
    for (unsigned n = 1 + below(3); n != 0; --n) {
        switch (below(3)) {
            case 0: size_prefix(), bytes2(0x0f, 0x02), byte(modrm(3, 1, 0)); break;  // lar ecx, eax
            case 1: size_prefix(), bytes2(0x0f, 0x03), byte(modrm(3, 2, 0)); break;  // lsl edx, eax
            default: bytes2(0x0f, 0x00), byte(modrm(3, 4 + below(2), 0)); break;     // verr, verw ax
        }
    }
}

static void segment_loads(void) {
    static const uint8_t kNumbers[6] = {0, 2, 3, 4, 5, 1};  // ES, SS, DS, FS, GS; CS is #UD
    static const uint8_t kPops[5] = {0x07, 0x17, 0x1f, 0xa1, 0xa9};
    static const uint8_t kFar[5] = {0xc4, 0xb2, 0xc5, 0xb4, 0xb5};  // les, lss, lds, lfs, lgs
    unsigned n = one_in(16) ? 5 : below(5);
    const uint32_t selector = one_in(3) ? ring_data(mode.ring) : made_selector();
    case_registers.ax = selector;
    switch (below(3)) {
        case 0: size_prefix(), byte(0x8e), byte(modrm(3, kNumbers[n], 0)); break;
        case 1: {
            byte(0x50);  // push rax
            n %= 5;
            if (n > 2) byte(0x0f);
            byte(kPops[n]);  // in 64-bit code, #UD for those that have one byte
            break;
        }
        default: {
            n %= 5;
            if (!mode.compatibility && (n == 0 || n == 2)) n = 1 + below(2) * 2;  // there, VEX prefixes
            const enum Size size = size_prefix();
            // QEMU's TCG knows no pointers of 64 bits: the selector is where it would look, too.
            const uint32_t at = size == kSize16 ? 2 : size == kSize32 ? 4 : 8;
            *data_at(0x40) = (uint64_t)chance() << 48 | (uint64_t)selector << 32 | chance();
            *(volatile uint16_t*)(unsigned long)(kData + 0x40 + at) = (uint16_t)selector;
            if (n != 0 && n != 2) byte(0x0f);
            byte(kFar[n]);
            data_operand(1, 0x40);
        }
    }
    if (n == 1 && one_in(2)) bytes2(0x89, modrm(3, 4, 5));  // mov esp, ebp: behind a load of SS
    if (one_in(3)) size_prefix(), byte(0x8c), byte(modrm(3, kNumbers[n % 5], 3));
}

static void table_registers(void) {
    case_registers.ax = made_selector();
    switch (below(10)) {
        case 0: bytes2(0x0f, 0x00), byte(modrm(3, 2, 0)); break;  // lldt ax
        case 1:
            // QEMU's TCG would take null selectors, and die of them.
            if (case_registers.ax < 4) case_registers.ax = kLdtSelector;
            bytes2(0x0f, 0x00), byte(modrm(3, 3, 0));
            break;                                                                                    // ltr ax
        case 2: size_prefix(), bytes2(0x0f, 0x00), byte(modrm(3, below(2), 1)); break;                // sldt, str ecx
        case 3: size_prefix(), bytes2(0x0f, 0x01), data_operand(below(2), 0x80); break;               // sgdt, sidt
        case 4: size_prefix(), bytes2(0x0f, 0x01), byte(modrm(3, 4, 1)); break;                       // smsw ecx
        case 5: bytes2(0x0f, one_in(2) ? 0x01 : 0x00), data_operand(one_in(2) ? 4 : 0, 0x80); break;  // smsw, sldt [m]
        case 6:
            case_registers.ax = below(16);
            bytes2(0x0f, 0x01), byte(modrm(3, 6, 0));  // lmsw ax
            break;
        case 7: bytes2(0x0f, 0x06); break;  // clts
        case 8: {                           // lgdt, lidt: where the tables are already
            const unsigned interrupts = below(2);
            // With SMAP the CPU itself may not read what user programs can, and compatibility mode knows no other
            // place.
            const bool smap = (case_registers.cr4 & 1 << 21) != 0;
            const uint64_t base = (smap || one_in(2) ? kHigh : 0) + (interrupts ? kIdt : kGdt);
            *data_at(0x40) = (uint64_t)(interrupts ? 0x1ff + below(0x300) : 0x87 + below(0x180)) | base << 16;
            *data_at(0x48) = base >> 48;
            // QEMU's TCG takes 24 bits of the base with a 16-bit operand, whatever the mode.
            if (mode.compatibility && one_in(4)) byte(0x66);
            if (!mode.compatibility && one_in(4)) byte(0x48);
            bytes2(0x0f, 0x01), data_operand((mode.compatibility && smap ? 0 : 2) + interrupts, 0x40);
            break;
        }
        default:  // of what is one
            case_registers.ax = one_in(2) ? kLdtSelector : kMainTask;
            bytes2(0x0f, 0x00), byte(modrm(3, case_registers.ax == kLdtSelector ? 2 : 3, 0));
            bytes2(0x0f, 0x00), byte(modrm(3, 1, 2));
    }
}

// --- control registers, debug registers, MSRs

static void control_registers(void) {
    static const uint8_t kNumbers[8] = {0, 0, 4, 4, 3, 2, 1, 8};
    const unsigned n = kNumbers[below(mode.compatibility ? 7 : 8)];  // CR8 takes a REX prefix
    const unsigned extended = n == 8 ? 0x44 : 0x40;                  // REX, with the upper bit of the register's number
    uint64_t value = one_in(2) ? chance() : (uint64_t)chance() << 32 | chance();
    // Nothing that takes the ground from under us: PE, PG and PAE stay, and CR3 as it is.
    if (n == 0) value = 0x80000001 | (chance() & 0x0001003e) | (one_in(4) ? below(4) << 29 : 0);
    if (n == 0 && one_in(6)) value |= (uint64_t)(1 + below(16)) << 32;
    if (n == 4) value = 0x20 | (chance() & 0x310f9c & ~0x20000u);
    if (n == 3) value = read_cr3();
    if (n == 8 && one_in(2)) value = below(32);
    case_registers.ax = mode.compatibility ? (uint32_t)value : value;  // QEMU's TCG would take all of it
    if (one_in(4)) {
        if (!mode.compatibility) byte(extended);
        bytes2(0x0f, 0x20), byte(modrm(3, n & 7, 2));
        return;
    }
    if (!mode.compatibility) byte(extended);
    bytes2(0x0f, 0x22), byte(modrm(3, n & 7, 0));
    if (!mode.compatibility) byte(extended);
    bytes2(0x0f, 0x20), byte(modrm(3, n & 7, 2));
}

static void debug_registers(void) {
    static const uint32_t kControls[4] = {0, 0x400, 0x2400, 0x400};
    // General detection lasts until a #DB is delivered: to a stack that is good.
    *(volatile uint8_t*)(unsigned long)(kIdt + 16 + 4) = 1;
    const unsigned n = below(8);
    case_registers.ax = n == 7 || n == 5 ? kControls[below(4)] : one_in(2) ? chance() : kData;
    if (!mode.compatibility && one_in(6)) case_registers.ax |= (uint64_t)(1 + below(16)) << (one_in(2) ? 32 : 60);
    bytes2(0x0f, 0x23), byte(modrm(3, n, 0));
    bytes2(0x0f, 0x21), byte(modrm(3, n == 5 || n == 7 ? below(4) : below(8), 2));
}

static void model_specific_registers(void) {
    static const uint32_t kIndices[14] = {0xc0000100u, 0xc0000101u, 0xc0000102u, MSR_STAR,   MSR_LSTAR,
                                          0xc0000083u, MSR_SFMASK,  MSR_EFER,    MSR_EFER,   0x174,
                                          0x175,       0x176,       0xc0000103u, 0xc0000103u};
    const uint32_t index = kIndices[below(14)];
    uint64_t value = one_in(3) ? made_hole_address() : one_in(2) ? kHigh + chance() : chance();
    if (index == MSR_EFER) value = 0x500 | (one_in(2) ? 1 : 0) | (one_in(2) ? 0x800 : 0) | (one_in(3) ? chance() : 0);
    case_registers.cx = index | (one_in(4) ? (uint64_t)chance() << 32 : 0);
    case_registers.ax = (uint32_t)value | (one_in(4) ? (uint64_t)chance() << 32 : 0);
    case_registers.dx = value >> 32 | (one_in(4) ? (uint64_t)chance() << 32 : 0);
    if (!one_in(4)) bytes2(0x0f, 0x30);      // wrmsr
    bytes2(0x31, 0xc0), bytes2(0x0f, 0x32);  // xor eax, eax; rdmsr
}

static void bases(void) {
    case_registers.ax = one_in(3) ? made_hole_address() : kHigh + chance();
    byte(0xf3);
    if (!mode.compatibility && one_in(2)) byte(0x48);
    bytes2(0x0f, 0xae), byte(modrm(3, below(4), 0));  // rdfsbase, rdgsbase, wrfsbase, wrgsbase
}

static void flags(void) {
    static const uint8_t kShort[6] = {0xfa, 0xfb, 0xfc, 0xfd, 0x9c, 0x9c};  // cli, sti, cld, std, pushf
    for (unsigned n = 1 + below(2); n != 0; --n) {
        if (one_in(2)) {
            if (one_in(3)) byte(0x66);
            byte(kShort[below(6)]);
            continue;
        }
        byte(0x68), dword((uint32_t)made_flags() & (one_in(3) ? ~0u : ~0x100u));
        if (one_in(3)) byte(0x66);
        byte(0x9d);  // popf
    }
}

// --- memory

static void access_at_bx(void) {
    // QEMU's TCG would jump to all of it.
    if (mode.compatibility) case_registers.bx = (uint32_t)case_registers.bx;
    if (one_in(6)) bytes2(0x0f, 0x01), byte(0xca + below(2));  // clac, stac
    switch (below(7)) {
        case 0: byte(0x8b), byte(modrm(0, 0, 3)); break;   // mov eax, [rbx]
        case 1: byte(0x89), byte(modrm(0, 0, 3)); break;   // mov [rbx], eax
        case 2: byte(0x01), byte(modrm(0, 0, 3)); break;   // add [rbx], eax
        case 3: byte(0xff), byte(modrm(3, 4, 3)); break;   // jmp rbx
        case 4: byte(0xff), byte(modrm(0, 6, 3)); break;   // push [rbx]
        case 5: byte(0x8f), byte(modrm(0, 0, 3)); break;   // pop [rbx]
        default: byte(0xff), byte(modrm(3, 2, 3)); break;  // call rbx
    }
}

static void page_faults(void) {
    const uint32_t page = below(kWindowPages + 1) << 12;
    case_registers.bx = kWindow + 0x200000 * below(kWindowViews) + page + (one_in(2) ? below(0xff8) : 0xff8 + below(8));
    if (one_in(6)) case_registers.bx = (one_in(2) ? kHigh : 0) + kCode + below(0x100);
    access_at_bx();
}

// Addresses that are not canonical, or end where they cease to be.
static void addresses(void) {
    uint64_t address = one_in(2) ? made_hole_address() : one_in(2) ? kHole - below(9) : kHigh - 9 + below(9);
    if (mode.compatibility) address = kCode + below(0x100);  // where there are none
    switch (below(mode.compatibility ? 2 : 5)) {
        case 0: case_registers.bx = address, access_at_bx(); break;
        case 1:
            case_registers.di = address;
            if (one_in(2)) byte(0xf3), case_registers.cx = 4;
            byte(one_in(2) ? 0xab : 0xae);  // stos, scas
            break;
        case 2:
            case_registers.fs_base = case_registers.gs_base = kHigh + 8 * below(32);
            case_registers.bx = address - case_registers.fs_base;
            byte(0x64 + below(2)), access_at_bx();
            break;
        case 3:
            case_registers.bp = address;
            byte(one_in(2) ? 0x8b : 0x89), byte(modrm(1, 0, 5)), byte(below(16));  // mov eax, [rbp + n] and back
            break;
        default: case_registers.sp = address; byte(0x50 + 8 * below(2));  // push, pop
    }
}

static void translations(void) {
    case_registers.bx = one_in(3) ? made_hole_address() : kWindow;
    if (one_in(3)) byte(0x65);
    bytes2(0x0f, 0x01), byte(modrm(0, 7, 3));  // invlpg [rbx]
    if (one_in(2)) bytes2(0x0f, 0x01), byte(0xca + below(2));
}

static void ports(void) {
    // Ports of the bitmap that nothing answers at; what is read does not matter, and is not looked at.
    case_registers.flags &= ~0x100ul;
    case_registers.dx = 0xe0 + below(0x10);
    case_registers.ax = 0;
    size_prefix(), byte(0xec + below(4));
    bytes2(0x31, 0xc0);  // xor eax, eax
}

static void stack_steps(void) {
    const uint64_t edge = kWindow + 0x200000 * below(kWindowViews) + ((1ul + below(kWindowPages)) << 12);
    case_registers.sp = one_in(4) ? made_stack_address() : edge - 0x24 + 4 * below(18) + (one_in(4) ? below(4) : 0);
    case_registers.bp = edge + 4 * below(8) - 0x10;
    if (one_in(3)) byte(0x66);
    switch (below(8)) {
        case 0: byte(0x9c); break;                                              // pushf
        case 1: byte(0x9d); break;                                              // popf
        case 2: byte(0xc8), word(one_in(2) ? 0 : 0x40), byte(below(8)); break;  // enter
        case 3: byte(0xc9); break;                                              // leave
        case 4: byte(0x54); break;                                              // push rsp
        case 5: byte(0x5c); break;                                              // pop rsp
        case 6: byte(0x8f), byte(modrm(0, 0, 4)), byte(0x24); break;            // pop [rsp]
        default: byte(0xff), byte(modrm(0, 6, 4)), byte(0x24); break;           // push [rsp]
    }
}

// LOCK before what takes none, and more bytes than an instruction may have.
static void prefixes(void) {
    if (one_in(2)) {
        byte(0xf0);
    } else {
        for (unsigned n = 10 + below(5); n != 0; --n) byte(0x2e);
    }
    switch (below(5)) {
        case 0: bytes2(0x0f, 0x01), byte(0xf8); break;             // swapgs
        case 1: bytes2(0x0f, 0x20), byte(modrm(3, 0, 2)); break;   // mov edx, cr0
        case 2: bytes2(0x0f, 0x00), byte(modrm(3, 1, 1)); break;   // str ecx
        case 3: bytes2(0x0f, 0x01), data_operand(0, 0x80); break;  // sgdt
        default: case_registers.sp = kStackOfCase; byte(0xcf);     // iret
    }
}

const struct Kind kSystemKinds[] = {
    {"queries", queries},
    {"segment loads", segment_loads},
    {"table registers", table_registers},
    {"control registers", control_registers},
    {"debug registers", debug_registers},
    {"msrs", model_specific_registers},
    {"bases", bases},
    {"flags", flags},
    {"page faults", page_faults},
    {"page faults", page_faults},
    {"addresses", addresses},
    {"translations", translations},
    {"ports", ports},
    {"stack steps", stack_steps},
    {"prefixes", prefixes},
};
const unsigned kSystemKindCount = sizeof kSystemKinds / sizeof kSystemKinds[0];

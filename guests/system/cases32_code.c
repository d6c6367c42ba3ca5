// The instructions of a generated case: see cases32.h.
#include "cases32.h"

// A prefix that halves the operand, now and then.
static bool narrow(void) {
    if (!one_in(3)) return false;
    byte(0x66);
    return true;
}
// reg, [kData + offset]
static void memory_operand(uint32_t reg, uint32_t offset) {
    byte(modrm(0, reg, 5));
    dword(kData + offset);
}
// In virtual-8086 mode addresses have 16 bits: memory is what [BX] points at, somewhere in the first segment.
static void load_ax(uint32_t value) { byte(0xb8), dword(value); }  // 32-bit code only

// --- one function for each kind

static void queries(unsigned ring) {
    case_registers.ax = made_selector();
    for (unsigned n = 1 + below(3); n != 0; --n) {
        switch (below(5)) {
            case 0: narrow(), bytes2(0x0f, 0x02), byte(modrm(3, 1, 0)); break;   // lar ecx, eax
            case 1: narrow(), bytes2(0x0f, 0x03), byte(modrm(3, 2, 0)); break;   // lsl edx, eax
            case 2: bytes2(0x0f, 0x00), byte(modrm(3, 4 + below(2), 0)); break;  // verr, verw ax
            case 3: byte(0x63), byte(modrm(3, 1, 0)); break;                     // arpl ax, cx
            default:
                byte(0x05), word(made_selector());
                if (ring != kVirtual8086) word(0);
                break;  // add (e)ax
        }
    }
}

static void segment_loads(unsigned ring) {
    static const uint8_t kNumbers[6] = {0, 2, 3, 4, 5, 1};  // ES, SS, DS, FS, GS; CS is #UD
    const unsigned n = one_in(16) ? 5 : below(5);
    const uint32_t selector = one_in(3) && ring < 4 ? ring_data(ring) : made_selector();
    case_registers.ax = selector;
    switch (below(3)) {
        case 0: byte(0x8e), byte(modrm(3, kNumbers[n], 0)); break;
        case 1: {
            static const uint8_t kPop[5] = {0x07, 0x17, 0x1f, 0xa1, 0xa9};
            byte(0x50);  // push eax
            if (n > 2) byte(0x0f);
            byte(kPop[n % 5]);
            break;
        }
        default: {
            static const uint8_t kLoad[5] = {0xc4, 0xb2, 0xc5, 0xb4, 0xb5};
            *word_at(kData + 0x40) = chance();
            *word_at(kData + 0x44) = selector;
            if (n % 5 != 0 && n % 5 != 2) byte(0x0f);
            byte(kLoad[n % 5]);
            memory_operand(1, 0x40);
        }
    }
    if (n == 1 && one_in(2)) bytes2(0x89, modrm(3, 4, 5));  // mov esp, ebp: behind a load of SS
    if (one_in(3)) byte(0x8c), byte(modrm(3, kNumbers[n % 5], 3));
}

static void far_transfer(unsigned ring) {
    const uint32_t selector = one_in(4) && ring < 4 ? ring_code(ring) : made_selector();
    const uint32_t offset = made_code_offset();
    const bool call = one_in(2), half = narrow();
    if (one_in(2)) {
        byte(call ? 0x9a : 0xea);
        if (half != (ring == kVirtual8086))
            word(offset);
        else
            dword(offset);
        word(selector);
        return;
    }
    *word_at(kData + 0x40) = half ? (offset & 0xffff) | selector << 16 : offset;
    *word_at(kData + 0x44) = selector;
    byte(0xff);
    memory_operand(call ? 3 : 5, 0x40);
}

static void far_return(unsigned ring) {
    (void)ring;
    narrow();
    if (one_in(2))
        byte(0xcb);
    else
        byte(0xca), word(one_in(2) ? 4 * below(8) : chance());
}

// What IRET finds on the stack is made here, so that each field is mostly right.
static void interrupt_return(unsigned ring) {
    const unsigned to = one_in(3) ? below(4) : ring == kVirtual8086 ? 0 : ring + below(4 - ring);
    const bool half = narrow();
    uint32_t frame[9] = {made_code_offset(), one_in(5) ? made_selector() : ring_code(to), made_flags(),
                         kStackOfCase - 0x400, one_in(5) ? made_selector() : ring_data(to)};
    if (ring == 0 && one_in(4)) {  // to virtual-8086 mode
        frame[0] = one_in(6) ? 0x10000 : below(0x10000);
        frame[1] = below(0x9000), frame[2] |= 0x20000, frame[4] = 0x2000, frame[3] = 0x1000;
    }
    for (unsigned i = 5; i < 9; ++i) frame[i] = one_in(2) ? chance() & 0xffff : made_selector();
    for (unsigned i = 0; i < 9; ++i) {
        if (half)
            ((volatile uint16_t*)kStackOfCase)[i] = (uint16_t)frame[i];
        else
            *word_at(kStackOfCase + 4 * i) = frame[i];
    }
    byte(0xcf);
}

static void task_return(unsigned ring) {
    case_registers.flags |= 0x4000;
    (void)ring;
    narrow();
    byte(0xcf);
}

static void software_interrupt(unsigned ring) {
    (void)ring;
    switch (below(10)) {
        case 0: byte(0xce); break;  // into
        case 1: byte(0xcd), byte(below(kIdtEntries + 4)); break;
        default: byte(0xcd), byte(kFirstMadeGate + below(kIdtEntries - kFirstMadeGate)); break;
    }
}

static void table_registers(unsigned ring) {
    (void)ring;
    case_registers.ax = made_selector();
    switch (below(8)) {
        case 0: bytes2(0x0f, 0x00), byte(modrm(3, 2, 0)); break;                   // lldt ax
        case 1: bytes2(0x0f, 0x00), byte(modrm(3, 3, 0)); break;                   // ltr ax
        case 2: narrow(), bytes2(0x0f, 0x00), byte(modrm(3, below(2), 1)); break;  // sldt, str ecx
        case 3: bytes2(0x0f, 0x01), memory_operand(below(2), 0x80); break;         // sgdt, sidt
        case 4: narrow(), bytes2(0x0f, 0x01), byte(modrm(3, 4, 1)); break;         // smsw ecx
        case 5:
            case_registers.ax = below(16);
            bytes2(0x0f, 0x01), byte(modrm(3, 6, 0));  // lmsw ax
            break;
        case 6: bytes2(0x0f, 0x06); break;  // clts
        default:                            // ltr or lldt of what is one, and STR behind it
            case_registers.ax = one_in(2) ? kLdtSelector : kDoubleFaultTask;
            bytes2(0x0f, 0x00), byte(modrm(3, case_registers.ax == kLdtSelector ? 2 : 3, 0));
            bytes2(0x0f, 0x00), byte(modrm(3, 1, 2));
    }
}

static void control_registers(unsigned ring) {
    if (one_in(2)) {  // debug registers
        static const uint32_t kControls[4] = {0, 0x400, 0x2400, 0xffff0fff};
        const unsigned n = below(8);
        case_registers.ax = n == 7 ? kControls[below(3)] : one_in(2) ? chance() : kData;
        bytes2(0x0f, 0x23), byte(modrm(3, n, 0));
        bytes2(0x0f, 0x21), byte(modrm(3, below(8), 2));
        return;
    }
    const unsigned n = one_in(8) ? below(8) : below(2) * 2 + (one_in(3) ? 2 : 0);
    if (one_in(3)) {
        bytes2(0x0f, 0x20), byte(modrm(3, n, 2));
        return;
    }
    // Nothing that takes the ground from under us: PE and PG stay, CR3 is read only.
    uint32_t value = chance();
    if (n == 0) value = 0x80000001 | (chance() & 0x0005003e) | (one_in(4) ? 0x20000000 : 0);
    if (n == 4) value = chance() & 0x79c;  // nothing reserved: QEMU 7.2 hangs at that
    if (ring == kVirtual8086) {
        case_registers.ax = value;
    } else if (n == 3) {
        bytes2(0x0f, 0x20), byte(modrm(3, 3, 0));
    } else {
        load_ax(value);
    }
    bytes2(0x0f, 0x22), byte(modrm(3, n, 0));
    bytes2(0x0f, 0x20), byte(modrm(3, n, 2));
}

static void flags(unsigned ring) {
    (void)ring;
    static const uint8_t kShort[6] = {0xfa, 0xfb, 0xfc, 0xfd, 0x9c, 0x9c};  // cli, sti, cld, std, pushf
    for (unsigned n = 1 + below(2); n != 0; --n) {
        if (one_in(2)) {
            narrow(), byte(kShort[below(6)]);
            continue;
        }
        byte(0x68);
        if (ring == kVirtual8086)
            word(made_flags() & ~0x100u);
        else
            dword(made_flags() & (one_in(3) ? ~0u : ~0x100u));
        narrow(), byte(0x9d);  // popf
    }
}

static void page_faults(unsigned ring) {
    (void)ring;
    const uint32_t address = kWindow + (below(kWindowPages + 1) << 12) + (one_in(2) ? below(0xffd) : 0xffc + below(4));
    case_registers.bx = address;
    if (one_in(4)) {  // write protection for ring 0
        bytes2(0x0f, 0x20), byte(modrm(3, 0, 0));
        byte(0x25), dword(0xfffeffff);
        bytes2(0x0f, 0x22), byte(modrm(3, 0, 0));
    }
    switch (below(6)) {
        case 0: byte(0x8b), byte(modrm(0, 0, 3)); break;   // mov eax, [ebx]
        case 1: byte(0x89), byte(modrm(0, 0, 3)); break;   // mov [ebx], eax
        case 2: byte(0x01), byte(modrm(0, 0, 3)); break;   // add [ebx], eax
        case 3: byte(0xff), byte(modrm(3, 4, 3)); break;   // jmp ebx
        case 4: byte(0xff), byte(modrm(0, 6, 3)); break;   // push [ebx]
        default: byte(0x8f), byte(modrm(0, 0, 3)); break;  // pop [ebx]
    }
}

static void ports(unsigned ring) {
    (void)ring;
    // Ports of the bitmap that nothing answers at; what is read does not matter.
    static const uint8_t kForms[8] = {0xec, 0xed, 0xee, 0xef, 0xec, 0xed, 0xee, 0xef};
    case_registers.dx = 0xe0 + below(0x10);
    case_registers.ax = 0;
    narrow(), byte(kForms[below(8)]);
    bytes2(0x31, 0xc0);  // xor eax, eax
}

static void stack_steps(unsigned ring) {
    (void)ring;
    // With the stack at the edge of the window's pages.
    if (one_in(2)) {
        byte(0xbc);  // mov esp
        const uint32_t edge = kWindow + ((1 + below(kWindowPages)) << 12);
        const uint32_t top = edge - 0x24 + 4 * below(18) + (one_in(4) ? below(4) : 0);
        if (ring == kVirtual8086)
            word(top);
        else
            dword(top);
        case_registers.bp = edge + 4 * below(8) - 0x10;
    }
    narrow();
    switch (below(9)) {
        case 0: byte(0x60); break;                                              // pusha
        case 1: byte(0x61); break;                                              // popa
        case 2: byte(0xc8), word(one_in(2) ? 0 : 0x40), byte(below(8)); break;  // enter
        case 3: byte(0xc9); break;                                              // leave
        case 4: byte(0x54); break;                                              // push esp
        case 5: byte(0x5c); break;                                              // pop esp
        case 6: byte(0x8f), byte(modrm(0, 0, 4)), byte(0x24); break;            // pop [esp]
        case 7: byte(0xff), byte(modrm(0, 6, 4)), byte(0x24); break;            // push [esp]
        default: byte(0xe8), dword(0xffff8000 + below(0x4000)); break;          // call into the INT3s
    }
}

static void system_calls(unsigned ring) {
    (void)ring;
    case_registers.dx = made_code_offset();
    case_registers.cx = kStackOfCase - 0x200;
    bytes2(0x0f, one_in(2) ? 0x34 : 0x35);  // sysenter, sysexit
}

struct Kind {
    const char* name;
    void (*make)(unsigned ring);
    bool virtual8086;  // as well
};
static const struct Kind kKinds[] = {
    {"queries", queries, true},
    {"segment loads", segment_loads, false},
    {"far transfer", far_transfer, false},
    {"far transfer", far_transfer, false},
    {"far return", far_return, false},
    {"interrupt return", interrupt_return, true},
    {"interrupt return", interrupt_return, false},
    {"task return", task_return, false},
    {"software interrupt", software_interrupt, true},
    {"software interrupt", software_interrupt, true},
    {"table registers", table_registers, true},
    {"control registers", control_registers, true},
    {"flags", flags, true},
    {"page faults", page_faults, false},
    {"ports", ports, true},
    {"stack steps", stack_steps, false},
    {"system calls", system_calls, true},
};

unsigned make_code(unsigned ring, const char** kind) {
    const struct Kind* chosen = NULL;
    do {
        chosen = &kKinds[below(sizeof kKinds / sizeof kKinds[0])];
    } while (ring == kVirtual8086 && !chosen->virtual8086);
    *kind = chosen->name;
    const uint32_t begin = ring == kVirtual8086 ? 0x8000 : kEntry;
    code_at = begin;
    chosen->make(ring);
    return code_at - begin;
}

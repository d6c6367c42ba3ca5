// The instructions of a generated case in long mode that go elsewhere: see cases64.h.
#include "cases64.h"

// QEMU's TCG knows only 32 bits of RSP in transfers with narrower operands.
static void take_low_stack(enum Size size) {
    if (size != kSize64) case_registers.sp = kStackOfCase;
}

static void far_transfer(void) {
    const uint64_t offset = made_code_address();
    const uint32_t selector = one_in(4)   ? ring_code(mode.ring)
                              : one_in(4) ? compatibility_code(mode.ring)
                                          : made_selector();
    const bool call = one_in(2);
    const enum Size size = size_prefix();
    take_low_stack(size);
    if (mode.compatibility && one_in(2)) {
        byte(call ? 0x9a : 0xea);
        if (size == kSize16)
            word((uint32_t)offset);
        else
            dword((uint32_t)offset);
        word(selector);
        return;
    }
    const uint32_t bytes = size == kSize16 ? 2 : size == kSize32 ? 4 : 8;
    *data_at(0x40) = offset;
    *(volatile uint16_t*)(unsigned long)(kData + 0x40 + bytes) = (uint16_t)selector;
    byte(0xff);
    data_operand(call ? 3 : 5, 0x40);
}

// What a return finds on the stack, from RIP on; each field is mostly right.
static void put_frame(enum Size size, const uint64_t* fields, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
        if (size == kSize16)
            ((volatile uint16_t*)kStackOfCase)[i] = (uint16_t)fields[i];
        else if (size == kSize32)
            *word_at(kStackOfCase + 4 * i) = (uint32_t)fields[i];
        else
            ((volatile uint64_t*)kStackOfCase)[i] = fields[i];
    }
}

static uint32_t returned_code(unsigned to) {
    return one_in(6) ? made_selector() : one_in(3) ? compatibility_code(to) : ring_code(to);
}
static uint32_t returned_stack(unsigned to) { return one_in(6) ? made_selector() : one_in(4) ? to : ring_data(to); }
static unsigned returned_ring(void) {
    return one_in(6) ? below(4) : one_in(3) ? mode.ring : mode.ring + below(4 - mode.ring);
}

static void far_return(void) {
    const enum Size size = size_prefix();
    const unsigned to = returned_ring();
    const bool releases = one_in(2);
    const uint32_t released = !releases ? 0 : one_in(6) ? chance() & 0xffff : 8 * below(4);
    uint64_t frame[16] = {made_code_address(), returned_code(to)};
    const unsigned bytes = size == kSize16 ? 2 : size == kSize32 ? 4 : 8, behind = 2 + (released / bytes) % 13;
    frame[behind] = made_stack_address(), frame[behind + 1 < 16 ? behind + 1 : 15] = returned_stack(to);
    put_frame(size, frame, 16);
    take_low_stack(size);
    if (releases)
        byte(0xca), word(released);
    else
        byte(0xcb);
}

static void interrupt_return(void) {
    const enum Size size = one_in(3) || mode.compatibility ? size_prefix() : (byte(0x48), kSize64);
    const unsigned to = returned_ring();
    const uint64_t frame[5] = {made_code_address(), returned_code(to), made_flags(), made_stack_address(),
                               returned_stack(to)};
    put_frame(size, frame, 5);
    take_low_stack(size);
    if (one_in(16)) case_registers.flags |= 0x4000;  // NT
    byte(0xcf);
}

static void software_interrupt(void) {
    switch (below(10)) {
        case 0: byte(0xcc); break;  // int3; QEMU's TCG knows no int1
        case 1: byte(0xcd), byte(below(kIdtEntries + 4)); break;
        case 2: byte(0xce); break;  // into: #UD in 64-bit code
        default: byte(0xcd), byte(kFirstMadeGate + below(kIdtEntries - kFirstMadeGate)); break;
    }
}

// On a stack that may be no good for what the exception pushes.
static void exceptions(void) {
    if (!mode.compatibility) case_registers.sp = made_stack_address();
    switch (below(6)) {
        case 0: bytes2(0x0f, 0x0b); break;                  // ud2
        case 1: bytes2(0xf6, modrm(3, 6, 1)); break;        // div cl
        case 2: byte(mode.ring == 0 ? 0xcc : 0xf4); break;  // hlt: nothing would wake it
        case 3: byte(0x50); break;                          // push rax
        case 4: byte(0x58); break;                          // pop rax
        default: byte(0xcc); break;
    }
}

static void system_calls(void) {
    case_registers.dx = one_in(2) ? made_code_address() : kCode + 0x3000;
    case_registers.cx = one_in(2) ? made_code_address() : kCode + 0x4000;
    case_registers.r11 = one_in(2) ? made_flags() : (uint64_t)chance() << 32 | chance();
    const bool wide = !mode.compatibility && one_in(2);
    if (wide) byte(0x48);
    static const uint8_t kNumbers[4] = {0x05, 0x07, 0x34, 0x35};  // syscall, sysret, sysenter, sysexit
    bytes2(0x0f, kNumbers[below(4)]);
}

static void swap_bases(void) {
    case_registers.cx = kCode + 0x3000;
    case_registers.r11 = made_flags();
    bytes2(0x0f, 0x01), byte(0xf8);                             // swapgs
    if (one_in(2)) byte(0x65), byte(0x8b), data_operand(0, 0);  // mov eax, gs:[rsi]
    if (one_in(2)) bytes2(0x0f, one_in(2) ? 0x05 : 0x07);       // syscall, sysret
}

// Those that a trap behind each step follows into handlers, and out of them.
static void single_steps(void) {
    case_registers.flags |= 0x100;
    switch (below(6)) {
        case 0: far_transfer(); break;
        case 1: interrupt_return(); break;
        case 2: software_interrupt(); break;
        case 3: system_calls(); break;
        case 4: far_return(); break;
        default: byte(0x90); break;
    }
}

const struct Kind kTransferKinds[] = {
    {"far transfer", far_transfer},
    {"far transfer", far_transfer},
    {"far return", far_return},
    {"interrupt return", interrupt_return},
    {"interrupt return", interrupt_return},
    {"software interrupt", software_interrupt},
    {"software interrupt", software_interrupt},
    {"exceptions", exceptions},
    {"system calls", system_calls},
    {"swap bases", swap_bases},
    {"single steps", single_steps},
};
const unsigned kTransferKindCount = sizeof kTransferKinds / sizeof kTransferKinds[0];

// What every threaded handler is made of: going on, leaving, registers, memory.
//
// A handler does one instruction and jumps to the next one's. Whatever is not the common case (a TLB miss, a device, a
// fault, a segment that is not flat) it hands, before it has changed anything, to `reference`, which runs the readable
// implementation of the same instruction.
#pragma once

#include <cstring>

#include "../block_cache.h"
#include "../flags.h"

// Threaded: each handler ends with a jump to the next, which the compiler makes of a call in tail position (always with
// clang's attribute, at -O2 with GCC). Where that cannot be relied on (no optimisation, sanitizers), handlers return
// and a loop calls the next.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(DUALVM_NO_THREADING)
#define DUALVM_THREADED 1
#else
#define DUALVM_THREADED 0
#endif

#if defined(__clang__)
#define DUALVM_TAIL [[clang::musttail]] return
#else
#define DUALVM_TAIL return
#endif

// What every handler is given (block.h says what it is), and what it gives on.
#define DUALVM_ARGUMENTS State *s, const Op *op, i64 ticks, u32 flags, [[maybe_unused]] u64 sp
#define DUALVM_PASS s, op, ticks, flags, sp

#if DUALVM_THREADED
#define DUALVM_GO(OP) DUALVM_TAIL(OP)->run(s, (OP), ticks, flags, sp)
#else
#define DUALVM_GO(OP)      \
    do {                   \
        s->next_op = (OP); \
        s->ticks = ticks;  \
        s->flags = flags;  \
        return;            \
    } while (false)
#endif
// On to the next instruction of the block.
#define DUALVM_NEXT DUALVM_GO(op + 1)

namespace dualvm::interp::fast {

// Leaves the chain: the engine's loop takes over.
inline void leave(State* s, const Op* op, i64 ticks, u32 flags, Leave reason) {
    s->ticks = ticks;
    s->flags = flags;
    s->op = op;
    s->next_op = nullptr;
    s->leave_reason = reason;
}

// Runs the reference implementation of `op`'s instruction. The slow path of every handler, and the only path of
// instructions that have no fast form.
void reference(DUALVM_ARGUMENTS);

// --- steps
// ------------------------------------------------------------------------------------------------------------

// A step is what one instruction does, without the way on: it returns false, and has changed nothing, where the
// instruction is not the common case. `flags` and `sp` are the handler's arguments.
#define DUALVM_STEP [[gnu::always_inline]] inline bool
#define DUALVM_STEP_ARGUMENTS \
    [[maybe_unused]] State *s, [[maybe_unused]] const Op *op, [[maybe_unused]] u32 &flags, [[maybe_unused]] u64 &sp
using Step = bool (*)(State* s, const Op* op, u32& flags, u64& sp);

// Who takes over from a step that returned false.
template <Step kStep>
inline constexpr Handler kOtherwise = reference;

// The handler that takes one step, and the one that takes two in a row (pairs.cc).
template <Step kStep>
void single(DUALVM_ARGUMENTS) {
    if (__builtin_expect(!kStep(s, op, flags, sp), 0)) DUALVM_TAIL kOtherwise<kStep>(DUALVM_PASS);
    DUALVM_NEXT;
}
template <Step kFirst, Step kSecond>
void pair(DUALVM_ARGUMENTS) {
    if (__builtin_expect(!kFirst(s, op, flags, sp), 0)) DUALVM_TAIL kOtherwise<kFirst>(DUALVM_PASS);
    ++op;
    if (__builtin_expect(!kSecond(s, op, flags, sp), 0)) DUALVM_TAIL kOtherwise<kSecond>(DUALVM_PASS);
    DUALVM_NEXT;
}

// --- registers: by byte offset into State
// -----------------------------------------------------------------------------

template <class T>
inline T get(const State* s, u16 offset) {
    T value;
    std::memcpy(&value, reinterpret_cast<const char*>(s) + offset, sizeof value);
    return value;
}
// A 32-bit result clears the upper half (SDM vol. 1, 3.4.1.1).
template <class T>
inline void set(State* s, u16 offset, T value) {
    if constexpr (sizeof(T) == 4) {
        const u64 wide = value;
        std::memcpy(reinterpret_cast<char*>(s) + offset, &wide, sizeof wide);
    } else {
        std::memcpy(reinterpret_cast<char*>(s) + offset, &value, sizeof value);
    }
}

// --- memory
// -----------------------------------------------------------------------------------------------------------

// How an operand's linear address is made. Flat segments only; FS and GS add their base in 64-bit code.
enum class Form : u8 {
    Base,       // base + displacement
    Indexed,    // base + (index << scale) + displacement
    Segment,    // the same + FS.base or GS.base
    Address32,  // base + (index << scale) + displacement, modulo 2^32
};

template <Form kForm>
inline u64 address(const State* s, const Op* op) {
    u64 a = get<u64>(s, op->base) + op->displacement;
    if constexpr (kForm != Form::Base) a += get<u64>(s, op->index) << op->at.scale;
    if constexpr (kForm == Form::Segment) a += s->cpu.segments.seg[op->at.segment].base;
    if constexpr (kForm == Form::Address32) a &= 0xffffffff;
    return a;
}

// What an access looks for in the TLB: the tag of the page of its last byte. No entry has it if the operand lies as it
// must not.
template <unsigned kSize>
struct Unaligned {
    static u64 wanted(u64 linear) { return TlbEntry::tag_of(linear + kSize - 1); }
};
template <unsigned kSize>
struct Aligned {
    static u64 wanted(u64 linear) { return (linear + kSize - 1) | (kPageMask & ~u64{kSize - 1}); }
};

// The host address of what begins at `linear`, or nullptr: not in the TLB, across a page, or not aligned.
template <class Lies, const TlbEntry* State::*kTable>
inline u8* host_in(const State* s, u64 linear) {
    const TlbEntry* entry = &(s->*kTable)[TlbTable::index(linear)];
    if (__builtin_expect(entry->tag != Lies::wanted(linear), 0)) return nullptr;
    u8* host = reinterpret_cast<u8*>(linear + entry->addend);
    if (host == nullptr) __builtin_unreachable();  // the caller's question is answered: it need not ask again
    return host;
}
template <unsigned kSize>
inline u8* host_to_read(const State* s, u64 linear) {
    return host_in<Unaligned<kSize>, &State::tlb_read>(s, linear);
}
template <unsigned kSize>
inline u8* host_to_write(const State* s, u64 linear) {
    return host_in<Unaligned<kSize>, &State::tlb_write>(s, linear);
}
inline u8* host_to_read_aligned(const State* s, u64 linear) {
    return host_in<Aligned<16>, &State::tlb_read>(s, linear);
}
inline u8* host_to_write_aligned(const State* s, u64 linear) {
    return host_in<Aligned<16>, &State::tlb_write>(s, linear);
}
template <class T>
inline T load(const u8* host) {
    T value;
    std::memcpy(&value, host, sizeof value);
    return value;
}
template <class T>
inline void store(u8* host, T value) {
    std::memcpy(host, &value, sizeof value);
}

// --- going to another block
// ---------------------------------------------------------------------------------------------

// The slice has no room for the block that begins with `op`, whose instructions `ticks` has lost already.
void out_of_budget(DUALVM_ARGUMENTS);

// On into a block, if the slice has room for it.
#define DUALVM_ENTER(BLOCK)                                                                                  \
    do {                                                                                                     \
        const Block* entered_ = (BLOCK);                                                                     \
        ticks -= entered_->count;                                                                            \
        if (__builtin_expect(ticks < 0, 0)) DUALVM_TAIL out_of_budget(s, entered_->ops(), ticks, flags, sp); \
        DUALVM_GO(entered_->ops());                                                                          \
    } while (false)

// --- choosing a handler
// -------------------------------------------------------------------------------------------------

// What the translator knows of an instruction when it asks for a handler.
struct Choice {
    const Insn* insn = nullptr;
    u32 mode = 0;             // ModeKey
    bool flags_dead = false;  // nobody will read the flags this instruction writes
    Form form = Form::Base;   // of the memory operand
    bool far_link = false;    // a branch whose target or next block lies in another page
    u64 next_rip = 0;         // of the instruction behind
};

// The handler that `make`, a template by form or by type, gives for what is known only now.
template <class Make>
Handler by_form(Form form, Make make) {
    switch (form) {
        case Form::Base: return make.template operator()<Form::Base>();
        case Form::Indexed: return make.template operator()<Form::Indexed>();
        case Form::Segment: return make.template operator()<Form::Segment>();
        case Form::Address32: return make.template operator()<Form::Address32>();
    }
    return nullptr;
}
template <class Make>
Handler by_size(unsigned size, Make make) {
    switch (size) {
        case 1: return make.template operator()<u8>();
        case 2: return make.template operator()<u16>();
        case 4: return make.template operator()<u32>();
        case 8: return make.template operator()<u64>();
        default: return nullptr;
    }
}

// Each returns nullptr where it has no fast form. They may fill in fields of `op`.
Handler choose_arithmetic(const Choice& choice, Op& op);
Handler choose_move(const Choice& choice, Op& op);
// Of instructions that change RSP: only these know that it also travels as an argument.
Handler choose_stack(const Choice& choice, Op& op);
bool moves_stack_pointer(const Insn& insn);
Handler choose_shift(const Choice& choice, Op& op);
Handler choose_bit(const Choice& choice, Op& op);
Handler choose_exchange(const Choice& choice, Op& op);
Handler choose_branch(const Choice& choice, Op& op);
Handler choose_sse_move(const Choice& choice, Op& op);
Handler choose_sse_integer(const Choice& choice, Op& op);
Handler choose_sse_routine(const Choice& choice, Op& op);
Handler choose_x87(const Choice& choice, Op& op);  // and MMX
// These work by MXCSR and leave their flags in it: the first of a block runs behind `take_mxcsr`.
Handler choose_sse_float(const Choice& choice, Op& op);
Handler choose_sse_convert(const Choice& choice, Op& op);
// A handler that takes the steps of two handlers, or nullptr.
Handler choose_pair(Handler first, Handler second);
Handler choose_sse_pair(Handler first, Handler second);

// A handler that does `first` and the conditional branch behind it, or nullptr.
// Only for branches whose two ends lie in the same page.
Handler choose_fused(const Insn& first, Form form, const Insn& branch);

// Puts the guest's MXCSR into the host's unless it is there, and goes on with the handler in Op::imm.
void take_mxcsr(DUALVM_ARGUMENTS);

// The pseudo-operation behind the last instruction of a block, for a next one in the same page.
void fall_through(DUALVM_ARGUMENTS);

// Byte offsets for Op: of a general register operand, and of an address register.
u16 register_offset(const Operand& operand);
u16 address_register_offset(u8 reg);

}  // namespace dualvm::interp::fast

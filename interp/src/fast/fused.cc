// Pairs that are one handler: CMP, TEST, ADD, SUB, AND, INC, DEC and the conditional branch behind them.
//
// The branch keeps its own Op, which the pair's handler reads at op + 1. The flags are kept all the same, for whoever
// comes behind the branch; the branch itself takes the host's condition straight from the host's flags.
#include <Zydis/Zydis.h>

#include "branch.h"
#include "conditions.h"

namespace dualvm::interp::fast {

namespace {

// The sixteen conditions as asm flag outputs, in the order of the opcodes. clang-format would lay this out anew each
// time it is asked.
// clang-format off
#define DUALVM_FOR_EACH_CONDITION(X) \
    X(0, "o")  X(1, "no")  X(2, "b")  X(3, "nb") X(4, "z")  X(5, "nz") X(6, "be")  X(7, "nbe") \
    X(8, "s")  X(9, "ns")  X(10, "p") X(11, "np") X(12, "l") X(13, "nl") X(14, "le") X(15, "nle")
// clang-format on

struct FusedCmp {
    static constexpr bool kWrites = false;
    template <unsigned kCondition, class T>
    static bool run(T& a, T b, u32& f) {
        bool taken = false;
#define X(N, NAME) \
    if constexpr (kCondition == N) asm("cmp %3, %2" DUALVM_KEEP_FLAGS : "=a"(f), "=@cc" NAME(taken) : "q"(a), "q"(b));
        DUALVM_FOR_EACH_CONDITION(X)
#undef X
        return taken;
    }
};

struct FusedTest {
    static constexpr bool kWrites = false;
    template <unsigned kCondition, class T>
    static bool run(T& a, T b, u32& f) {
        bool taken = false;
#define X(N, NAME) \
    if constexpr (kCondition == N) asm("test %3, %2" DUALVM_KEEP_FLAGS : "=a"(f), "=@cc" NAME(taken) : "q"(a), "q"(b));
        DUALVM_FOR_EACH_CONDITION(X)
#undef X
        return taken;
    }
};

// ADD, SUB and AND are followed by every kind of condition, but nearly always by these: the flags decide.
template <class Operation>
struct FusedBinary {
    static constexpr bool kWrites = true;
    template <unsigned kCondition, class T>
    static bool run(T& a, T b, u32& f) {
        Operation::with_flags(a, b, f);
        return condition<kCondition>(f);
    }
};

template <class Operation>
struct RegisterRegister {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        T a = get<T>(s, op->dst);
        const bool taken = Operation::template run<kCondition, T>(a, get<T>(s, op->src), flags);
        if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
        if (taken) DUALVM_TAKE(op + 1, taken);
        DUALVM_TAKE(op + 1, fall);
    }
};

template <class Operation>
struct RegisterImmediate {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        T a = get<T>(s, op->dst);
        const bool taken = Operation::template run<kCondition, T>(a, static_cast<T>(op->imm), flags);
        if constexpr (Operation::kWrites) set<T>(s, op->dst, a);
        if (taken) DUALVM_TAKE(op + 1, taken);
        DUALVM_TAKE(op + 1, fall);
    }
};

template <class Operation, Form kForm>
struct MemoryImmediate {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
        if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
        T a = load<T>(m);
        const bool taken = Operation::template run<kCondition, T>(a, static_cast<T>(op->imm), flags);
        if (taken) DUALVM_TAKE(op + 1, taken);
        DUALVM_TAKE(op + 1, fall);
    }
};

template <class Operation, Form kForm>
struct RegisterMemory {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        const u8* m = host_to_read<sizeof(T)>(s, address<kForm>(s, op));
        if (__builtin_expect(m == nullptr, 0)) DUALVM_TAIL reference(DUALVM_PASS);
        T a = get<T>(s, op->dst);
        const bool taken = Operation::template run<kCondition, T>(a, load<T>(m), flags);
        if (taken) DUALVM_TAKE(op + 1, taken);
        DUALVM_TAKE(op + 1, fall);
    }
};

template <class Operation>
struct Unary {
    template <unsigned kCondition, class T>
    static void run(DUALVM_ARGUMENTS) {
        T a = get<T>(s, op->dst);
        Operation::with_flags(a, flags);
        set<T>(s, op->dst, a);
        if (condition<kCondition>(flags)) DUALVM_TAKE(op + 1, taken);
        DUALVM_TAKE(op + 1, fall);
    }
};

template <class Family>
Handler sized(unsigned size, unsigned code) {
    switch (size) {
        case 1: return by_condition<Family, u8>(code);
        case 4: return by_condition<Family, u32>(code);
        case 8: return by_condition<Family, u64>(code);
        default: return nullptr;
    }
}

template <class Operation>
Handler choose_compare(const Insn& first, Form form, unsigned code) {
    const Operand &a = first.operand[0], &b = first.operand[1];
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Gpr) {
        return sized<RegisterRegister<Operation>>(a.size, code);
    }
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Immediate) {
        return sized<RegisterImmediate<Operation>>(a.size, code);
    }
    if (a.kind == OperandKind::Memory && b.kind == OperandKind::Immediate) {
        if (form == Form::Base) return sized<MemoryImmediate<Operation, Form::Base>>(a.size, code);
        if (form == Form::Indexed) return sized<MemoryImmediate<Operation, Form::Indexed>>(a.size, code);
    }
    if (a.kind == OperandKind::Gpr && b.kind == OperandKind::Memory) {
        if (form == Form::Base) return sized<RegisterMemory<Operation, Form::Base>>(a.size, code);
        if (form == Form::Indexed) return sized<RegisterMemory<Operation, Form::Indexed>>(a.size, code);
    }
    return nullptr;
}

template <class Operation>
Handler choose_binary(const Insn& first, unsigned code) {
    const Operand &a = first.operand[0], &b = first.operand[1];
    if (a.kind != OperandKind::Gpr || a.size < 4) return nullptr;
    if (b.kind == OperandKind::Gpr) {
        return a.size == 8 ? by_condition<RegisterRegister<FusedBinary<Operation>>, u64>(code)
                           : by_condition<RegisterRegister<FusedBinary<Operation>>, u32>(code);
    }
    if (b.kind != OperandKind::Immediate) return nullptr;
    return a.size == 8 ? by_condition<RegisterImmediate<FusedBinary<Operation>>, u64>(code)
                       : by_condition<RegisterImmediate<FusedBinary<Operation>>, u32>(code);
}

template <class Operation>
Handler choose_unary(const Insn& first, unsigned code) {
    const Operand& a = first.operand[0];
    if (a.kind != OperandKind::Gpr || a.size < 4) return nullptr;
    return a.size == 8 ? by_condition<Unary<Operation>, u64>(code) : by_condition<Unary<Operation>, u32>(code);
}

}  // namespace

Handler choose_fused(const Insn& first, Form form, const Insn& branch) {
    const int condition_code = jump_condition(branch.mnemonic);
    if (condition_code < 0) return nullptr;
    const auto code = static_cast<unsigned>(condition_code);
    switch (first.mnemonic) {
        case ZYDIS_MNEMONIC_CMP: return choose_compare<FusedCmp>(first, form, code);
        case ZYDIS_MNEMONIC_TEST: return choose_compare<FusedTest>(first, form, code);
        case ZYDIS_MNEMONIC_ADD: return choose_binary<Add>(first, code);
        case ZYDIS_MNEMONIC_SUB: return choose_binary<Sub>(first, code);
        case ZYDIS_MNEMONIC_AND: return choose_binary<And>(first, code);
        case ZYDIS_MNEMONIC_INC: return choose_unary<Inc>(first, code);
        case ZYDIS_MNEMONIC_DEC: return choose_unary<Dec>(first, code);
        default: return nullptr;
    }
}

}  // namespace dualvm::interp::fast

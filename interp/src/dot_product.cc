#include "dot_product.h"

#include <Zydis/Zydis.h>

#include <bit>
#include <cstring>

#include "sse_exceptions.h"

namespace dualvm::interp {

namespace {

using Floats = float __attribute__((vector_size(16)));
using Doubles = double __attribute__((vector_size(16)));

struct Step {
    bool multiply, doubles;
};

// One packed multiplication or addition with all exceptions masked: a := a op b. Returns the flags that it raised.
u32 compute(Step step, Floats& a, Floats b, u32 mxcsr) {
    const u32 host = __builtin_ia32_stmxcsr(), masked = (mxcsr | FxImage::kMxcsrMasks) & ~kMxcsrFlags;
    u32 after = 0;
#define DUALVM_COMPUTE(OPERATION)                                                                       \
    asm volatile("ldmxcsr %[masked]\n\t" OPERATION " %[b], %[a]\n\tstmxcsr %[after]\n\tldmxcsr %[host]" \
                 : [a] "+x"(a), [after] "=m"(after)                                                     \
                 : [b] "x"(b), [masked] "m"(masked), [host] "m"(host))
    if (step.multiply && step.doubles)
        DUALVM_COMPUTE("mulpd");
    else if (step.multiply)
        DUALVM_COMPUTE("mulps");
    else if (step.doubles)
        DUALVM_COMPUTE("addpd");
    else
        DUALVM_COMPUTE("addps");
#undef DUALVM_COMPUTE
    return after & kMxcsrFlags;
}

// The steps of one dot product, up to the first that raises an exception which is not masked.
class Steps {
public:
    explicit Steps(u32 guest) : guest_(guest) {}
    // False: it is the last. The result is in `a`.
    bool go(Step step, Floats& a, Floats b) {
        const Floats operand = a;
        const u32 raised = compute(step, a, b, guest_);
        flags_ |= raised_exceptions(raised, guest_, [&](u32 mxcsr) {
            Floats ignored = operand;
            return compute(step, ignored, b, mxcsr);
        });
        return (flags_ & unmasked_exceptions(guest_)) == 0;
    }
    u32 flags() const { return flags_; }

private:
    u32 guest_, flags_ = 0;
};

}  // namespace

bool is_dot_product(const Insn& insn) {
    return insn.mnemonic == ZYDIS_MNEMONIC_DPPS || insn.mnemonic == ZYDIS_MNEMONIC_DPPD;
}

u32 dot_product_flags(const Insn& insn, const FxImage& before, const void* memory) {
    const bool doubles = insn.mnemonic == ZYDIS_MNEMONIC_DPPD;
    const u64 selected = insn.operand[2].imm >> 4;  // elements that are multiplied; the others' products are 0
    Floats a, b;
    std::memcpy(&a, before.xmm[insn.operand[0].reg].data(), sizeof a);
    std::memcpy(&b, insn.operand[1].kind == OperandKind::Memory ? memory : before.xmm[insn.operand[1].reg].data(),
                sizeof b);
    Steps steps(before.mxcsr);
    if (doubles) {
        Doubles da = std::bit_cast<Doubles>(a), db = std::bit_cast<Doubles>(b);
        for (unsigned i = 0; i < 2; ++i)
            if ((selected >> i & 1) == 0) da[i] = db[i] = 0;
        a = std::bit_cast<Floats>(da);
        if (!steps.go({.multiply = true, .doubles = true}, a, std::bit_cast<Floats>(db))) return steps.flags();
        const Doubles products = std::bit_cast<Doubles>(a);
        a = std::bit_cast<Floats>(Doubles{products[0], 0});
        steps.go({.multiply = false, .doubles = true}, a, std::bit_cast<Floats>(Doubles{products[1], 0}));
        return steps.flags();
    }
    for (unsigned i = 0; i < 4; ++i)
        if ((selected >> i & 1) == 0) a[i] = b[i] = 0;
    if (!steps.go({.multiply = true, .doubles = false}, a, b)) return steps.flags();
    // The two sums of products are one step of the CPU: the manual writes them one after the other, but the second's
    // flags are there even if the first has raised an exception.
    Floats sums{a[0], a[2], 0, 0};
    if (!steps.go({.multiply = false, .doubles = false}, sums, Floats{a[1], a[3], 0, 0})) return steps.flags();
    Floats sum{sums[0], 0, 0, 0};
    steps.go({.multiply = false, .doubles = false}, sum, Floats{sums[1], 0, 0, 0});
    return steps.flags();
}

}  // namespace dualvm::interp

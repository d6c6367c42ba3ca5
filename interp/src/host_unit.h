// x87, MMX and SSE on the host's own units.
//
// Guest and host are both x86, so the guest's FMUL can be the host's FMUL: nothing rounds more like a CPU than a CPU.
// For each distinct instruction a small routine is made, once, that loads the guest's FXSAVE image, executes the
// instruction with its memory operand moved to a buffer of ours and a general register operand moved to RAX, and saves
// the image again. Faults, alignment, exceptions and who may write memory are decided here, before and after.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <vector>

#include "state.h"

namespace dualvm::interp {

// What an instruction on a host unit needs beyond its Insn. Made at decoding.
struct UnitInsn {
    enum class Unit : u8 { X87, Mmx, Sse };
    Unit unit = Unit::X87;
    bool waits = true;     // x87: reports a pending exception first (FNINIT, FNSTSW ... do not)
    bool control = false;  // x87: leaves the instruction and data pointers alone ...
    bool reads_memory = false, writes_memory = false;
    bool aligned = false;      // the 16-byte memory operand must be aligned
    u8 memory_operand = 0xff;  // index in Insn::operand, 0xff if none
    u8 gpr_operand = 0xff;     // index in Insn::operand of the register that was moved to RAX
    const void* routine = nullptr;
    // For the fast handlers: the instruction and nothing else, its operands moved to XMM0 (the destination), XMM1, RAX
    // and [RDI]. nullptr where no handler uses it.
    const void* bare = nullptr;
    // x87: what is stored depends on the arithmetic, which may raise an exception instead.
    bool stores_result() const { return unit == Unit::X87 && writes_memory && waits && !control; }
    bool operator==(const UnitInsn&) const = default;
};

// The routines, in executable memory, shared by all instructions that are encoded alike.
class HostUnitRoutines {
public:
    HostUnitRoutines();
    ~HostUnitRoutines();
    HostUnitRoutines(const HostUnitRoutines&) = delete;
    HostUnitRoutines& operator=(const HostUnitRoutines&) = delete;

    // The routine that executes `encoding`, in which the memory operand is [RDI]. nullptr: no executable memory.
    const void* find_or_make(std::span<const u8> encoding);
    // The same without loading and saving any state.
    const void* find_or_make_bare(std::span<const u8> encoding);

    // A guest can use more different instructions than there is room for: then all are forgotten and made again.
    bool full() const { return writable_ != nullptr && kBytes - used_ < kSpare; }
    void forget();

private:
    static constexpr std::size_t kSpare = std::size_t{1} << 15;  // more than one block's instructions take
    static constexpr std::size_t kBytes = std::size_t{1} << 20;
    const void* keep(std::vector<u8> routine);

    std::map<std::vector<u8>, const void*> routines_;
    u8* writable_ = nullptr;  // two views of the same memory: never both writable and executable
    u8* executable_ = nullptr;
    std::size_t used_ = 0;
};

// The reference implementation of all instructions with a UnitInsn.
Flow run_on_host_unit(State& s, const Insn& insn);

// CR0.EM, CR0.TS, CR4.OSFXSR and a pending x87 exception: what an instruction of `unit` checks before anything else
// (SDM vol. 3A, 2.5 and table 2-2; vol. 2A, "Protected mode exceptions" of the instructions).
bool unit_available(State& s, UnitInsn::Unit unit, bool waits);
// The part of it about x87 errors, which is all that WAIT is about: #MF if one waits and CR0.NE or the PC want to hear
// of it.
bool no_error_waits(State& s);

// FpuGroup <-> the FXSAVE image that the interpreter keeps.
void load_fx_image(FxImage& image, const FpuGroup& fpu);
void store_fx_image(const FxImage& image, FpuGroup& fpu);

}  // namespace dualvm::interp

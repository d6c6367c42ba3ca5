#include "host_unit.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "dot_product.h"
#include "memory.h"
#include "sse_exceptions.h"

namespace dualvm::interp {

// --- routines
// -----------------------------------------------------------------------------------------------------------

HostUnitRoutines::HostUnitRoutines() {
    const int fd = memfd_create("dualvm host unit routines", MFD_CLOEXEC);
    if (fd < 0) return;
    if (ftruncate(fd, kBytes) == 0) {
        void* w = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        void* x = mmap(nullptr, kBytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        if (w != MAP_FAILED && x != MAP_FAILED) {
            writable_ = static_cast<u8*>(w);
            executable_ = static_cast<u8*>(x);
        }
    }
    close(fd);
}

HostUnitRoutines::~HostUnitRoutines() {
    if (writable_ != nullptr) munmap(writable_, kBytes);
    if (executable_ != nullptr) munmap(executable_, kBytes);
}

namespace {

// Arguments in the System V order: RDI memory buffer, RSI the registers below, RDX the FXSAVE image (moved to R8, as
// the instruction may use RDX).
struct UnitRegisters {
    u64 rax, rcx, rdx, rflags;
};
using Routine = void (*)(void* memory, UnitRegisters* registers, FxImage* image);

constexpr u8 kBefore[] = {
    0x49, 0x89, 0xd0,        // mov r8, rdx
    0x49, 0x0f, 0xae, 0x08,  // fxrstor64 [r8]
    0xff, 0x76, 0x18,        // push qword [rsi + 24]
    0x9d,                    // popfq
    0x48, 0x8b, 0x06,        // mov rax, [rsi]
    0x48, 0x8b, 0x4e, 0x08,  // mov rcx, [rsi + 8]
    0x48, 0x8b, 0x56, 0x10,  // mov rdx, [rsi + 16]
};
constexpr u8 kAfter[] = {
    0x9c,                    // pushfq
    0x8f, 0x46, 0x18,        // pop qword [rsi + 24]
    0x48, 0x89, 0x06,        // mov [rsi], rax
    0x48, 0x89, 0x4e, 0x08,  // mov [rsi + 8], rcx
    0x48, 0x89, 0x56, 0x10,  // mov [rsi + 16], rdx
    0x49, 0x0f, 0xae, 0x00,  // fxsave64 [r8]
    0xdb, 0xe3,              // fninit: the host's x87 back to what the ABI promises
    0xc3,                    // ret
};

}  // namespace

const void* HostUnitRoutines::find_or_make(std::span<const u8> encoding) {
    std::vector<u8> routine(std::begin(kBefore), std::end(kBefore));
    routine.insert(routine.end(), encoding.begin(), encoding.end());
    routine.insert(routine.end(), std::begin(kAfter), std::end(kAfter));
    return keep(std::move(routine));
}

const void* HostUnitRoutines::find_or_make_bare(std::span<const u8> encoding) {
    constexpr u8 kRet = 0xc3;
    std::vector<u8> routine(encoding.begin(), encoding.end());
    routine.push_back(kRet);
    return keep(std::move(routine));
}

const void* HostUnitRoutines::keep(std::vector<u8> routine) {
    if (const auto found = routines_.find(routine); found != routines_.end()) return found->second;
    if (writable_ == nullptr || kBytes - used_ < routine.size()) return nullptr;
    std::memcpy(writable_ + used_, routine.data(), routine.size());
    const void* at = executable_ + used_;
    used_ = std::min(kBytes, used_ + ((routine.size() + 15) & ~std::size_t{15}));
    routines_.emplace(std::move(routine), at);
    return at;
}

void HostUnitRoutines::forget() {
    routines_.clear();
    used_ = 0;
}

// --- executing
// ------------------------------------------------------------------------------------------------------------

namespace {

constexpr u16 kErrorSummary = 0x80;  // x87 status word (SDM vol. 1, 8.1.3)
constexpr u16 kX87Masks = 0x3f, kX87Top = 0x3800;
constexpr u16 kX87Errors = 0x80bf;  // the exceptions' flags, the summary of them, and busy, which says the same

void execute(const UnitInsn& unit, void* memory, UnitRegisters& registers, FxImage& image) {
    const u32 host_mxcsr = __builtin_ia32_stmxcsr();
    const u64 fip = image.fip, fdp = image.fdp;
    const u16 fop = image.fop;
    std::bit_cast<Routine>(unit.routine)(memory, &registers, &image);
    __builtin_ia32_ldmxcsr(host_mxcsr);
    // What the host's unit has there tells of the routine.
    image.fip = fip;
    image.fdp = fdp;
    image.fop = fop;
}

// Executes it with the given MXCSR, all exceptions masked; the flags that it raised.
u32 execute_masked(const UnitInsn& unit, void* memory, UnitRegisters& registers, FxImage& image, u32 mxcsr) {
    const u16 fcw = image.fcw, fsw = image.fsw;
    image.mxcsr = (mxcsr | FxImage::kMxcsrMasks) & ~kMxcsrFlags;
    image.fcw |= kX87Masks;  // an x87 exception that waits is not to be met by the host
    execute(unit, memory, registers, image);
    image.fcw = fcw;
    image.fsw = static_cast<u16>((image.fsw & kX87Top) | (fsw & ~kX87Top));  // TOP alone may have changed, to 0
    return image.mxcsr & kMxcsrFlags;
}

// SSE: an exception that the guest has not masked is raised instead of a result (SDM vol. 1, 11.5.3). The host runs
// with all of them masked and tells by its flags.
Flow execute_sse(State& s, const Insn& insn, void* memory, UnitRegisters& registers, FxImage& image) {
    const UnitInsn& unit = *insn.unit;
    const u32 guest = image.mxcsr, unmasked = unmasked_exceptions(guest);
    if (unmasked == 0) {
        image.mxcsr = guest | execute_masked(unit, memory, registers, image, guest);
        return Flow::Next;
    }
    const FxImage before = image;
    const UnitRegisters registers_before = registers;
    u32 raised = execute_masked(unit, memory, registers, image, guest);
    if (is_dot_product(insn)) {
        raised = dot_product_flags(insn, before, memory);
    } else {
        raised = raised_exceptions(raised, guest, [&](u32 mxcsr) {
            FxImage flushed = before;
            UnitRegisters ignored = registers_before;
            std::array<u8, 16> scratch{};
            std::memcpy(scratch.data(), memory, scratch.size());
            return execute_masked(unit, scratch.data(), ignored, flushed, mxcsr);
        });
    }
    image.mxcsr = guest | raised;
    if ((raised & unmasked) == 0) return Flow::Next;
    s.fx.mxcsr = image.mxcsr;
    return (s.cpu.control.cr4 & cr4::OSXMMEXCPT) != 0 ? s.raise(XM) : s.raise(UD);
}

// x87: the host has the guest's own control word; an unmasked exception stays pending in the image, as it does in a CPU
// until the next waiting instruction.
void execute_x87(State& s, const Insn& insn, void* memory, UnitRegisters& registers, FxImage& image) {
    const UnitInsn& unit = *insn.unit;
    execute(unit, memory, registers, image);
    if (unit.control) return;  // these leave the pointers alone
    image.fip = s.insn_rip;
    // Opcode and data pointer are stored when an exception is not masked: CPUID.7.EBX[6] (SDM vol. 1, 8.1.8, 8.1.9).
    if ((image.fsw & kErrorSummary) == 0) return;
    image.fop = insn.x87_opcode;
    if (unit.memory_operand != 0xff) image.fdp = effective_address(s, insn);
}

}  // namespace

bool no_error_waits(State& s) {
    if ((s.fx.fsw & kErrorSummary) == 0) {
        s.machine->ignore_fpu_error(false);  // what was ignored is over, and a new error is to be reported again
        return true;
    }
    if ((s.cpu.control.cr0 & cr0::NE) == 0 && s.machine->ignores_fpu_error()) return true;
    s.raise(MF);
    return false;
}

bool unit_available(State& s, UnitInsn::Unit unit, bool waits) {
    const u64 cr0 = s.cpu.control.cr0;
    switch (unit) {
        case UnitInsn::Unit::X87:
            if (cr0 & (cr0::EM | cr0::TS)) {
                s.raise(NM);
                return false;
            }
            break;
        case UnitInsn::Unit::Sse:
            if ((cr0 & cr0::EM) || !(s.cpu.control.cr4 & cr4::OSFXSR)) {
                s.raise(UD);
                return false;
            }
            if (cr0 & cr0::TS) {
                s.raise(NM);
                return false;
            }
            break;
        case UnitInsn::Unit::Mmx:
            if (cr0 & (cr0::EM | cr0::TS)) {
                s.raise((cr0 & cr0::EM) ? UD : NM);
                return false;
            }
            break;
    }
    return !waits || no_error_waits(s);
}

namespace {

constexpr u16 kSuppressing = 0x1f;  // all x87 exceptions but precision

// Where the memory operand is, if there is one, and everything that can be wrong with it; what it holds, to `into`.
bool reach_memory(State& s, const Insn& insn, u64& linear, u8* into) {
    const UnitInsn& unit = *insn.unit;
    if (unit.memory_operand == 0xff) return true;
    const unsigned size = insn.operand[unit.memory_operand].size;
    const Access access = unit.writes_memory ? Access::Write : Access::Read;
    if (!linear_address(s, insn.segment, effective_address(s, insn), size, access, linear)) return false;
    // Legacy SSE forms want their 16 bytes aligned (SDM vol. 1, 10.8.3 / vol. 2A, 2.4).
    if (unit.aligned && (linear & 15) != 0) {
        s.raise(GP, 0);
        return false;
    }
    if (unit.writes_memory && !check_linear(s, linear, size, Access::Write)) return false;
    return !unit.reads_memory || read_linear(s, linear, into, size);
}

}  // namespace

Flow run_on_host_unit(State& s, const Insn& insn) {
    const UnitInsn& unit = *insn.unit;
    if (unit.routine == nullptr) return s.raise(UD);
    if (!unit_available(s, unit.unit, unit.waits)) return Flow::Fault;

    alignas(64) std::array<u8, 128> memory{};
    u64 linear = 0;
    if (!unit.stores_result() && !reach_memory(s, insn, linear, memory.data())) return Flow::Fault;

    auto& gpr = s.cpu.general.gpr;
    UnitRegisters registers{.rax = gpr[RAX],
                            .rcx = gpr[RCX],
                            .rdx = gpr[RDX],
                            .rflags = (s.cpu.general.rflags & rflags::Arithmetic) | rflags::Fixed1};
    if (unit.gpr_operand != 0xff) registers.rax = gpr[insn.operand[unit.gpr_operand].reg];
    FxImage image = s.fx;
    // An error that is ignored (IGNNE#) stays where it is, but the host is not to meet it.
    const u16 ignored = unit.waits && (image.fsw & kErrorSummary) != 0 ? image.fsw & kX87Errors : u16{0};
    image.fsw &= static_cast<u16>(~ignored);
    if (unit.unit == UnitInsn::Unit::Sse) {
        if (execute_sse(s, insn, memory.data(), registers, image) == Flow::Fault) return Flow::Fault;
    } else {
        execute_x87(s, insn, memory.data(), registers, image);
    }
    // An x87 result that an unmasked exception suppresses is not stored, wherever it was to go (SDM vol. 1, 8.5).
    const bool suppressed = unit.stores_result() && (image.fsw & ~image.fcw & kSuppressing) != 0;
    if (unit.writes_memory && !suppressed) {
        if (unit.stores_result() && !reach_memory(s, insn, linear, nullptr)) return Flow::Fault;
        if (!write_linear(s, linear, memory.data(), insn.operand[unit.memory_operand].size)) return Flow::Fault;
    }
    if (ignored != 0) image.keep_errors(ignored);
    const FxImage before = std::exchange(s.fx, image);
    if (unit.gpr_operand != 0xff) {
        gpr[insn.operand[unit.gpr_operand].reg] = registers.rax;
    } else {
        gpr[RAX] = registers.rax;
    }
    if (unit.gpr_operand == 0xff || insn.operand[unit.gpr_operand].reg != RCX) gpr[RCX] = registers.rcx;
    if (unit.gpr_operand == 0xff || insn.operand[unit.gpr_operand].reg != RDX) gpr[RDX] = registers.rdx;
    s.cpu.general.rflags = (s.cpu.general.rflags & ~rflags::Arithmetic) | (registers.rflags & rflags::Arithmetic);
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

// --- the FXSAVE image
// -----------------------------------------------------------------------------------------------------

namespace {

unsigned top_of(u16 fsw) { return (fsw >> 11) & 7; }

}  // namespace

void load_fx_image(FxImage& image, const FpuGroup& fpu) {
    image = FxImage{};
    image.fcw = fpu.fcw;
    image.fsw = fpu.fsw;
    image.ftw = fpu.ftw;
    image.fop = fpu.fop;
    image.fip = fpu.fip;
    image.fdp = fpu.fdp;
    image.mxcsr = fpu.mxcsr & FxImage::kMxcsrMask;
    image.mxcsr_mask = FxImage::kMxcsrMask;
    for (unsigned i = 0; i < 8; ++i) {
        const X87Register& r = fpu.st[(top_of(fpu.fsw) + i) & 7];
        std::memcpy(image.st[i].data(), &r.significand, 8);
        std::memcpy(image.st[i].data() + 8, &r.sign_exponent, 2);
    }
    for (unsigned i = 0; i < 16; ++i) std::memcpy(image.xmm[i].data(), fpu.vector[i].bytes.data(), 16);
}

void store_fx_image(const FxImage& image, FpuGroup& fpu) {
    fpu.fcw = image.fcw;
    fpu.fsw = image.fsw;
    fpu.ftw = image.ftw;
    fpu.fop = image.fop;
    fpu.fip = image.fip;
    fpu.fdp = image.fdp;
    fpu.mxcsr = image.mxcsr;
    for (unsigned i = 0; i < 8; ++i) {
        X87Register& r = fpu.st[(top_of(image.fsw) + i) & 7];
        std::memcpy(&r.significand, image.st[i].data(), 8);
        std::memcpy(&r.sign_exponent, image.st[i].data() + 8, 2);
    }
    for (unsigned i = 0; i < 16; ++i) std::memcpy(fpu.vector[i].bytes.data(), image.xmm[i].data(), 16);
}

}  // namespace dualvm::interp

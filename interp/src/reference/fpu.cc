// The x87 and SSE instructions that the host unit cannot do for us: those about the state as a whole, and those with an
// implied memory operand.
#include <algorithm>
#include <cstring>

#include "../host_unit.h"
#include "reference.h"

namespace dualvm::interp {

namespace {

using Unit = UnitInsn::Unit;

// WAIT: reports a pending x87 exception; #NM only if CR0.MP and CR0.TS are both set (SDM vol. 2A, "WAIT/FWAIT").
Flow fwait(State& s, const Insn&) {
    constexpr u64 kBoth = cr0::MP | cr0::TS;
    if ((s.cpu.control.cr0 & kBoth) == kBoth) return s.raise(NM);
    return no_error_waits(s) ? Flow::Next : Flow::Fault;
}

// FXSAVE and FXRSTOR use 512 bytes on a 16-byte boundary, with XMM8-15 only in 64-bit mode, and FCS/FDS in place of the
// pointers' upper halves without REX.W (SDM vol. 2A, "FXSAVE").
constexpr unsigned kFxSize = 512;

bool fx_address(State& s, const Insn& insn, Access access, u64& linear) {
    if (s.cpu.control.cr0 & cr0::EM) {
        s.raise(UD);
        return false;
    }
    if (s.cpu.control.cr0 & cr0::TS) {
        s.raise(NM);
        return false;
    }
    if (!linear_address(s, insn.segment, effective_address(s, insn), kFxSize, access, linear)) return false;
    if ((linear & 15) != 0) {
        s.raise(GP, 0);
        return false;
    }
    return true;
}

bool wide_pointers(const Insn& insn) {
    return insn.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 || insn.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
}

constexpr std::size_t kXmm8 = 160 + 8 * 16, kXmmEnd = 160 + 16 * 16;

Flow fxsave(State& s, const Insn& insn) {
    u64 linear = 0;
    if (!fx_address(s, insn, Access::Write, linear)) return Flow::Fault;
    if (!check_linear(s, linear, kFxSize, Access::Write)) return Flow::Fault;
    FxImage image = s.fx;
    if (!wide_pointers(insn)) {
        image.fip &= 0xffffffff;
        image.fdp &= 0xffffffff;
    }
    const auto* bytes = reinterpret_cast<const u8*>(&image);
    const std::size_t end = insn.long_mode ? kXmmEnd : kXmm8;
    if (!write_linear(s, linear, bytes, static_cast<unsigned>(end))) return Flow::Fault;
    return Flow::Next;
}

Flow fxrstor(State& s, const Insn& insn) {
    u64 linear = 0;
    FxImage image;
    if (!fx_address(s, insn, Access::Read, linear)) return Flow::Fault;
    if (!read_linear(s, linear, &image, kFxSize)) return Flow::Fault;
    if ((image.mxcsr & ~FxImage::kMxcsrMask) != 0) return s.raise(GP, 0);
    if (!wide_pointers(insn)) {
        image.fip &= 0xffffffff;
        image.fdp &= 0xffffffff;
    }
    const FxImage before = s.fx;
    if (!insn.long_mode) std::copy(s.fx.xmm.begin() + 8, s.fx.xmm.end(), image.xmm.begin() + 8);
    // Reserved bits of the control word have values of their own; an opcode has 11 bits.
    image.fop &= 0x7ff;
    image.fcw = static_cast<u16>((image.fcw & 0x1f3f) | 0x40);
    // The summary bit follows from flags and masks, whatever the image says.
    const bool pending = (image.fsw & ~image.fcw & 0x3f) != 0;
    image.fsw = static_cast<u16>((image.fsw & ~0x8080) | (pending ? 0x8080 : 0));
    image.mxcsr_mask = FxImage::kMxcsrMask;
    s.fx = image;
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

Flow ldmxcsr(State& s, const Insn& insn) {
    u64 value = 0;
    if (!unit_available(s, Unit::Sse, false) || !read_operand(s, insn, 0, value)) return Flow::Fault;
    if ((value & ~u64{FxImage::kMxcsrMask}) != 0) return s.raise(GP, 0);
    const FxImage before = s.fx;
    s.fx.mxcsr = static_cast<u32>(value);
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

Flow stmxcsr(State& s, const Insn& insn) {
    if (!unit_available(s, Unit::Sse, false) || !write_operand(s, insn, 0, s.fx.mxcsr)) return Flow::Fault;
    return Flow::Next;
}

// What every MMX instruction but EMMS does to the x87 registers: all of them are in use, and TOP is 0 (SDM vol.
// 3A, 12.2).
void begin_mmx(FxImage& image) {
    // The image has registers in the order of the stack, of which MM0 is not always the first.
    std::rotate(image.st.begin(), image.st.begin() + (8 - (image.fsw >> 11 & 7)) % 8, image.st.end());
    image.fsw &= static_cast<u16>(~0x3800);
    image.ftw = 0xff;
}

// MASKMOVQ, MASKMOVDQU: stores the bytes whose mask byte has its top bit set to DS:[RDI]. Whether the others' place may
// fault is up to the CPU (SDM vol. 2B, "MASKMOVQ"); here as with CPUs of this model's maker, it does.
Flow masked_store(State& s, const Insn& insn, Unit unit, const u8* data, const u8* mask, unsigned size) {
    if (!unit_available(s, unit, unit == Unit::Mmx)) return Flow::Fault;
    const u64 offset = s.cpu.general.gpr[RDI] & size_mask(insn.address_size);
    u64 linear = 0;
    if (!linear_address(s, insn.segment, offset, size, Access::Write, linear)) return Flow::Fault;
    if (!check_linear(s, linear, size, Access::Write)) return Flow::Fault;
    for (unsigned i = 0; i < size; ++i) {
        const u64 at = s.code64() ? linear + i : (linear + i) & 0xffffffff;
        if ((mask[i] & 0x80) != 0 && !write_linear(s, at, data + i, 1)) return Flow::Fault;
    }
    return Flow::Next;
}

Flow maskmovdqu(State& s, const Insn& insn) {
    return masked_store(s, insn, Unit::Sse, s.fx.xmm[insn.operand[0].reg].data(), s.fx.xmm[insn.operand[1].reg].data(),
                        16);
}

Flow maskmovq(State& s, const Insn& insn) {
    const FxImage before = s.fx;
    begin_mmx(s.fx);
    const Flow flow =
        masked_store(s, insn, Unit::Mmx, s.fx.st[insn.operand[0].reg].data(), s.fx.st[insn.operand[1].reg].data(), 8);
    if (flow == Flow::Fault) s.fx = before;
    return flow;
}

// CRC32: the polynomial 11EDC6F41h, bit-reflected (SDM vol. 2A, "CRC32").
Flow crc32(State& s, const Insn& insn) {
    u64 data = 0;
    if (!read_operand(s, insn, 1, data)) return Flow::Fault;
    auto crc = static_cast<u32>(read_gpr(s, insn.operand[0].reg, 4));
    for (unsigned byte = 0; byte < insn.operand[1].size; ++byte) {
        crc ^= static_cast<u32>((data >> (8 * byte)) & 0xff);
        for (unsigned bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    }
    write_gpr(s, insn.operand[0].reg, insn.operand[0].size, crc);
    return Flow::Next;
}

}  // namespace

void add_fpu_instructions(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_FWAIT, fwait);
    table.add(ZYDIS_MNEMONIC_FXSAVE, fxsave);
    table.add(ZYDIS_MNEMONIC_FXSAVE64, fxsave);
    table.add(ZYDIS_MNEMONIC_FXRSTOR, fxrstor);
    table.add(ZYDIS_MNEMONIC_FXRSTOR64, fxrstor);
    table.add(ZYDIS_MNEMONIC_LDMXCSR, ldmxcsr);
    table.add(ZYDIS_MNEMONIC_STMXCSR, stmxcsr);
    table.add(ZYDIS_MNEMONIC_MASKMOVDQU, maskmovdqu);
    table.add(ZYDIS_MNEMONIC_MASKMOVQ, maskmovq);
    table.add(ZYDIS_MNEMONIC_CRC32, crc32);
}

}  // namespace dualvm::interp

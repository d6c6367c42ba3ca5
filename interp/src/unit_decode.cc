#include "unit_decode.h"

#include <algorithm>

namespace dualvm::interp {

bool is_unit_instruction(const ZydisDecodedInstruction& zydis) {
    if (zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
    switch (zydis.meta.isa_ext) {
        case ZYDIS_ISA_EXT_X87:
        case ZYDIS_ISA_EXT_MMX:
        case ZYDIS_ISA_EXT_SSE:
        case ZYDIS_ISA_EXT_SSE2:
        case ZYDIS_ISA_EXT_SSE3:
        case ZYDIS_ISA_EXT_SSSE3:
        case ZYDIS_ISA_EXT_SSE4: return true;
        default: return false;
    }
}

namespace {

bool waits(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_FNCLEX:
        case ZYDIS_MNEMONIC_FNSTSW:
        case ZYDIS_MNEMONIC_FNSTCW:
        case ZYDIS_MNEMONIC_FDISI8087_NOP:
        case ZYDIS_MNEMONIC_FENI8087_NOP:
        case ZYDIS_MNEMONIC_FSETPM287_NOP: return false;
        default: return true;
    }
}

// Instructions that do not set the x87 instruction and data pointers (SDM vol. 1, 8.1.8: "non-control" ones do).
bool controls(ZydisMnemonic mnemonic) { return mnemonic == ZYDIS_MNEMONIC_FLDCW || !waits(mnemonic); }

// 16-byte memory operands of legacy SSE instructions are aligned, but for these (SDM vol. 1, 10.8.3; SSE4.2 string
// instructions: vol. 2B).
bool tolerates_misalignment(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_MOVUPS:
        case ZYDIS_MNEMONIC_MOVUPD:
        case ZYDIS_MNEMONIC_MOVDQU:
        case ZYDIS_MNEMONIC_LDDQU:
        case ZYDIS_MNEMONIC_PCMPESTRI:
        case ZYDIS_MNEMONIC_PCMPESTRM:
        case ZYDIS_MNEMONIC_PCMPISTRI:
        case ZYDIS_MNEMONIC_PCMPISTRM: return true;
        default: return false;
    }
}

bool has_mmx_register(const ZydisDecodedInstruction& zydis, const ZydisDecodedOperand* operands) {
    return std::any_of(operands, operands + zydis.operand_count_visible, [](const ZydisDecodedOperand& o) {
        return o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_MMX;
    });
}

// FISTTP came with SSE3 and is an x87 instruction all the same.
bool is_x87(const ZydisDecodedInstruction& zydis) {
    return zydis.meta.isa_ext == ZYDIS_ISA_EXT_X87 || zydis.mnemonic == ZYDIS_MNEMONIC_FISTTP;
}

bool touches_mmx_only(const ZydisDecodedInstruction& zydis, const ZydisDecodedOperand* operands) {
    switch (zydis.mnemonic) {
        case ZYDIS_MNEMONIC_EMMS: return true;
        // Floating-point conversions, also where their source is in memory.
        case ZYDIS_MNEMONIC_CVTPS2PI:
        case ZYDIS_MNEMONIC_CVTTPS2PI:
        case ZYDIS_MNEMONIC_CVTPD2PI:
        case ZYDIS_MNEMONIC_CVTTPD2PI: return false;
        default: break;
    }
    const bool xmm = std::any_of(operands, operands + zydis.operand_count_visible, [](const ZydisDecodedOperand& o) {
        return o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_XMM;
    });
    return !xmm && has_mmx_register(zydis, operands);
}

// REX and ModRM fields that say where operands are.
struct Fields {
    u8 r, b, reg, rm;
    bool memory;  // at [RDI]
};

// The encoding again, without what chose the guest's memory operand.
std::vector<u8> encode(const ZydisDecodedInstruction& zydis, std::span<const u8> bytes, const Fields& fields) {
    const auto& raw = zydis.raw;
    std::vector<u8> encoding;
    for (unsigned i = 0; i < raw.prefix_count; ++i) {
        const u8 prefix = raw.prefixes[i].value;
        if (prefix == 0x66 || prefix == 0xf2 || prefix == 0xf3) encoding.push_back(prefix);
    }
    const u8 rex = static_cast<u8>(0x40 | raw.rex.W << 3 | fields.r << 2 | fields.b);
    if (rex != 0x40) encoding.push_back(rex);
    const bool has_modrm = (zydis.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    // Opcode bytes stand before ModRM, or at the end.
    const std::size_t opcode_begin = raw.prefix_count;
    const std::size_t opcode_end = has_modrm ? raw.modrm.offset : zydis.length;
    encoding.insert(encoding.end(), bytes.begin() + static_cast<std::ptrdiff_t>(opcode_begin),
                    bytes.begin() + static_cast<std::ptrdiff_t>(opcode_end));
    if (has_modrm) {
        constexpr u8 kMemoryAtRdi = 0x07;
        const u8 mod_rm = fields.memory ? kMemoryAtRdi : static_cast<u8>(0xc0 | fields.rm);
        encoding.push_back(static_cast<u8>(mod_rm | fields.reg << 3));
    }
    for (const auto& imm : raw.imm) {
        for (unsigned i = 0; i < imm.size / 8; ++i) encoding.push_back(bytes[imm.offset + i]);
    }
    return encoding;
}

// x87 and MMX instructions, and SSE instructions with an immediate byte: too many to have a handler for each.
bool has_bare_routine(const ZydisDecodedInstruction& zydis, const UnitInsn& unit) {
    switch (zydis.mnemonic) {
        case ZYDIS_MNEMONIC_MASKMOVQ: return false;  // it has an operand that the encoding does not name
        default: return unit.unit != UnitInsn::Unit::Sse || zydis.raw.imm[0].size == 8;
    }
}

}  // namespace

void prepare_unit_instruction(const ZydisDecodedInstruction& zydis, const ZydisDecodedOperand* operands,
                              std::span<const u8> bytes, HostUnitRoutines& routines, UnitInsn& unit) {
    const auto& raw = zydis.raw;
    bool memory = false, gpr_in_reg = false, gpr_in_rm = false;
    for (unsigned i = 0; i < zydis.operand_count_visible; ++i) {
        const ZydisDecodedOperand& o = operands[i];
        if (o.type == ZYDIS_OPERAND_TYPE_MEMORY) {
            memory = true;
            unit.memory_operand = static_cast<u8>(i);
            unit.reads_memory = (o.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
            unit.writes_memory = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
            unit.aligned = o.size == 128 && !tolerates_misalignment(zydis.mnemonic);
        } else if (o.type == ZYDIS_OPERAND_TYPE_REGISTER) {
            const ZydisRegisterClass c = ZydisRegisterGetClass(o.reg.value);
            if (c != ZYDIS_REGCLASS_GPR32 && c != ZYDIS_REGCLASS_GPR64) continue;
            if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) gpr_in_reg = true;
            if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) gpr_in_rm = true;
            if (gpr_in_reg || gpr_in_rm) unit.gpr_operand = static_cast<u8>(i);
        }
    }
    if (is_x87(zydis)) {
        unit.unit = UnitInsn::Unit::X87;
        unit.waits = waits(zydis.mnemonic);
        unit.control = controls(zydis.mnemonic);
    } else {
        unit.unit = touches_mmx_only(zydis, operands) ? UnitInsn::Unit::Mmx : UnitInsn::Unit::Sse;
        unit.control = true;
        // Whoever touches an MMX register reports an x87 exception that waits (SDM vol. 3A, 12.5.1).
        unit.waits = unit.unit == UnitInsn::Unit::Mmx || has_mmx_register(zydis, operands);
    }

    // Where the operands go: those that chose a place in the guest, to a place of ours.
    Fields fields{.r = gpr_in_reg ? u8{0} : raw.rex.R,
                  .b = memory || gpr_in_rm ? u8{0} : raw.rex.B,
                  .reg = gpr_in_reg ? u8{0} : raw.modrm.reg,
                  .rm = gpr_in_rm ? u8{0} : raw.modrm.rm,
                  .memory = memory};
    unit.routine = routines.find_or_make(encode(zydis, bytes, fields));
    if (!has_bare_routine(zydis, unit)) return;
    bool xmm_in_reg = false, xmm_in_rm_written = false;
    for (unsigned i = 0; i < zydis.operand_count_visible; ++i) {
        const ZydisDecodedOperand& o = operands[i];
        if (o.type != ZYDIS_OPERAND_TYPE_REGISTER || ZydisRegisterGetClass(o.reg.value) != ZYDIS_REGCLASS_XMM) continue;
        if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) xmm_in_reg = true;
        if (o.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
            xmm_in_rm_written = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        }
    }
    fields.r = fields.b = 0;
    if (unit.unit != UnitInsn::Unit::Sse) {
        unit.bare = routines.find_or_make_bare(encode(zydis, bytes, fields));
        return;
    }
    if (xmm_in_reg) fields.reg = 0;  // else a general register, or a part of the opcode
    if (!memory && !gpr_in_rm) fields.rm = xmm_in_rm_written ? 0 : 1;
    unit.bare = routines.find_or_make_bare(encode(zydis, bytes, fields));
}

}  // namespace dualvm::interp

#include "spelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace dualvm::study {

namespace {

std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return text;
}

// A register that the opcode implies: "AL", "DX", "ES", "ST(0)".
std::string spell_fixed_register(ZydisRegister reg) {
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_X87) return fmt::format("ST({})", ZydisRegisterGetId(reg));
    return upper(ZydisRegisterGetString(reg));
}

std::string spell_register(const ZydisDecodedOperand& operand) {
    const ZydisRegister reg = operand.reg.value;
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_NONE) return spell_fixed_register(reg);
    switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_GPR8: return "r8";
        case ZYDIS_REGCLASS_GPR16: return "r16";
        case ZYDIS_REGCLASS_GPR32: return "r32";
        case ZYDIS_REGCLASS_GPR64: return "r64";
        case ZYDIS_REGCLASS_X87: return "ST(i)";
        case ZYDIS_REGCLASS_MMX: return "mm";
        case ZYDIS_REGCLASS_XMM: return "xmm";
        case ZYDIS_REGCLASS_YMM: return "ymm";
        case ZYDIS_REGCLASS_ZMM: return "zmm";
        case ZYDIS_REGCLASS_TMM: return "tmm";
        case ZYDIS_REGCLASS_MASK: return "k";
        case ZYDIS_REGCLASS_BOUND: return "bnd";
        case ZYDIS_REGCLASS_SEGMENT: return "Sreg";
        case ZYDIS_REGCLASS_CONTROL: return "CRn";
        case ZYDIS_REGCLASS_DEBUG: return "DRn";
        default: return upper(ZydisRegisterGetString(reg));
    }
}

// Limit and base of a descriptor table; a far pointer, whose offset lies before its selector.
bool is_table_register(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_LGDT || mnemonic == ZYDIS_MNEMONIC_LIDT || mnemonic == ZYDIS_MNEMONIC_SGDT ||
           mnemonic == ZYDIS_MNEMONIC_SIDT;
}
bool is_far_pointer(const ZydisDecodedInstruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_LDS:
        case ZYDIS_MNEMONIC_LES:
        case ZYDIS_MNEMONIC_LFS:
        case ZYDIS_MNEMONIC_LGS:
        case ZYDIS_MNEMONIC_LSS: return true;
        default: return instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    }
}

std::string spell_memory(const ZydisDecodedInstruction& instruction, const ZydisDecodedOperand& operand) {
    const unsigned bits = operand.size;
    switch (operand.encoding) {
        case ZYDIS_OPERAND_ENCODING_DISP8:
        case ZYDIS_OPERAND_ENCODING_DISP16:
        case ZYDIS_OPERAND_ENCODING_DISP32:
        case ZYDIS_OPERAND_ENCODING_DISP64:
        case ZYDIS_OPERAND_ENCODING_DISP16_32_64:
        case ZYDIS_OPERAND_ENCODING_DISP32_32_64:
        case ZYDIS_OPERAND_ENCODING_DISP16_32_32: return fmt::format("moffs{}", bits);
        default: break;
    }
    if (operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN || operand.mem.type == ZYDIS_MEMOP_TYPE_MIB || bits == 0) return "m";
    if (operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        const bool xmm = ZydisRegisterGetClass(operand.mem.index) == ZYDIS_REGCLASS_XMM;
        const bool ymm = ZydisRegisterGetClass(operand.mem.index) == ZYDIS_REGCLASS_YMM;
        return fmt::format("vm{}{}", operand.element_size, xmm ? 'x' : ymm ? 'y' : 'z');
    }
    if (is_table_register(instruction.mnemonic)) return fmt::format("m16&{}", bits - 16);
    if (is_far_pointer(instruction)) return fmt::format("m16:{}", bits - 16);
    if (instruction.mnemonic == ZYDIS_MNEMONIC_BOUND) return fmt::format("m{}&{}", bits / 2, bits / 2);
    if (instruction.meta.isa_ext == ZYDIS_ISA_EXT_X87) {
        switch (operand.element_type) {
            case ZYDIS_ELEMENT_TYPE_FLOAT32:
            case ZYDIS_ELEMENT_TYPE_FLOAT64:
            case ZYDIS_ELEMENT_TYPE_FLOAT80: return fmt::format("m{}fp", bits);
            case ZYDIS_ELEMENT_TYPE_INT: return fmt::format("m{}int", bits);
            case ZYDIS_ELEMENT_TYPE_LONGBCD: return fmt::format("m{}bcd", bits);
            default: break;
        }
    }
    // Images of a whole unit's state are counted in bytes.
    if (operand.element_type == ZYDIS_ELEMENT_TYPE_STRUCT) return fmt::format("m{}byte", bits / 8);
    return fmt::format("m{}", bits);
}

std::string spell_immediate(const ZydisDecodedInstruction& instruction, const ZydisDecodedOperand& operand,
                            unsigned which) {
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_NONE) return fmt::format("{}", operand.imm.value.u);
    const char* kind = operand.imm.is_relative ? "rel" : "imm";
    return fmt::format("{}{}", kind, instruction.raw.imm[which].size);
}

}  // namespace

std::string spell_operands(const ZydisDecodedInstruction& instruction, std::span<const ZydisDecodedOperand> operands) {
    std::string text;
    unsigned immediates = 0;
    for (const ZydisDecodedOperand& operand : operands) {
        if (!text.empty()) text += ", ";
        switch (operand.type) {
            case ZYDIS_OPERAND_TYPE_REGISTER: text += spell_register(operand); break;
            case ZYDIS_OPERAND_TYPE_MEMORY: text += spell_memory(instruction, operand); break;
            case ZYDIS_OPERAND_TYPE_POINTER: text += fmt::format("ptr16:{}", operand.size - 16); break;
            case ZYDIS_OPERAND_TYPE_IMMEDIATE:
                text += spell_immediate(instruction, operand, immediates);
                if (operand.encoding != ZYDIS_OPERAND_ENCODING_NONE) ++immediates;
                break;
            default: break;
        }
    }
    return text;
}

}  // namespace dualvm::study

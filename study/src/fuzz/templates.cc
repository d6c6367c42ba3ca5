#include "templates.h"

#include <algorithm>
#include <unordered_set>

#include "../catalogue/features.h"
#include "../catalogue/walk.h"
#include "../disassembler_corrections.h"

namespace dualvm::study {

namespace {

// Where the opcode is, and what of ModRM is not an operand: what tells one encoding from another.
u64 identity(const DecodedInstruction& d) {
    const ZydisDecodedInstruction& i = d.zydis;
    const auto encodes = [&](ZydisOperandEncoding encoding) {
        return std::any_of(d.visible().begin(), d.visible().end(),
                           [&](const ZydisDecodedOperand& o) { return o.encoding == encoding; });
    };
    const bool modrm = d.has(ZYDIS_ATTRIB_HAS_MODRM);
    const bool registers_only = i.raw.modrm.mod == 3;
    u64 id = i.mnemonic;
    id = id << 4 | i.opcode_map;
    id = id << 8 | (encodes(ZYDIS_OPERAND_ENCODING_OPCODE) ? i.opcode & 0xf8u : i.opcode);
    id = id << 7 | i.operand_width >> 3;
    id = id << 3 | (i.address_width >> 4 & 7);
    id = id << 2 | (modrm ? 1u + (registers_only ? 1u : 0u) : 0u);
    id = id << 3 | (modrm && !encodes(ZYDIS_OPERAND_ENCODING_MODRM_REG) ? i.raw.modrm.reg : 0);
    id = id << 3 | (modrm && registers_only && !encodes(ZYDIS_OPERAND_ENCODING_MODRM_RM) ? i.raw.modrm.rm : 0);
    // PADDB has one opcode for MMX and, with a prefix, for XMM registers; MOVD too, with as many bits of them.
    for (unsigned n = 0; n < 2; ++n) {
        const bool there = n < d.visible().size();
        const bool reg = there && d.operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER;
        const auto kind = reg ? static_cast<unsigned>(ZydisRegisterGetClass(d.operands[n].reg.value)) : 0u;
        id = id << 5 | kind;
    }
    return id;
}

bool uses_segment_register(std::span<const ZydisDecodedOperand> operands) {
    return std::any_of(operands.begin(), operands.end(), [](const ZydisDecodedOperand& o) {
        return o.type == ZYDIS_OPERAND_TYPE_REGISTER && o.visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
               ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_SEGMENT &&
               (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    });
}

}  // namespace

ModelDecoder::ModelDecoder(CodeMode mode, const CpuModel& model) : model_(model) {
    for (ZydisDecoder* decoder : {&decoder_, &newest_}) {
        switch (mode) {
            case CodeMode::Bits64: ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
            case CodeMode::Bits32:
                ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
                break;
            case CodeMode::Bits16:
                ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
                break;
        }
    }
    read_as_model(decoder_, model);
}

ZyanStatus ModelDecoder::decode(std::span<const u8> bytes, DecodedInstruction& into) const {
    const ZyanStatus status =
        ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &into.zydis, into.operands.data());
    if (ZYAN_SUCCESS(status)) correct_base(into.zydis, std::span(into.operands).first(into.zydis.operand_count));
    return status;
}

bool ModelDecoder::comparable(std::span<const u8> bytes, const DecodedInstruction& as) const {
    return not_comparable(as.zydis, as.all()) == nullptr && means_the_same(bytes, as);
}

bool ModelDecoder::means_the_same(std::span<const u8> bytes, const DecodedInstruction& as) const {
    if (!advertises(model_, feature_of(as.zydis))) return false;
    // F3 0F BC is BSF to this model and TZCNT to a host that has BMI1.
    ZydisDecodedInstruction newest;
    return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&newest_, nullptr, bytes.data(), bytes.size(), &newest)) &&
           newest.mnemonic == as.zydis.mnemonic;
}

const char* not_comparable(const ZydisDecodedInstruction& instruction, std::span<const ZydisDecodedOperand> operands) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP: return "time is no state";
        case ZYDIS_MNEMONIC_CPUID: return "the host's CPU is another model";
        case ZYDIS_MNEMONIC_SYSCALL:
        case ZYDIS_MNEMONIC_SYSENTER: return "the operating system answers";
        case ZYDIS_MNEMONIC_RDFSBASE:
        case ZYDIS_MNEMONIC_RDGSBASE:
        case ZYDIS_MNEMONIC_WRFSBASE:
        case ZYDIS_MNEMONIC_WRGSBASE: return "the operating system allows them or not, and uses the bases itself";
        // Linux answers these itself where the CPU has UMIP.
        case ZYDIS_MNEMONIC_SGDT:
        case ZYDIS_MNEMONIC_SIDT:
        case ZYDIS_MNEMONIC_SLDT:
        case ZYDIS_MNEMONIC_SMSW:
        case ZYDIS_MNEMONIC_STR: return "the operating system answers";
        // What descriptors there are is the operating system's matter.
        case ZYDIS_MNEMONIC_LAR:
        case ZYDIS_MNEMONIC_LSL:
        case ZYDIS_MNEMONIC_VERR:
        case ZYDIS_MNEMONIC_VERW:
        case ZYDIS_MNEMONIC_IRET:
        case ZYDIS_MNEMONIC_IRETD:
        case ZYDIS_MNEMONIC_IRETQ:
        case ZYDIS_MNEMONIC_LDS:
        case ZYDIS_MNEMONIC_LES:
        case ZYDIS_MNEMONIC_LFS:
        case ZYDIS_MNEMONIC_LGS:
        case ZYDIS_MNEMONIC_LSS: return kDescriptorTables;
        case ZYDIS_MNEMONIC_INT:
            if (operands[0].imm.value.u == 0x80) return "the operating system answers";
            break;
        default: break;
    }
    if (instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || uses_segment_register(operands)) {
        return kDescriptorTables;
    }
    // A result that the manual leaves undefined (SDM vol. 2A, "BSWAP").
    if (instruction.mnemonic == ZYDIS_MNEMONIC_BSWAP && instruction.operand_width == 16) return "undefined";
    return nullptr;
}

std::vector<Template> make_templates(CodeMode mode, const CpuModel& model, const std::vector<std::string>& only) {
    const ModelDecoder decoder(mode, model);
    const FormNames names(model);
    std::vector<Template> templates;
    std::unordered_set<u64> seen;
    DecodedInstruction d;
    walk_legacy_encodings(mode, [&](std::span<const u8> bytes) {
        if (!ZYAN_SUCCESS(decoder.decode(bytes, d))) return Seen::Undefined;
        const Seen what = d.has(ZYDIS_ATTRIB_HAS_MODRM) ? Seen::WithModRm : Seen::WithoutModRm;
        const bool wanted =
            only.empty() || std::find(only.begin(), only.end(), ZydisMnemonicGetString(d.zydis.mnemonic)) != only.end();
        if (!wanted || !decoder.comparable(bytes, d) || !seen.insert(identity(d)).second) return what;
        Template t;
        t.instruction = d;
        t.bytes.assign(bytes.begin(), bytes.begin() + d.zydis.length);
        t.key = names.key(mode, t.bytes).value_or("");
        templates.push_back(std::move(t));
        return what;
    });
    return templates;
}

}  // namespace dualvm::study

#include "dualvm/study/catalogue.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include "features.h"
#include "spelling.h"
#include "walk.h"

namespace dualvm::study {

namespace {

constexpr std::array kModes = {CodeMode::Bits16, CodeMode::Bits32, CodeMode::Bits64};

ZydisDecoder make_decoder(CodeMode mode) {
    ZydisDecoder decoder;
    switch (mode) {
        case CodeMode::Bits16: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16); break;
        case CodeMode::Bits32: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32); break;
        case CodeMode::Bits64: ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); break;
    }
    return decoder;
}

struct Decoded {
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;

    std::span<const ZydisDecodedOperand> visible() const {
        return std::span(operands).first(instruction.operand_count_visible);
    }
};

// Knights Corner had VEX encodings for masks and for POPCNT, LZCNT and TZCNT that no other CPU knows; Zydis decodes
// them beside AVX.
bool is_knights_corner(const ZydisDecodedInstruction& i) {
    if (i.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) return false;
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_POPCNT:
        case ZYDIS_MNEMONIC_LZCNT:
        case ZYDIS_MNEMONIC_TZCNT: return true;
        default: return i.meta.isa_ext >= ZYDIS_ISA_EXT_KNC && i.meta.isa_ext <= ZYDIS_ISA_EXT_KNCV;
    }
}

bool decode(const ZydisDecoder& decoder, std::span<const u8> bytes, Decoded& into) {
    const ZyanStatus status =
        ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &into.instruction, into.operands.data());
    return ZYAN_SUCCESS(status) && !is_knights_corner(into.instruction);
}

std::string key_of(CodeMode mode, std::string_view mnemonic, std::string_view operands) {
    return fmt::format("{}/{}/{}", static_cast<unsigned>(mode), mnemonic, operands);
}
std::string key_of(CodeMode mode, const Decoded& decoded) {
    return key_of(mode, ZydisMnemonicGetString(decoded.instruction.mnemonic),
                  spell_operands(decoded.instruction, decoded.visible()));
}

bool encodes(const Decoded& decoded, ZydisOperandEncoding encoding) {
    return std::any_of(decoded.visible().begin(), decoded.visible().end(),
                       [&](const ZydisDecodedOperand& o) { return o.encoding == encoding; });
}

bool touches_system_register(const Decoded& decoded) {
    return std::any_of(decoded.visible().begin(), decoded.visible().end(), [](const ZydisDecodedOperand& o) {
        if (o.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
        const ZydisRegisterClass c = ZydisRegisterGetClass(o.reg.value);
        return c == ZYDIS_REGCLASS_CONTROL || c == ZYDIS_REGCLASS_DEBUG;
    });
}

// What makes two encodings of one form different: where the opcode is, and the bits of ModRM that no operand uses.
using EncodingIdentity = std::tuple<int, int, u8, u8, u8, u8>;
EncodingIdentity identity(const Decoded& decoded) {
    const ZydisDecodedInstruction& i = decoded.instruction;
    const bool modrm = (i.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    const bool reg_selects = modrm && !encodes(decoded, ZYDIS_OPERAND_ENCODING_MODRM_REG);
    const bool rm_selects = modrm && !encodes(decoded, ZYDIS_OPERAND_ENCODING_MODRM_RM);
    // Where the opcode holds a register's number, the eight opcodes are one.
    const u8 opcode = encodes(decoded, ZYDIS_OPERAND_ENCODING_OPCODE) ? i.opcode & 0xf8 : i.opcode;
    return {i.encoding,
            i.opcode_map,
            opcode,
            i.operand_width,
            reg_selects ? i.raw.modrm.reg : u8{0},
            rm_selects ? i.raw.modrm.rm : u8{0}};
}

InstructionForm describe(CodeMode mode, const Decoded& decoded, const CpuModel& model) {
    const ZydisDecodedInstruction& i = decoded.instruction;
    InstructionForm form;
    form.mode = mode;
    form.mnemonic = ZydisMnemonicGetString(i.mnemonic);
    form.operands = spell_operands(i, decoded.visible());
    form.isa_set = ZydisISASetGetString(i.meta.isa_set);
    form.isa_extension = ZydisISAExtGetString(i.meta.isa_ext);
    form.category = ZydisCategoryGetString(i.meta.category);
    form.feature = feature_of(i);
    form.advertised = advertises(model, form.feature);
    form.memory = std::any_of(decoded.visible().begin(), decoded.visible().end(),
                              [](const ZydisDecodedOperand& o) { return o.type == ZYDIS_OPERAND_TYPE_MEMORY; });
    form.privileged = (i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0;
    form.system = i.meta.category == ZYDIS_CATEGORY_SYSTEM || touches_system_register(decoded);
    form.io = i.meta.category == ZYDIS_CATEGORY_IO || i.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    form.allows_lock = (i.attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK) != 0;
    form.allows_rep =
        (i.attributes & (ZYDIS_ATTRIB_ACCEPTS_REP | ZYDIS_ATTRIB_ACCEPTS_REPE | ZYDIS_ATTRIB_ACCEPTS_REPNE)) != 0;
    return form;
}

class Collector {
public:
    Collector(CodeMode mode, const CpuModel& model)
        : mode_(mode), model_(model), all_(make_decoder(mode)), as_model_(make_decoder(mode)) {
        read_as_model(as_model_, model);
    }

    // Takes what `bytes` are, to this model and to a CPU with everything.
    Seen visit(std::span<const u8> bytes) {
        Decoded older, newest;
        const bool is_older = decode(as_model_, bytes, older);
        const bool is_newest = decode(all_, bytes, newest);
        if (is_older) add(bytes, older);
        if (is_newest && (!is_older || newest.instruction.mnemonic != older.instruction.mnemonic)) {
            InstructionForm& form = add(bytes, newest);
            if (is_older && form.reads_as.empty()) form.reads_as = key_of(mode_, older);
        }
        if (!is_older && !is_newest) return Seen::Undefined;
        const auto attributes = is_older ? older.instruction.attributes : newest.instruction.attributes;
        return (attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0 ? Seen::WithModRm : Seen::WithoutModRm;
    }

    std::vector<InstructionForm> take() {
        std::vector<InstructionForm> forms;
        for (auto& [key, found] : forms_) forms.push_back(std::move(found.form));
        return forms;
    }

private:
    struct Found {
        InstructionForm form;
        std::set<EncodingIdentity> encodings;
    };

    InstructionForm& add(std::span<const u8> bytes, const Decoded& decoded) {
        auto [at, is_new] = forms_.try_emplace(key_of(mode_, decoded));
        Found& found = at->second;
        if (is_new) found.form = describe(mode_, decoded, model_);
        if (found.encodings.insert(identity(decoded)).second) {
            const auto length = static_cast<std::ptrdiff_t>(decoded.instruction.length);
            found.form.encodings.emplace_back(bytes.begin(), bytes.begin() + length);
        }
        return found.form;
    }

    CodeMode mode_;
    const CpuModel& model_;
    ZydisDecoder all_, as_model_;
    std::map<std::string, Found> forms_;
};

}  // namespace

std::string InstructionForm::key() const { return key_of(mode, mnemonic, operands); }

std::vector<InstructionForm> instruction_catalogue(const CpuModel& model, CodeMode mode) {
    Collector collector(mode, model);
    walk_encodings(mode, [&](std::span<const u8> bytes) { return collector.visit(bytes); });
    return collector.take();
}

std::vector<InstructionForm> instruction_catalogue(const CpuModel& model) {
    std::vector<InstructionForm> forms;
    for (CodeMode mode : kModes) std::ranges::move(instruction_catalogue(model, mode), std::back_inserter(forms));
    return forms;
}

struct FormNames::Decoders {
    std::array<ZydisDecoder, kModes.size()> by_mode{};
};

FormNames::FormNames(const CpuModel& model) : decoders_(std::make_unique<Decoders>()) {
    for (std::size_t i = 0; i < kModes.size(); ++i) {
        decoders_->by_mode[i] = make_decoder(kModes[i]);
        read_as_model(decoders_->by_mode[i], model);
    }
}
FormNames::~FormNames() = default;
FormNames::FormNames(FormNames&&) noexcept = default;
FormNames& FormNames::operator=(FormNames&&) noexcept = default;

std::optional<std::string> FormNames::key(CodeMode mode, std::span<const u8> bytes) const {
    const auto which = static_cast<std::size_t>(std::find(kModes.begin(), kModes.end(), mode) - kModes.begin());
    Decoded decoded;
    if (!decode(decoders_->by_mode[which], bytes, decoded)) return std::nullopt;
    return key_of(mode, decoded);
}

}  // namespace dualvm::study

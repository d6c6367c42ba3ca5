#include "dualvm/study/disassembler.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "disassembler_corrections.h"

namespace dualvm::study {

namespace {

constexpr std::size_t kLongest = 15;  // SDM vol. 2A, 2.3.11
constexpr std::size_t kModes = static_cast<std::size_t>(CpuMode::Long64) + 1;

struct DecoderMode {
    ZydisMachineMode machine;
    ZydisStackWidth stack;
};

DecoderMode decoder_mode(CpuMode mode) {
    switch (mode) {
        case CpuMode::Real:
        case CpuMode::Virtual8086: return {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16};
        case CpuMode::Protected16: return {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16};
        case CpuMode::Protected32: return {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32};
        case CpuMode::Compatibility16: return {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16};
        case CpuMode::Compatibility32: return {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32};
        case CpuMode::Long64: break;
    }
    return {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64};
}

}  // namespace

struct Disassembler::Zydis {
    std::array<ZydisDecoder, kModes> decoders{};
    ZydisFormatter formatter{};
};

Disassembler::Disassembler(Syntax syntax) : zydis_(std::make_unique<Zydis>()) {
    for (std::size_t i = 0; i < kModes; ++i) {
        const DecoderMode mode = decoder_mode(static_cast<CpuMode>(i));
        ZydisDecoderInit(&zydis_->decoders[i], mode.machine, mode.stack);
    }
    const bool intel = syntax == Syntax::Intel;
    ZydisFormatterInit(&zydis_->formatter, intel ? ZYDIS_FORMATTER_STYLE_INTEL : ZYDIS_FORMATTER_STYLE_ATT);
    // Numbers as they are usually written: 0x5, not 0x05; a branch's target as an address.
    ZydisFormatterSetProperty(&zydis_->formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
    for (auto padding : {ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE,
                         ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_FORMATTER_PROP_IMM_PADDING}) {
        ZydisFormatterSetProperty(&zydis_->formatter, padding, ZYDIS_PADDING_DISABLED);
    }
}
Disassembler::~Disassembler() = default;
Disassembler::Disassembler(Disassembler&&) noexcept = default;
Disassembler& Disassembler::operator=(Disassembler&&) noexcept = default;

Line Disassembler::line(CpuMode mode, u64 address, std::span<const u8> bytes) const {
    Line line;
    line.address = address;
    bytes = bytes.first(std::min(bytes.size(), kLongest));
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    const ZyanStatus status = ZydisDecoderDecodeFull(&zydis_->decoders[static_cast<std::size_t>(mode)], bytes.data(),
                                                     bytes.size(), &instruction, operands.data());
    if (!ZYAN_SUCCESS(status)) {
        const bool cut = status == ZYDIS_STATUS_NO_MORE_DATA;
        line.bytes = cut ? bytes : bytes.first(1);
        line.text = cut ? "(cut off)" : "(bad)";
        return line;
    }
    correct_base(instruction, std::span(operands).first(instruction.operand_count_visible));
    std::array<char, 256> text{};
    ZydisFormatterFormatInstruction(&zydis_->formatter, &instruction, operands.data(),
                                    instruction.operand_count_visible, text.data(), text.size(), address, nullptr);
    line.bytes = bytes.first(instruction.length);
    line.valid = true;
    line.text = text.data();
    return line;
}

std::string to_text(const Line& line) {
    std::string bytes;
    for (u8 byte : line.bytes) bytes += fmt::format("{:02x} ", byte);
    return fmt::format("{:>8x}  {:<30} {}", line.address, bytes, line.text);
}

}  // namespace dualvm::study

#include "opinions.h"

#include <Zydis/Zydis.h>
#include <capstone/capstone.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace dualvm::capstone {

namespace {

struct Mode {
    unsigned bits;
    ZydisMachineMode machine;
    ZydisStackWidth stack;
    cs_mode capstone;
};
constexpr std::array<Mode, 3> kModes = {{
    {16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, CS_MODE_16},
    {32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, CS_MODE_32},
    {64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, CS_MODE_64},
}};
std::size_t index_of(unsigned bits) { return bits == 16 ? 0 : bits == 32 ? 1 : 2; }

bool is_prefix(u8 byte) {
    switch (byte) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
        case 0x66:
        case 0x67:
        case 0xf0:
        case 0xf2:
        case 0xf3: return true;
        default: return false;
    }
}
bool is_rex(unsigned mode, u8 byte) { return mode == 64 && (byte & 0xf0) == 0x40; }

// Behind prefixes and REX.
std::span<const u8> from_opcode(unsigned mode, std::span<const u8> bytes) {
    while (bytes.size() > 2 && (is_prefix(bytes[0]) || is_rex(mode, bytes[0]))) bytes = bytes.subspan(1);
    return bytes;
}

// Conditions have several names (SDM vol. 1, appendix B).
std::string condition_name(const std::string& name) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kConditions = {
        {{"ae", "nb"}, {"a", "nbe"}, {"ge", "nl"}, {"g", "nle"}, {"e", "z"}, {"ne", "nz"}}};
    for (std::string_view stem : {"j", "set", "cmov"}) {
        if (!name.starts_with(stem)) continue;
        for (const auto& [capstone, zydis] : kConditions) {
            if (name.substr(stem.size()) == capstone) return std::string(stem) + std::string(zydis);
        }
    }
    return name;
}

// CMPPS and its kin with an immediate below 8 have a name each for assemblers (SDM vol. 2A, table 3-2).
std::string compare_name(const std::string& name) {
    for (std::string_view kind : {"ps", "pd", "ss", "sd"}) {
        for (std::string_view condition : {"eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord"}) {
            if (name == "cmp" + std::string(condition) + std::string(kind)) return "cmp" + std::string(kind);
        }
    }
    return name;
}

// What Capstone calls otherwise than Zydis.
std::string zydis_name(const std::string& name) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kNames = {{
        {"retf", "ret"},
        {"retfq", "ret"},
        {"lcall", "call"},
        {"ljmp", "jmp"},
        {"xlatb", "xlat"},
        {"wait", "fwait"},
        {"sal", "shl"},
        {"movabs", "mov"},
        {"ud2b", "ud1"},
        {"pushaw", "pusha"},
        {"popaw", "popa"},
        {"pushal", "pushad"},
        {"popal", "popad"},
        {"xstorerng", "xstore"},
        {"fsetpm", "fsetpm287_nop"},
        {"sysretq", "sysret"},
    }};
    for (const auto& [capstone, zydis] : kNames) {
        if (name == capstone) return std::string(zydis);
    }
    const std::string condition = condition_name(name);
    return condition != name ? condition : compare_name(name);
}

}  // namespace

struct Opinions::Libraries {
    std::array<ZydisDecoder, kModes.size()> zydis{};
    std::array<csh, kModes.size()> capstone{};
    cs_insn* insn = nullptr;
};

Opinions::Opinions() : libraries_(std::make_unique<Libraries>()) {
    for (std::size_t i = 0; i < kModes.size(); ++i) {
        ZydisDecoder& decoder = libraries_->zydis[i];
        ZydisDecoderInit(&decoder, kModes[i].machine, kModes[i].stack);
        // What newer CPUs make of reserved NOPs, and of BSF and BSR with a prefix, Capstone knows in part.
        for (ZydisDecoderMode off : {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CLDEMOTE})
            ZydisDecoderEnableMode(&decoder, off, ZYAN_FALSE);
        if (cs_open(CS_ARCH_X86, kModes[i].capstone, &libraries_->capstone[i]) != CS_ERR_OK) std::abort();
    }
    libraries_->insn = cs_malloc(libraries_->capstone[0]);
}

Opinions::~Opinions() {
    cs_free(libraries_->insn, 1);
    for (csh& handle : libraries_->capstone) cs_close(&handle);
}

Opinion Opinions::zydis(unsigned mode, std::span<const u8> bytes) const {
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&libraries_->zydis[index_of(mode)], bytes.data(), bytes.size(),
                                             &instruction, operands.data())))
        return {};
    return {ZydisMnemonicGetString(instruction.mnemonic), instruction.length};
}

Opinion Opinions::capstone(unsigned mode, std::span<const u8> bytes) const {
    const u8* at = bytes.data();
    std::size_t left = bytes.size();
    u64 address = 0;
    if (!cs_disasm_iter(libraries_->capstone[index_of(mode)], &at, &left, &address, libraries_->insn)) return {};
    std::string name = libraries_->insn->mnemonic;
    if (const auto space = name.rfind(' '); space != std::string::npos) name = name.substr(space + 1);  // "rep stosb"
    return {zydis_name(name), libraries_->insn->size};
}

bool Opinions::is_beyond_the_model(unsigned mode, std::span<const u8> bytes) {
    bytes = from_opcode(mode, bytes);
    const u8 next = bytes[1];
    const bool registers = mode == 64 || (next & 0xc0) == 0xc0;
    switch (bytes[0]) {
        case 0x62:
        case 0xc4:
        case 0xc5: return registers;
        case 0x8f: return (next & 0x38) != 0;  // POP is /0 only
        case 0x0f: return next == 0x0f || next == 0xa6 || next == 0xa7;
        default: return false;
    }
}

bool Opinions::is_newer(unsigned mode, std::span<const u8> bytes) const {
    ZydisDecodedInstruction i;
    const ZydisDecoder& decoder = libraries_->zydis[index_of(mode)];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, bytes.data(), bytes.size(), &i))) return false;
    switch (i.meta.isa_ext) {
        case ZYDIS_ISA_EXT_BASE:
        case ZYDIS_ISA_EXT_LONGMODE:
        case ZYDIS_ISA_EXT_X87:
        case ZYDIS_ISA_EXT_MMX:
        case ZYDIS_ISA_EXT_SSE:
        case ZYDIS_ISA_EXT_SSE2:
        case ZYDIS_ISA_EXT_SSE3:
        case ZYDIS_ISA_EXT_SSSE3:
        case ZYDIS_ISA_EXT_SSE4:
        case ZYDIS_ISA_EXT_MOVBE:
        case ZYDIS_ISA_EXT_RDTSCP:
        case ZYDIS_ISA_EXT_CLFSH:
        case ZYDIS_ISA_EXT_PAUSE: return false;
        default: return true;
    }
}

const Ruling* Opinions::ruling(unsigned mode, std::span<const u8> bytes, const Opinion& zydis,
                               const Opinion& capstone) {
    const std::span<const u8> opcode = from_opcode(mode, bytes);
    const auto prefixes = bytes.first(bytes.size() - opcode.size());
    const auto has = [&](u8 prefix) { return std::find(prefixes.begin(), prefixes.end(), prefix) != prefixes.end(); };
    const bool selecting = opcode[0] == 0x0f && (has(0x66) || has(0xf2) || has(0xf3));
    const auto applies = [&](const Ruling& r) {
        switch (r.about) {
            case About::Lock: return has(0xf0) && zydis == Opinion{};
            case About::BlankEntry: return selecting && zydis == Opinion{};
            case About::SixteenBits: return selecting && mode == 16;
            case About::SeveralPrefixes: return prefixes.size() > 1 && zydis.length == capstone.length;
            case About::NearBranch: return mode == 64 && has(0x66) && zydis.mnemonic == capstone.mnemonic;
            case About::PrefixedCall: return prefixes.size() > 1 && opcode[0] == 0xe8 && zydis.mnemonic == "call";
            case About::PrefixBetween: return selecting && prefixes.size() > 1 && capstone == Opinion{};
            case About::Names: break;
        }
        return zydis.mnemonic == r.zydis && (capstone.mnemonic == r.capstone || std::string_view("*") == r.capstone);
    };
    const auto found = std::find_if(rulings().begin(), rulings().end(), applies);
    return found == rulings().end() ? nullptr : &*found;
}

}  // namespace dualvm::capstone

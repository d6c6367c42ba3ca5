#include "walk.h"

#include <algorithm>
#include <array>
#include <initializer_list>

namespace dualvm::study {

namespace {

using Bytes = std::vector<u8>;
using Visit = std::function<Seen(std::span<const u8>)>;

constexpr std::size_t kLongest = 15;    // SDM vol. 2A, 2.3.11
constexpr unsigned kRegisterForms = 3;  // ModRM.mod

constexpr u8 modrm(unsigned mod, unsigned reg, unsigned rm) { return static_cast<u8>(mod << 6 | reg << 3 | rm); }

// One memory operand, one with a SIB byte (which VSIB needs), and all registers, each with all of ModRM.reg.
const Bytes& all_modrm() {
    static const Bytes bytes = [] {
        Bytes b;
        for (unsigned reg = 0; reg < 8; ++reg) {
            for (unsigned rm : {0u, 4u}) b.push_back(modrm(0, reg, rm));
        }
        for (unsigned rest = 0; rest < 64; ++rest) b.push_back(modrm(kRegisterForms, rest >> 3, rest & 7));
        return b;
    }();
    return bytes;
}

// For the maps where ModRM.rm never selects an instruction.
const Bytes& few_modrm() {
    static const Bytes bytes = [] {
        Bytes b;
        for (unsigned reg = 0; reg < 8; ++reg) {
            b.insert(b.end(), {modrm(0, reg, 0), modrm(0, reg, 4), modrm(kRegisterForms, reg, 0)});
        }
        return b;
    }();
    return bytes;
}

// Bytes that stand where an opcode might and are none: prefixes, and what leads to another map.
bool is_opcode(CodeMode mode, std::span<const u8> map, unsigned byte) {
    if (map.empty()) {
        switch (byte) {
            case 0x0f:
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
            case 0xf3: return false;
            default: return mode != CodeMode::Bits64 || (byte & 0xf0) != 0x40;  // REX
        }
    }
    return map.size() > 1 || (byte != 0x0f && byte != 0x38 && byte != 0x3a);
}

// `bytes` with each of `modrm_bytes` at `where`, until it turns out that there is no ModRM byte.
void walk_modrm(std::array<u8, kLongest>& bytes, std::size_t where, const Bytes& modrm_bytes, const Visit& visit) {
    for (u8 byte : modrm_bytes) {
        bytes[where] = byte;
        if (visit(bytes) == Seen::WithoutModRm) break;
    }
    bytes[where] = 0;
}

// All opcodes behind a VEX, XOP or EVEX prefix.
void walk_vector_map(const Bytes& prefix, const Bytes& modrm_bytes, const Visit& visit) {
    std::array<u8, kLongest> bytes{};
    std::copy(prefix.begin(), prefix.end(), bytes.begin());
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        bytes[prefix.size()] = static_cast<u8>(opcode);
        walk_modrm(bytes, prefix.size() + 1, modrm_bytes, visit);
    }
}

// All opcodes of a legacy map.
void walk_legacy_map(CodeMode mode, const Bytes& prefixes, const Bytes& map, const Visit& visit) {
    std::array<u8, kLongest> bytes{};
    std::copy(map.begin(), map.end(), std::copy(prefixes.begin(), prefixes.end(), bytes.begin()));
    const std::size_t where = prefixes.size() + map.size();
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        if (!is_opcode(mode, map, opcode)) continue;
        bytes[where] = static_cast<u8>(opcode);
        walk_modrm(bytes, where + 1, all_modrm(), visit);
    }
}

// SDM vol. 2A, 2.1 and 2.2: operand-size, address-size and the two prefixes that select instructions; REX.W.
void walk_legacy(CodeMode mode, const Visit& visit) {
    const std::array<Bytes, 7> prefixes = {{{}, {0x66}, {0xf2}, {0xf3}, {0x67}, {0x66, 0xf2}, {0x66, 0xf3}}};
    const std::array<Bytes, 4> maps = {{{}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}}};
    constexpr u8 kRexW = 0x48;
    for (const Bytes& prefix : prefixes) {
        for (bool wide : {false, true}) {
            if (wide && mode != CodeMode::Bits64) continue;
            for (const Bytes& map : maps) {
                Bytes before = prefix;
                if (wide) before.push_back(kRexW);
                walk_legacy_map(mode, before, map, visit);
            }
        }
    }
    // 3DNow!: the opcode comes last (AMD APM vol. 3, 1.4).
    for (u8 operand : {modrm(0, 0, 0), modrm(kRegisterForms, 0, 0)}) {
        std::array<u8, kLongest> bytes = {0x0f, 0x0f, operand};
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
            bytes[3] = static_cast<u8>(opcode);
            visit(bytes);
        }
    }
}

// The three-byte forms of VEX (C4h; SDM vol. 2A, 2.3.5) and XOP (8Fh; AMD APM vol. 3, 1.2.8). Register extension bits
// are inverted; vvvv names a register or must be 1111b.
void walk_three_byte(u8 escape, std::span<const u8> maps, const Visit& visit) {
    constexpr u8 kNoExtension = 0xe0;
    for (u8 map : maps) {
        for (unsigned rest = 0; rest < 16; ++rest) {  // W, L and the two bits of pp
            for (unsigned vvvv : {0xfu, 0u}) {
                const unsigned w = rest >> 3, l = rest >> 2 & 1, pp = rest & 3;
                const auto last = static_cast<u8>(w << 7 | vvvv << 3 | l << 2 | pp);
                walk_vector_map({escape, static_cast<u8>(kNoExtension | map), last}, all_modrm(), visit);
            }
        }
    }
}

// SDM vol. 2A, 2.7. With and without a mask register, which some instructions must and some may not have.
void walk_evex(const Visit& visit) {
    constexpr u8 kEvex = 0x62, kNoExtension = 0xf0, kFixed = 0x04, kNoHighVvvv = 0x08;
    for (u8 map : std::initializer_list<u8>{1, 2, 3, 5, 6}) {
        for (unsigned rest = 0; rest < 256; ++rest) {
            const unsigned w = rest & 1, vvvv = (rest & 2) != 0 ? 0 : 0xf, pp = rest >> 2 & 3;
            const unsigned length = rest >> 4 & 3, broadcast = rest >> 6 & 1, mask = rest >> 7;
            const auto second = static_cast<u8>(w << 7 | vvvv << 3 | kFixed | pp);
            const auto third = static_cast<u8>(length << 5 | broadcast << 4 | kNoHighVvvv | mask);
            walk_vector_map({kEvex, static_cast<u8>(kNoExtension | map), second, third}, few_modrm(), visit);
        }
    }
}

}  // namespace

void walk_legacy_encodings(CodeMode mode, const Visit& visit) { walk_legacy(mode, visit); }

void walk_encodings(CodeMode mode, const Visit& visit) {
    constexpr std::array<u8, 3> kVexMaps = {1, 2, 3}, kXopMaps = {8, 9, 10};
    walk_legacy(mode, visit);
    walk_three_byte(0xc4, kVexMaps, visit);
    walk_three_byte(0x8f, kXopMaps, visit);
    walk_evex(visit);
}

}  // namespace dualvm::study

#include "instruction_maker.h"

#include <algorithm>

#include "corner_values.h"
#include "dualvm/cpu_file.h"

namespace dualvm::study {

namespace {

constexpr u8 kLock = 0xf0, kAddressSize = 0x67, kOperandSize = 0x66;
enum RexBit : u8 { B = 1, X = 2, R = 4, W = 8 };

bool encodes(const DecodedInstruction& d, ZydisOperandEncoding encoding, ZydisRegisterClass* of = nullptr) {
    for (const ZydisDecodedOperand& o : d.visible()) {
        if (o.encoding != encoding) continue;
        if (of != nullptr && o.type == ZYDIS_OPERAND_TYPE_REGISTER) *of = ZydisRegisterGetClass(o.reg.value);
        return true;
    }
    return false;
}

bool is_general(ZydisRegisterClass c) { return c >= ZYDIS_REGCLASS_GPR8 && c <= ZYDIS_REGCLASS_GPR64; }

void append(std::vector<u8>& to, u64 value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) to.push_back(static_cast<u8>(value >> 8 * i));
}

// How far branches go: out of the code into what fills the page, or to the next instruction.
u64 branch_distance(Random& random, unsigned bytes) {
    if (random.one_in(4)) return 0;
    if (bytes == 1 || random.one_in(2)) return 0x60 + random.below(0x20);
    return random.one_in(8) ? random.next() : random.below(0x800) + 0x60;
}

// Prefixes that mean nothing to the instruction, or something else than one would think.
void add_odd_prefixes(Random& random, CodeMode mode, std::vector<u8>& prefixes) {
    const u64 count = 1 + random.below(2);
    for (u64 i = 0; i < count; ++i) {
        u8 prefix = random.of<u8>({0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, kOperandSize, kAddressSize, 0xf2, 0xf3, 0x40});
        // A REX prefix that does not stand directly before the opcode is ignored (SDM vol. 2A, 2.2.1).
        if (prefix == 0x40) prefix = mode == CodeMode::Bits64 ? static_cast<u8>(0x40 | random.below(16)) : u8{0x3e};
        prefixes.insert(prefixes.begin() + static_cast<std::ptrdiff_t>(random.below(prefixes.size() + 1)), prefix);
    }
}

}  // namespace

bool is_illegal_lock(ZyanStatus status) { return status == ZYDIS_STATUS_ILLEGAL_LOCK; }

// For an address: one that no instruction has written, or else what comes. For data: one that holds no address.
unsigned InstructionMaker::pick_register(Random& random, const RegisterUse& use, bool address) const {
    const u64 count = mode_ == CodeMode::Bits64 ? 16 : 8;
    unsigned reg = 0;
    for (unsigned attempt = 0; attempt < 4; ++attempt) {
        reg = static_cast<unsigned>(random.below(count));
        if (reg == RSP && !random.one_in(20)) continue;
        if (address ? !use.written[reg] : !use.fixed[reg]) break;
    }
    return reg;
}

// ModRM, SIB and displacement of a memory operand (SDM vol. 2A, 2.1.5).
void InstructionMaker::add_memory(Random& random, const RegisterUse& use, unsigned reg, unsigned address_bits,
                                  std::vector<u8>& tail, u8& rex) const {
    const auto modrm = [&](unsigned mod, unsigned rm) {
        tail.push_back(static_cast<u8>(mod << 6 | reg << 3 | (rm & 7)));
    };
    const auto small = [&] { return static_cast<u64>(static_cast<i8>(random.next())); };
    if (address_bits == 16) {
        const unsigned mod = static_cast<unsigned>(random.below(3)), rm = static_cast<unsigned>(random.below(8));
        modrm(mod, rm);
        append(tail, random.next(), mod == 2 || (mod == 0 && rm == 6) ? 2 : mod);
        return;
    }
    constexpr unsigned kSibFollows = 4, kNoBase = 5;
    const unsigned mod = static_cast<unsigned>(random.below(3));
    unsigned base = pick_register(random, use, true);
    const bool no_base = mod == 0 && random.one_in(3);
    if (no_base) base = kNoBase;
    const bool sib = (base & 7) == kSibFollows || random.one_in(3);
    const bool displacement_only = mod == 0 && (base & 7) == kNoBase;
    if (sib) {
        const unsigned index = random.one_in(4) ? kSibFollows : pick_register(random, use, true);
        modrm(mod, kSibFollows);
        tail.push_back(static_cast<u8>(random.below(4) << 6 | (index & 7) << 3 | (base & 7)));
        if (index >= 8) rex |= X;
    } else {
        modrm(mod, base);
    }
    if (base >= 8) rex |= B;
    // What the operand's place needs is put in later, where there is room for it.
    if (displacement_only || mod == 2) {
        append(tail, random.one_in(4) ? corner_integer(random) : small(), 4);
    } else if (mod == 1) {
        append(tail, small(), 1);
    }
}

// What Zydis's encoder makes of the same instruction: the usual encoding, often another one.
void InstructionMaker::reencode(const DecodedInstruction& d, std::vector<u8>& bytes) const {
    ZydisEncoderRequest request;
    if (!ZYAN_SUCCESS(ZydisEncoderDecodedInstructionToEncoderRequest(&d.zydis, d.operands.data(),
                                                                     d.zydis.operand_count_visible, &request))) {
        return;
    }
    std::array<u8, ZYDIS_MAX_INSTRUCTION_LENGTH> encoded{};
    ZyanUSize length = encoded.size();
    if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, encoded.data(), &length))) return;
    bytes.assign(encoded.begin(), encoded.begin() + static_cast<std::ptrdiff_t>(length));
}

bool InstructionMaker::make(Random& random, const Template& from, const RegisterUse& use,
                            std::vector<u8>& bytes) const {
    const DecodedInstruction& t = from.instruction;
    const auto& raw = t.zydis.raw;
    const bool wide_mode = mode_ == CodeMode::Bits64;

    std::vector<u8> prefixes, tail;
    u8 rex = 0;
    for (unsigned i = 0; i < raw.prefix_count; ++i) {
        const u8 prefix = raw.prefixes[i].value;
        if (wide_mode && (prefix & 0xf0) == 0x40) {
            rex = prefix & 15;
        } else {
            prefixes.push_back(prefix);
        }
    }
    const bool has_modrm = t.has(ZYDIS_ATTRIB_HAS_MODRM);
    const bool memory = has_modrm && raw.modrm.mod != 3;
    if (memory && random.one_in(24) && std::find(prefixes.begin(), prefixes.end(), kAddressSize) == prefixes.end()) {
        prefixes.push_back(kAddressSize);
    }
    if (memory && random.one_in(12)) prefixes.insert(prefixes.begin(), random.of<u8>({0x26, 0x2e, 0x36, 0x3e}));
    if (memory && wide_mode && random.one_in(12)) prefixes.insert(prefixes.begin(), random.of<u8>({0x64, 0x65}));
    if (t.has(ZYDIS_ATTRIB_ACCEPTS_LOCK) ? random.one_in(4) : random.one_in(100))
        prefixes.insert(prefixes.begin(), kLock);
    if (t.has(ZYDIS_ATTRIB_ACCEPTS_REP | ZYDIS_ATTRIB_ACCEPTS_REPE) && random.one_in(2)) {
        prefixes.push_back(t.has(ZYDIS_ATTRIB_ACCEPTS_REPNE) && random.one_in(2) ? 0xf2 : 0xf3);
    }
    const bool odd = random.one_in(12);
    if (odd) add_odd_prefixes(random, mode_, prefixes);

    std::vector<u8> opcode;
    const unsigned opcode_end = has_modrm              ? raw.modrm.offset
                                : raw.disp.size != 0   ? raw.disp.offset
                                : raw.imm[0].size != 0 ? raw.imm[0].offset
                                                       : t.zydis.length;
    opcode.assign(from.bytes.begin() + raw.prefix_count, from.bytes.begin() + static_cast<std::ptrdiff_t>(opcode_end));
    ZydisRegisterClass register_class = ZYDIS_REGCLASS_INVALID;
    const auto data_register = [&](ZydisOperandEncoding encoding, unsigned otherwise) {
        register_class = ZYDIS_REGCLASS_INVALID;
        if (!encodes(t, encoding, &register_class)) return otherwise;
        if (is_general(register_class)) return pick_register(random, use, false);
        const bool sixteen = wide_mode && register_class == ZYDIS_REGCLASS_XMM;
        return static_cast<unsigned>(random.below(sixteen ? 16 : 8));
    };
    if (encodes(t, ZYDIS_OPERAND_ENCODING_OPCODE)) {
        const unsigned reg = data_register(ZYDIS_OPERAND_ENCODING_OPCODE, 0);
        opcode.back() = static_cast<u8>((opcode.back() & 0xf8) | (reg & 7));
        if (reg >= 8) rex |= B;
    }
    if (has_modrm) {
        const unsigned reg = data_register(ZYDIS_OPERAND_ENCODING_MODRM_REG, raw.modrm.reg);
        if (reg >= 8) rex |= R;
        if (memory) {
            const auto sizes = static_cast<u64>(std::count(prefixes.begin(), prefixes.end(), kAddressSize));
            const unsigned bits = wide_mode ? (sizes != 0 ? 32 : 64) : (sizes != 0 ? 16 : 32);
            add_memory(random, use, reg & 7, bits, tail, rex);
        } else {
            const unsigned rm = data_register(ZYDIS_OPERAND_ENCODING_MODRM_RM, raw.modrm.rm);
            if (rm >= 8) rex |= B;
            tail.push_back(static_cast<u8>(0xc0 | (reg & 7) << 3 | (rm & 7)));
        }
    } else if (raw.disp.size != 0) {
        append(tail, 0, raw.disp.size / 8);  // MOV's absolute address: put in later
    }
    for (const auto& imm : raw.imm) {
        const unsigned size = imm.size / 8;
        const u64 value = imm.is_relative ? branch_distance(random, size)
                          : size == 1     ? (random.one_in(2) ? corner_count(random) : random.next())
                                          : corner_integer(random);
        append(tail, value, size);
    }
    if (wide_mode && !odd && random.one_in(16)) rex |= static_cast<u8>(random.below(8));  // also where it says nothing

    bytes = prefixes;
    if (wide_mode && (rex != 0 || random.one_in(16))) bytes.push_back(static_cast<u8>(0x40 | rex));
    bytes.insert(bytes.end(), opcode.begin(), opcode.end());
    bytes.insert(bytes.end(), tail.begin(), tail.end());

    DecodedInstruction d;
    const ZyanStatus status = decoder_.decode(bytes, d);
    if (is_illegal_lock(status)) return true;
    if (!ZYAN_SUCCESS(status)) return false;
    if (!odd && random.one_in(2)) {
        reencode(d, bytes);
        if (!ZYAN_SUCCESS(decoder_.decode(bytes, d))) return false;
    }
    bytes.resize(d.zydis.length);
    return decoder_.comparable(bytes, d);
}

}  // namespace dualvm::study

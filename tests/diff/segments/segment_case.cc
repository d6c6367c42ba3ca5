#include "segment_case.h"

#include <algorithm>
#include <cstring>

#include "fuzz/random.h"

namespace dualvm::segments {

using study::DecodedInstruction;

// What a case is drawn with.
class Draw : public study::Random {
public:
    using Random::Random;

    u16 any_selector() {
        if (one_in(20)) return static_cast<u16>(below(4));
        if (one_in(20)) return selector_of(kSegments.size());  // beyond the limit of the LDT
        const auto index = static_cast<unsigned>(below(kSegments.size()));
        return selector_of(index, one_in(6) ? static_cast<unsigned>(below(4)) : 3);
    }
    // Near one of the limits, or anywhere.
    u32 offset() {
        static constexpr u32 kEdges[] = {
            0,      1,      2,      3,      6,      7,       8,       0x7f0,      0x7fc,      0x7fe,     0x7ff,  0x800,
            0x801,  0xff8,  0xffc,  0xffd,  0xffe,  0xfff,   0x1000,  0x3ffc,     0x3fff,     0x4000,    0xfff0, 0xfff8,
            0xfffa, 0xfffc, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x10001, 0xfffffffc, 0xfffffffe, 0xffffffff};
        const u64 kind = below(10);
        if (kind < 5) return kEdges[below(std::size(kEdges))];
        return static_cast<u32>(kind < 9 ? below(0x10000) : next());
    }
    u16 selector_of_one(std::initializer_list<unsigned> indices) { return selector_of(of(indices)); }
};

namespace {

constexpr u64 kUsualPlace = 0x1000;

// Behind an instruction at kUsualPlace, in filler and within the limits of the short segments.
u32 usual_target(Draw& draw, u64 length) {
    return static_cast<u32>(kUsualPlace + std::min<u64>(length + draw.below(4), 8));
}

// Opcodes that have to do with stacks, segments and addresses; those that are there twice are drawn more often.
u8 one_byte_opcode(Draw& draw) {
    return draw.of<u8>({0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x61, 0x62, 0x63, 0x68,
                        0x6a, 0x6c, 0x6e, 0x70, 0x75, 0x83, 0x86, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8e, 0x8f, 0x9a, 0x9c,
                        0x9d, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xc2,
                        0xc3, 0xc4, 0xc5, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xce, 0xcf, 0xcf, 0xd7, 0xd9, 0xdb, 0xdd, 0xdf,
                        0xe0, 0xe1, 0xe2, 0xe3, 0xe8, 0xe9, 0xea, 0xeb, 0xff, 0xff, 0xff, 0xff});
}
u8 two_byte_opcode(Draw& draw) {
    return draw.of<u8>({0x00, 0x00, 0x02, 0x02, 0x03, 0x03, 0x10, 0x11, 0x28, 0x6f, 0x7f, 0x80, 0x85, 0xa3, 0xa4,
                        0xab, 0xac, 0xaf, 0xb0, 0xb1, 0xb2, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc1, 0xc7});
}

bool mentions(const DecodedInstruction& d, ZydisRegister a, ZydisRegister b) {
    return std::any_of(d.all().begin(), d.all().end(), [&](const ZydisDecodedOperand& o) {
        return (o.type == ZYDIS_OPERAND_TYPE_REGISTER && (o.reg.value == a || o.reg.value == b)) ||
               (o.type == ZYDIS_OPERAND_TYPE_MEMORY && (o.mem.segment == a || o.mem.segment == b));
    });
}

// Is what it does for this test to compare?
bool wanted(const study::ModelDecoder& decoder, std::span<const u8> bytes, const DecodedInstruction& d) {
    if (d.zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !decoder.means_the_same(bytes, d)) return false;
    const char* reason = study::not_comparable(d.zydis, d.all());
    if (reason != nullptr && reason != study::kDescriptorTables) return false;
    // The C library's thread-local storage has FS in the child; GS goes with it.
    if (mentions(d, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS)) return false;
    switch (d.zydis.mnemonic) {
        // `dualvm fuzz` compares these, which have nothing to do with segments: interrupts by number, #DB by INT1, and
        // images with bits that the host's CPU has and the model has not.
        case ZYDIS_MNEMONIC_INT:
        case ZYDIS_MNEMONIC_INT1:
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXRSTOR: return false;
        // Undefined whatever its operand: whether its ModRM byte is fetched first, and with it a fault, is up to the
        // CPU (SDM vol. 2B, "UD").
        case ZYDIS_MNEMONIC_UD0:
        case ZYDIS_MNEMONIC_UD1: return false;
        // A NOP with a register to Intel's CPUs, undefined to those that know PREFETCHW (APM vol. 3, "PREFETCH").
        case ZYDIS_MNEMONIC_NOP: return !(d.zydis.opcode_map == ZYDIS_OPCODE_MAP_0F && d.zydis.opcode == 0x0d);
        // A repeat prefix here is reserved (SDM vol. 2A, 2.1.1; APM vol. 3, 1.2.6).
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE:
            return std::none_of(d.zydis.raw.prefixes, d.zydis.raw.prefixes + d.zydis.raw.prefix_count,
                                [](const auto& prefix) { return prefix.value == 0xf2 || prefix.value == 0xf3; });
        default: return true;
    }
}

}  // namespace

CaseMaker::CaseMaker(u64 seed)
    : seed_(seed),
      narrow_(study::CodeMode::Bits16, CpuModel::standard()),
      wide_(study::CodeMode::Bits32, CpuModel::standard()) {
    Draw draw(seed, ~u64{0});
    for (u64 at = 0; at + 1 < kBytes; at += 2) {
        const u16 word = draw.one_in(3) ? static_cast<u16>(draw.next()) : draw.any_selector();
        std::memcpy(&data_[at], &word, sizeof word);
    }
}

bool CaseMaker::draw_instruction(Draw& draw, SegmentCase& c) const {
    const bool wide = segment_of(c.state.cs).wide;
    const study::ModelDecoder& decoder = wide ? wide_ : narrow_;
    std::vector<u8>& code = c.code;
    code.clear();
    bool other_size = false;
    for (u64 n = draw.below(3); n > 0; --n) {
        code.push_back(draw.of<u8>({0x66, 0x66, 0x67, 0x67, 0x26, 0x2e, 0x36, 0x3e, 0xf2, 0xf3, 0xf0}));
        other_size = other_size || code.back() == 0x66;
    }
    const u64 kind = draw.below(10);
    if (kind >= 6 && kind < 8) code.push_back(0x0f);
    code.push_back(kind < 6 ? one_byte_opcode(draw) : kind < 8 ? two_byte_opcode(draw) : static_cast<u8>(draw.next()));
    const std::size_t opcode = code.size() - 1;
    for (unsigned i = 0; i < 10; ++i)
        code.push_back(static_cast<u8>(draw.one_in(3) ? 0xff * draw.below(2) : draw.next()));
    if (draw.one_in(2)) {  // a displacement behind ModRM
        const u32 offset = draw.offset();
        std::memcpy(&code[opcode + 2], &offset, sizeof offset);
    }
    constexpr u8 kFarCall = 0x9a, kFarJump = 0xea;
    if (code[opcode] == kFarCall || code[opcode] == kFarJump) {
        const u32 target = draw.one_in(2) ? usual_target(draw, 8) : draw.offset();
        const u16 selector = draw.any_selector();
        std::memcpy(&code[opcode + 1], &target, sizeof target);
        std::memcpy(&code[opcode + (wide != other_size ? 5 : 3)], &selector, sizeof selector);
    }
    if (!ZYAN_SUCCESS(decoder.decode(code, c.instruction))) return false;
    code.resize(c.instruction.zydis.length);
    return wanted(decoder, code, c.instruction);
}

bool CaseMaker::make(u64 number, SegmentCase& c) const {
    Draw draw(seed_, number);
    State& s = c.state;
    s = {};
    s.cs = draw.selector_of_one({Code16, Code16, Code32, Code32, Short16, Short32, ExecuteOnly16});
    if (!draw_instruction(draw, c)) return false;

    // Now and then at the end of the segment, or beyond it.
    const u64 length = c.code.size();
    const u64 limit = segment_of(s.cs).limit;
    s.rip = draw.one_in(5) ? limit - draw.below(length + 2) : kUsualPlace;
    s.ss = draw.selector_of_one({Data64K, Data64K, Down16, Data32, Data4K, Down32, OddBase, Pages, OddDown});
    const auto data = [&]() -> u16 {
        if (draw.one_in(12)) return 0;
        return draw.selector_of_one(
            {Data4K, Data64K, Down16, Down32, ReadOnly, Code32, Code16, Pages, OddBase, Data32, ReadOnlyDown, OddDown});
    };
    s.ds = data();
    s.es = data();
    for (u64& reg : s.gpr) {
        reg = draw.offset();
        if (draw.one_in(5)) reg = (reg & 0xffff0000) | draw.any_selector();
    }
    if (draw.one_in(2)) s.gpr[RCX] = draw.below(5);
    if (!draw.one_in(3)) s.gpr[RSP] &= 0xffff;
    s.rflags = rflags::Fixed1 | rflags::IF | (draw.next() & (rflags::Arithmetic | rflags::DF));
    if (draw.one_in(8)) s.rflags |= rflags::AC;
    if (draw.one_in(8)) s.rflags |= rflags::TF;
    if (draw.one_in(16)) s.rflags |= rflags::NT;
    s.fpu.fcw = 0x37f;
    s.fpu.ftw = 0;
    s.fpu.mxcsr = 0x1f80;

    c.data = data_;
    for (unsigned i = 0; i < 8; ++i) {
        const u16 word = draw.one_in(3) ? static_cast<u16>(draw.next()) : draw.any_selector();
        std::memcpy(&c.data[draw.below(kBytes - 1)], &word, sizeof word);
    }
    // On the stack, something that IRET, RET and POP of a segment can make sense of.
    const u64 top = s.gpr[RSP] & (segment_of(s.ss).wide ? 0xffffffff : 0xffff);
    if (draw.one_in(2) && top + 16 < kBytes) {
        const u64 size = draw.of<u64>({2, 4});
        const u32 target = usual_target(draw, length);
        const u16 code =
            draw.one_in(4) ? draw.any_selector() : draw.selector_of_one({Code16, Code32, Short16, Short32});
        const u32 flags =
            static_cast<u32>(rflags::Fixed1 | rflags::IF | (draw.next() & (rflags::Arithmetic | rflags::TF)));
        u8* at = &c.data[top + (segment_of(s.ss).base - kData)];
        std::memcpy(at, &target, size);
        std::memcpy(at + size, &code, sizeof code);
        std::memcpy(at + 2 * size, &flags, size);
    }
    return true;
}

}  // namespace dualvm::segments

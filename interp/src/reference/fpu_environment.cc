// FNSTENV, FLDENV, FNSAVE, FRSTOR and FNINIT: the x87 state as a whole, in the four formats of its environment (SDM
// vol. 1, 8.1.10, figures 8-9 to 8-12).
#include <algorithm>
#include <cstring>

#include "../host_unit.h"
#include "reference.h"

namespace dualvm::interp {

namespace {

using Unit = UnitInsn::Unit;

constexpr unsigned kRegisterBytes = 10, kRegisters = 8;
constexpr u16 kExceptionMasks = 0x3f, kErrorSummary = 0x80, kBusy = 0x8000, kInitialControl = 0x37f;
enum Tag : u16 { kValid = 0, kZero = 1, kSpecial = 2, kEmpty = 3 };

unsigned top_of(const FxImage& image) { return image.fsw >> 11 & 7; }

// The environment has seven fields, of 2 or 4 bytes. Code and data selectors read as 0 (CPUID.7.EBX[13]).
struct Environment {
    std::array<u8, 28> bytes{};
    unsigned width;         // of a field
    bool real_mode_format;  // also that of virtual-8086 mode

    enum Field : unsigned { Control, Status, Tags, InstructionLow, InstructionHigh, DataLow, DataHigh };

    Environment(const State& s, const Insn& insn)
        : width(insn.operand_size == 2 ? 2 : 4), real_mode_format(!s.protected_mode() || s.virtual8086()) {}
    unsigned size() const { return 7 * width; }
    u32 get(Field field) const {
        u32 value = 0;
        std::memcpy(&value, bytes.data() + field * width, width);
        return value;
    }
    void set(Field field, u32 value) { std::memcpy(bytes.data() + field * width, &value, width); }
};

// --- the tag word (SDM vol. 1, 8.1.7): two bits for each register, in the order of the registers, not of the stack

Tag tag_of(const std::array<u8, 16>& value) {
    u64 significand = 0;
    u16 exponent = 0;
    std::memcpy(&significand, value.data(), 8);
    std::memcpy(&exponent, value.data() + 8, 2);
    exponent &= 0x7fff;
    if (exponent == 0) return significand == 0 ? kZero : kSpecial;
    const bool has_integer_bit = (significand >> 63) != 0;
    return exponent == 0x7fff || !has_integer_bit ? kSpecial : kValid;
}

u16 full_tags(const FxImage& image) {
    u16 tags = 0;
    for (unsigned i = 0; i < kRegisters; ++i) {
        const bool used = (image.ftw >> i & 1) != 0;
        const Tag tag = used ? tag_of(image.st[(i - top_of(image)) & 7]) : kEmpty;
        tags |= static_cast<u16>(tag << (2 * i));
    }
    return tags;
}

u8 used_registers(u32 tags) {
    u8 used = 0;
    for (unsigned i = 0; i < kRegisters; ++i) {
        if ((tags >> (2 * i) & 3) != kEmpty) used |= static_cast<u8>(1u << i);
    }
    return used;
}

// --- images

// What is reserved in a field of 32 bits is stored as ones.
constexpr u32 kReserved = 0xffff0000;

Environment make_environment(const State& s, const Insn& insn) {
    const FxImage& image = s.fx;
    Environment e(s, insn);
    const auto fip = static_cast<u32>(image.fip), fdp = static_cast<u32>(image.fdp);
    const u32 opcode = image.fop & 0x7ffu;
    e.set(Environment::Control, kReserved | image.fcw);
    e.set(Environment::Status, kReserved | image.fsw);
    e.set(Environment::Tags, kReserved | full_tags(image));
    if (e.real_mode_format) {
        // Addresses are linear: 20 bits of them with 16-bit operands, 32 with 32-bit ones.
        e.set(Environment::InstructionLow, kReserved | fip);
        e.set(Environment::InstructionHigh, (fip >> 16) << 12 | opcode);
        e.set(Environment::DataLow, kReserved | fdp);
        e.set(Environment::DataHigh, (fdp >> 16) << 12);
    } else {
        e.set(Environment::InstructionLow, fip);
        e.set(Environment::InstructionHigh, e.width == 4 ? opcode << 16 : 0);
        e.set(Environment::DataLow, fdp);
        e.set(Environment::DataHigh, kReserved);
    }
    return e;
}

// Registers keep their places when TOP changes; the image has them in the order of the stack.
void set_top(FxImage& image, unsigned top) {
    const unsigned by = (top - top_of(image)) & 7;
    std::rotate(image.st.begin(), image.st.begin() + by, image.st.end());
}

void load_environment(FxImage& image, const Environment& e) {
    const u32 status = e.get(Environment::Status);
    set_top(image, status >> 11 & 7);
    // Reserved bits of the control word have values of their own; the summary follows from flags and masks.
    image.fcw = static_cast<u16>((e.get(Environment::Control) & 0x1f3f) | 0x40);
    const bool pending = (status & ~image.fcw & kExceptionMasks) != 0;
    image.fsw = static_cast<u16>((status & ~u32{kErrorSummary | kBusy}) | (pending ? kErrorSummary | kBusy : 0));
    image.ftw = used_registers(e.get(Environment::Tags) & 0xffff);
    const u32 instruction_high = e.get(Environment::InstructionHigh), data_high = e.get(Environment::DataHigh);
    if (e.real_mode_format) {
        image.fip = (e.get(Environment::InstructionLow) & 0xffff) | (instruction_high >> 12 & 0xffff) << 16;
        image.fdp = (e.get(Environment::DataLow) & 0xffff) | (data_high >> 12 & 0xffff) << 16;
        image.fop = instruction_high & 0x7ff;
        return;
    }
    image.fip = e.get(Environment::InstructionLow);
    image.fdp = e.get(Environment::DataLow);
    image.fop = e.width == 4 ? instruction_high >> 16 & 0x7ff : 0;
}

void initialise(FxImage& image) {
    set_top(image, 0);
    image.fcw = kInitialControl;
    image.fsw = 0;
    image.ftw = 0;
    image.fip = image.fdp = 0;
    image.fop = 0;
}

// --- instructions

// All of them may change what can be pending; ModeKey::kX87 has to follow.
template <Flow (*kBody)(State&, const Insn&)>
Flow with_masks(State& s, const Insn& insn) {
    const bool masked = s.fx.masks_x87();
    const Flow flow = kBody(s, insn);
    return flow == Flow::Next && s.fx.masks_x87() != masked ? Flow::Jump : flow;
}

// FNSTENV masks all exceptions when the environment is stored.
Flow fnstenv(State& s, const Insn& insn) {
    if (!unit_available(s, Unit::X87, false)) return Flow::Fault;
    const Environment e = make_environment(s, insn);
    if (!write_memory(s, insn.segment, effective_address(s, insn), e.bytes.data(), e.size())) return Flow::Fault;
    const FxImage before = s.fx;
    s.fx.fcw |= kExceptionMasks;
    s.fx.fsw &= static_cast<u16>(~(kErrorSummary | kBusy));
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

Flow fldenv(State& s, const Insn& insn) {
    if (!unit_available(s, Unit::X87, true)) return Flow::Fault;
    Environment e(s, insn);
    if (!read_memory(s, insn.segment, effective_address(s, insn), e.bytes.data(), e.size())) return Flow::Fault;
    const FxImage before = s.fx;
    load_environment(s.fx, e);
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

// FNSAVE and FRSTOR: ST(0) to ST(7), 10 bytes each, behind the environment.
using SaveImage = std::array<u8, 28 + kRegisters * kRegisterBytes>;

Flow fnsave(State& s, const Insn& insn) {
    if (!unit_available(s, Unit::X87, false)) return Flow::Fault;
    const Environment e = make_environment(s, insn);
    SaveImage image{};
    std::copy_n(e.bytes.begin(), e.size(), image.begin());
    for (unsigned i = 0; i < kRegisters; ++i)
        std::copy_n(s.fx.st[i].begin(), kRegisterBytes, image.begin() + e.size() + i * kRegisterBytes);
    const unsigned size = e.size() + kRegisters * kRegisterBytes;
    if (!write_memory(s, insn.segment, effective_address(s, insn), image.data(), size)) return Flow::Fault;
    const FxImage before = s.fx;
    initialise(s.fx);
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

Flow frstor(State& s, const Insn& insn) {
    if (!unit_available(s, Unit::X87, true)) return Flow::Fault;
    Environment e(s, insn);
    SaveImage image{};
    const unsigned size = e.size() + kRegisters * kRegisterBytes;
    if (!read_memory(s, insn.segment, effective_address(s, insn), image.data(), size)) return Flow::Fault;
    std::copy_n(image.begin(), e.size(), e.bytes.begin());
    const FxImage before = s.fx;
    load_environment(s.fx, e);
    for (unsigned i = 0; i < kRegisters; ++i)
        std::copy_n(image.begin() + e.size() + i * kRegisterBytes, kRegisterBytes, s.fx.st[i].begin());
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

Flow fninit(State& s, const Insn&) {
    if (!unit_available(s, Unit::X87, false)) return Flow::Fault;
    const FxImage before = s.fx;
    initialise(s.fx);
    return s.fx.masks_as(before) ? Flow::Next : Flow::Jump;
}

}  // namespace

void add_fpu_environment(ReferenceTable& table) {
    table.add(ZYDIS_MNEMONIC_FNSTENV, with_masks<fnstenv>);
    table.add(ZYDIS_MNEMONIC_FLDENV, with_masks<fldenv>);
    table.add(ZYDIS_MNEMONIC_FNSAVE, with_masks<fnsave>);
    table.add(ZYDIS_MNEMONIC_FRSTOR, with_masks<frstor>);
    table.add(ZYDIS_MNEMONIC_FNINIT, with_masks<fninit>);
}

}  // namespace dualvm::interp

#include "placement.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "corner_values.h"
#include "fx_image.h"

namespace dualvm::study {

namespace {

// The number of a general register of any width; nothing for none, RIP and others.
std::optional<unsigned> general(ZydisRegister reg) {
    const ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (full < ZYDIS_REGISTER_RAX || full > ZYDIS_REGISTER_R15) return std::nullopt;
    return static_cast<unsigned>(full - ZYDIS_REGISTER_RAX);
}

Lane lane_of(Random& random, const ZydisDecodedOperand& o) {
    switch (o.element_type) {
        case ZYDIS_ELEMENT_TYPE_FLOAT32: return random.one_in(8) ? any_lane(random) : Lane::Float32;
        case ZYDIS_ELEMENT_TYPE_FLOAT64: return random.one_in(8) ? any_lane(random) : Lane::Float64;
        case ZYDIS_ELEMENT_TYPE_FLOAT80: return Lane::Float80;
        case ZYDIS_ELEMENT_TYPE_LONGBCD: return random.one_in(8) ? any_lane(random) : Lane::Bcd;
        default: break;
    }
    switch (o.element_size) {
        case 8: return Lane::Int8;
        case 16: return Lane::Int16;
        case 32: return Lane::Int32;
        case 64: return Lane::Int64;
        default: return any_lane(random);
    }
}

bool is_stack(const ZydisDecodedOperand& o) {
    return o.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && general(o.mem.base) == unsigned{RSP};
}

}  // namespace

void Placement::set(unsigned reg, u64 value) {
    case_.gpr[reg] = case_.long_mode() ? value : value & 0xffffffff;
    use_.fixed[reg] = true;
}

void Placement::patch(u64 offset, unsigned bytes, u64 value) {
    for (unsigned i = 0; i < bytes; ++i) case_.code[offset + i] = static_cast<u8>(value >> 8 * i);
}

// Where a branch can go: mostly somewhere in the page of code, behind the case's own.
u64 Placement::code_address() {
    if (random_.one_in(12)) return corner_integer(random_);
    return ring3::kCode + 0x100 + random_.below(ring3::kCodeBytes - 0x100);
}

// Anywhere in the window, mostly aligned; at its edges, so that an access runs over into what is not mapped, or
// read-only.
u64 Placement::address_for(unsigned size, bool stack) {
    const u64 span = std::max<u64>(size, 1);
    const auto around = [&](u64 edge) { return edge - span - 4 + random_.below(span + 8); };
    switch (random_.below(stack ? 20 : 14)) {
        case 0: return around(ring3::kWindow + ring3::kWindowBytes);
        case 1: return around(ring3::kWindow + ring3::kWritableBytes);
        case 2: return around(ring3::kWindow + kPageSize);
        case 3: return ring3::kWindow - 4 + random_.below(8);
        case 4: return ring3::kWindow + random_.below(ring3::kWindowBytes);
        default: break;
    }
    // Cache lines are not crossed by what is aligned; a locked access that crosses one takes the host milliseconds.
    const u64 alignment = size >= 16 || stack ? 16 : 8;
    return ring3::kWindow + random_.below(ring3::kWritableBytes / alignment - 64) * alignment;
}

void Placement::put_data(const DecodedInstruction& d, const ZydisDecodedOperand& o, u64 address) {
    std::array<u8, 512> data{};
    const std::size_t size = std::clamp<std::size_t>(o.size / 8, 1, data.size());
    const auto bytes = std::span(data).first(size);
    const bool branch = d.zydis.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
    if (branch) {
        const u64 target = code_address();
        std::memcpy(data.data(), &target, sizeof target);
    } else if (d.zydis.mnemonic == ZYDIS_MNEMONIC_LDMXCSR) {
        const u32 mxcsr = corner_mxcsr(random_) | (random_.one_in(8) ? 1u << random_.below(32) : 0);
        std::memcpy(data.data(), &mxcsr, sizeof mxcsr);
    } else if (size == 512) {
        FpuGroup fpu;
        corner_fpu(random_, fpu);
        FxImage image;
        to_fx_image(fpu, image);
        std::copy(image.begin(), image.end(), data.begin());
    } else if (random_.one_in(4) && size <= 8) {
        // As a register has it: comparisons and exchanges are to find equal values, too.
        const u64 value = case_.gpr[random_.of<unsigned>({RAX, RAX, RCX, RDX, RBX})];
        std::memcpy(data.data(), &value, sizeof value);
    } else {
        fill_lanes(random_, lane_of(random_, o), bytes);
    }
    for (std::size_t i = 0; i < size; ++i) {
        const u64 at = address + i - ring3::kWindow;
        if (at < ring3::kWindowBytes) case_.window[at] = data[i];
    }
}

// Solves "base + index * scale + displacement + segment = address" for whatever is still free.
void Placement::place_memory(const DecodedInstruction& d, const ZydisDecodedOperand& o, u64 offset) {
    const unsigned size = o.size / 8;
    const bool stack = is_stack(o);
    u64 target = address_for(size, stack);
    const bool writes = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    const bool flat_segments =
        !case_.long_mode() || (o.mem.segment != ZYDIS_REGISTER_FS && o.mem.segment != ZYDIS_REGISTER_GS);
    const u64 segment = flat_segments ? 0 : o.mem.segment == ZYDIS_REGISTER_FS ? ring3::kFsBase : ring3::kGsBase;
    // Not canonical, with 48 bits as well as with 57.
    if (case_.long_mode() && d.zydis.address_width == 64 && random_.one_in(60)) target ^= u64{1} << 63;
    const auto& disp = d.zydis.raw.disp;
    const unsigned disp_bytes = disp.size / 8;
    const auto displacement = static_cast<u64>(o.mem.disp.value);
    const auto base = general(o.mem.base), index = general(o.mem.index);
    const bool explicit_operand = o.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT;

    if (o.mem.base == ZYDIS_REGISTER_RIP || o.mem.base == ZYDIS_REGISTER_EIP) {
        const u64 next = case_.code_begin() + offset + d.zydis.length;
        patch(offset + disp.offset, disp_bytes, target - segment - next);
    } else if (d.zydis.address_width == 16) {
        return;  // lies below 64 KiB, where there is nothing
    } else {
        u64 scaled = 0;
        if (index && index != base) {
            if (!use_.fixed[*index]) set(*index, random_.one_in(2) ? random_.below(16) : corner_integer(random_));
            scaled = case_.gpr[*index] * o.mem.scale;
        }
        if (base && !use_.fixed[*base]) {
            u64 value = target - segment - scaled - displacement;
            if (index == base) value /= u64{1} + o.mem.scale;
            if (d.zydis.address_width == 32)
                value = (value & 0xffffffff) | (random_.one_in(4) ? random_.next() << 32 : 0);
            set(*base, value);
        } else if (explicit_operand && disp_bytes >= 4) {
            const u64 rest =
                (base ? case_.gpr[*base] : 0) * (index == base && base ? u64{1} + o.mem.scale : 1) + scaled;
            patch(offset + disp.offset, disp_bytes, target - segment - rest);
        } else if (base) {
            target = case_.gpr[*base] + scaled + displacement + segment;
        }
    }
    if (writes || (o.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) put_data(d, o, target);
}

// Counts, dividends, targets of branches: what decides where an instruction goes.
void Placement::place_special(const DecodedInstruction& d) {
    const auto unless_fixed = [&](unsigned reg, u64 value) {
        if (!use_.fixed[reg] && !use_.written[reg]) set(reg, value);
    };
    const auto visible = d.visible();
    switch (d.zydis.mnemonic) {
        case ZYDIS_MNEMONIC_DIV:
        case ZYDIS_MNEMONIC_IDIV:
            // A dividend whose upper half does not alone make the quotient too large.
            if (random_.one_in(2)) unless_fixed(RDX, random_.one_in(2) ? 0 : random_.below(4));
            if (random_.one_in(4)) unless_fixed(RDX, ~u64{0});
            break;
        case ZYDIS_MNEMONIC_LOOP:
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE:
        case ZYDIS_MNEMONIC_JCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
        case ZYDIS_MNEMONIC_JRCXZ:
            unless_fixed(RCX, random_.one_in(2) ? random_.below(3) : random_.below(3) | random_.next() << 32);
            break;
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_BTC:
        case ZYDIS_MNEMONIC_BTR:
        case ZYDIS_MNEMONIC_BTS:
            // The offset in a register reaches far beyond the operand; mostly it is to stay within the window.
            if (visible[1].type == ZYDIS_OPERAND_TYPE_REGISTER && !random_.one_in(8)) {
                if (const auto reg = general(visible[1].reg.value)) unless_fixed(*reg, random_.below(0x8000) - 0x4000);
            }
            break;
        case ZYDIS_MNEMONIC_PCMPESTRI:
        case ZYDIS_MNEMONIC_PCMPESTRM:
            unless_fixed(RAX, random_.below(20) - random_.below(20));
            unless_fixed(RDX, random_.below(20) - random_.below(20));
            break;
        default: break;
    }
    if (d.has(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) {
        unless_fixed(RCX, random_.one_in(8) ? random_.below(6000) : random_.below(40));
    }
    for (const ZydisDecodedOperand& o : visible) {
        if (o.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        if (o.reg.value == ZYDIS_REGISTER_CL && !use_.fixed[RCX])
            set(RCX, (random_.next() << 8) | corner_count(random_));
        if (d.zydis.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE) {
            if (const auto reg = general(o.reg.value)) unless_fixed(*reg, code_address());
        }
    }
}

void Placement::place(const DecodedInstruction& d, u64 offset) {
    place_special(d);
    for (const ZydisDecodedOperand& o : d.all()) {
        if (o.type == ZYDIS_OPERAND_TYPE_MEMORY && o.mem.type != ZYDIS_MEMOP_TYPE_AGEN) place_memory(d, o, offset);
    }
    for (const ZydisDecodedOperand& o : d.all()) {
        if (o.type != ZYDIS_OPERAND_TYPE_REGISTER || (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0) continue;
        if (const auto reg = general(o.reg.value); reg && reg != unsigned{RSP}) use_.written[*reg] = true;
    }
}

void Placement::fill_rest() {
    std::array<u64, 3> common{};
    for (u64& value : common) value = corner_integer(random_);
    if (!use_.fixed[RSP]) set(RSP, random_.one_in(12) ? corner_integer(random_) : address_for(8, true));
    for (unsigned reg = 0; reg < 16; ++reg) {
        if (use_.fixed[reg]) continue;
        const u64 value = random_.one_in(3) ? random_.of(std::span<const u64>(common)) : corner_integer(random_);
        set(reg, value);
    }
    u64 flags = random_.next() & rflags::Arithmetic;
    if (random_.one_in(5)) flags |= rflags::DF;
    if (random_.one_in(16)) flags |= rflags::AC;
    if (random_.one_in(32)) flags |= random_.of<u64>({rflags::TF, rflags::NT, rflags::ID});
    case_.rflags = rflags::Fixed1 | rflags::IF | flags;
}

}  // namespace dualvm::study

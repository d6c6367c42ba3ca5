#include "decoder.h"

#include <Zydis/Zydis.h>

#include <cstring>
#include <deque>

#include "unit_decode.h"

namespace dualvm::interp {

struct Decoder::Impl {
    ZydisDecoder code16{}, code32{}, code64{};
    HostUnitRoutines routines;
    std::map<const void*, std::deque<UnitInsn>> units;  // kept until they are forgotten, by routine

    const UnitInsn* keep(const UnitInsn& unit);
};

namespace {

void initialise(ZydisDecoder& decoder, ZydisMachineMode mode, ZydisStackWidth stack) {
    ZydisDecoderInit(&decoder, mode, stack);
    // Encodings that a CPU without the feature reads as something older: TZCNT is BSF there, ENDBR a NOP.
    for (ZydisDecoderMode off :
         {ZYDIS_DECODER_MODE_TZCNT, ZYDIS_DECODER_MODE_LZCNT, ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
          ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE, ZYDIS_DECODER_MODE_KNC}) {
        ZydisDecoderEnableMode(&decoder, off, ZYAN_FALSE);
    }
}

SegmentName segment_name(ZydisRegister reg) {
    switch (reg) {
        case ZYDIS_REGISTER_ES: return ES;
        case ZYDIS_REGISTER_CS: return CS;
        case ZYDIS_REGISTER_SS: return SS;
        case ZYDIS_REGISTER_FS: return FS;
        case ZYDIS_REGISTER_GS: return GS;
        default: return DS;
    }
}

void convert_register(ZydisRegister reg, Operand& o) {
    const auto id = static_cast<u8>(ZydisRegisterGetId(reg));
    o.reg = id;
    switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_GPR8:
            o.kind = OperandKind::Gpr;
            // Zydis numbers AL..BL 0-3, AH..BH 4-7, SPL..DIL 8-11, R8B.. 12-19.
            if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
                o.reg = static_cast<u8>(reg - ZYDIS_REGISTER_AH);
                o.high8 = true;
            } else if (reg >= ZYDIS_REGISTER_SPL) {
                o.reg = static_cast<u8>(reg - ZYDIS_REGISTER_SPL + RSP);
            } else {
                o.reg = static_cast<u8>(reg - ZYDIS_REGISTER_AL);
            }
            break;
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64: o.kind = OperandKind::Gpr; break;
        case ZYDIS_REGCLASS_SEGMENT:
            o.kind = OperandKind::Segment;
            o.reg = segment_name(reg);
            break;
        case ZYDIS_REGCLASS_CONTROL: o.kind = OperandKind::Control; break;
        case ZYDIS_REGCLASS_DEBUG: o.kind = OperandKind::Debug; break;
        case ZYDIS_REGCLASS_X87: o.kind = OperandKind::X87; break;
        case ZYDIS_REGCLASS_MMX: o.kind = OperandKind::Mmx; break;
        case ZYDIS_REGCLASS_XMM: o.kind = OperandKind::Xmm; break;
        default: break;
    }
}

u8 address_register(ZydisRegister reg) {
    return reg == ZYDIS_REGISTER_NONE ? kNoRegister : static_cast<u8>(ZydisRegisterGetId(reg));
}

// Zydis 4.0 takes SIB.base 101b with ModRM.mod 00b and REX.B for R13 without displacement; REX.B counts for nothing
// there: it is a displacement without base (SDM vol. 2A, table 2-3, note 1, and 2.2.1.2).
bool is_displacement_without_base(const ZydisDecodedInstruction& zydis) {
    return zydis.address_width != 16 && zydis.raw.modrm.mod == 0 && zydis.raw.modrm.rm == 4 && zydis.raw.sib.base == 5;
}

void convert_memory(const ZydisDecodedInstruction& zydis, const ZydisDecodedOperand& from, u64 next_rip, Insn& insn) {
    insn.segment = segment_name(from.mem.segment);
    insn.displacement = static_cast<u64>(from.mem.disp.value);
    insn.index = address_register(from.mem.index);
    insn.scale = from.mem.scale == 0 ? 1 : from.mem.scale;
    insn.base = kNoRegister;
    if (from.mem.base == ZYDIS_REGISTER_RIP || from.mem.base == ZYDIS_REGISTER_EIP) {
        insn.displacement += next_rip;
    } else if (is_displacement_without_base(zydis)) {
        insn.displacement = static_cast<u64>(zydis.raw.disp.value);
    } else {
        insn.base = address_register(from.mem.base);
    }
}

// The operands that assembly language shows; what the opcode implies is the implementation's knowledge.
void convert_operands(const ZydisDecodedInstruction& zydis, const ZydisDecodedOperand* operands, u64 rip, Insn& insn) {
    const u64 next_rip = rip + zydis.length;
    for (unsigned i = 0; i < zydis.operand_count_visible && i < insn.operand.size(); ++i) {
        const ZydisDecodedOperand& from = operands[i];
        Operand& o = insn.operand[i];
        o.size = static_cast<u8>(from.size / 8);
        switch (from.type) {
            case ZYDIS_OPERAND_TYPE_REGISTER: convert_register(from.reg.value, o); break;
            case ZYDIS_OPERAND_TYPE_MEMORY:
                o.kind = OperandKind::Memory;
                convert_memory(zydis, from, next_rip, insn);
                break;
            case ZYDIS_OPERAND_TYPE_POINTER:
                o.kind = OperandKind::FarPointer;
                o.imm = from.ptr.offset;
                o.far_selector = from.ptr.segment;
                break;
            case ZYDIS_OPERAND_TYPE_IMMEDIATE:
                o.kind = from.imm.is_relative ? OperandKind::Relative : OperandKind::Immediate;
                if (i > 0) o.size = insn.operand[0].size;  // an imm32 is sign-extended to what it is added to
                o.imm = from.imm.is_signed ? static_cast<u64>(from.imm.value.s) : from.imm.value.u;
                break;
            default: break;
        }
        ++insn.operand_count;
    }
}

// String instructions, XLAT and the masked stores name a segment without an explicit operand.
SegmentName source_segment(const ZydisDecodedInstruction& zydis) {
    switch (zydis.attributes & ZYDIS_ATTRIB_HAS_SEGMENT) {
        case ZYDIS_ATTRIB_HAS_SEGMENT_CS: return CS;
        case ZYDIS_ATTRIB_HAS_SEGMENT_SS: return SS;
        case ZYDIS_ATTRIB_HAS_SEGMENT_ES: return ES;
        case ZYDIS_ATTRIB_HAS_SEGMENT_FS: return FS;
        case ZYDIS_ATTRIB_HAS_SEGMENT_GS: return GS;
        default: return DS;
    }
}

bool has_source_segment(const ZydisDecodedInstruction& zydis) {
    return zydis.meta.category == ZYDIS_CATEGORY_STRINGOP || zydis.meta.category == ZYDIS_CATEGORY_IOSTRINGOP ||
           zydis.mnemonic == ZYDIS_MNEMONIC_XLAT || zydis.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
           zydis.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU;
}

}  // namespace

Decoder::Decoder() : impl_(std::make_unique<Impl>()) {
    initialise(impl_->code16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    initialise(impl_->code32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    initialise(impl_->code64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

Decoder::~Decoder() = default;

const UnitInsn* Decoder::Impl::keep(const UnitInsn& unit) {
    std::deque<UnitInsn>& alike = units[unit.routine];
    for (const UnitInsn& known : alike) {
        if (known == unit) return &known;
    }
    return &alike.emplace_back(unit);
}

bool Decoder::full() const { return impl_->routines.full(); }

void Decoder::forget() {
    impl_->units.clear();
    impl_->routines.forget();
}

DecodeResult Decoder::decode(std::span<const u8> bytes, unsigned code_size, u64 rip, Insn& insn) const {
    const ZydisDecoder& decoder = code_size == 64 ? impl_->code64 : code_size == 32 ? impl_->code32 : impl_->code16;
    ZydisDecodedInstruction zydis;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    const ZyanStatus status = ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &zydis, operands.data());
    if (status == ZYDIS_STATUS_NO_MORE_DATA) return bytes.size() >= 15 ? DecodeResult::TooLong : DecodeResult::NeedMore;
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return DecodeResult::TooLong;
    if (!ZYAN_SUCCESS(status)) return DecodeResult::Undefined;
    // VEX, EVEX, XOP and 3DNow!: nothing of them is advertised, and not all has a name that says so (Knights Corner's
    // POPCNT).
    if (zydis.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return DecodeResult::Undefined;

    insn = Insn{};
    insn.mnemonic = static_cast<u16>(zydis.mnemonic);
    insn.length = zydis.length;
    insn.operand_size = static_cast<u8>(zydis.operand_width / 8);
    insn.address_size = static_cast<u8>(zydis.address_width / 8);
    insn.rep = (zydis.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0;
    insn.repne = (zydis.attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0;
    insn.lock = (zydis.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
    insn.long_mode = code_size == 64;
    insn.far_branch = zydis.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    insn.opcode = zydis.opcode;
    convert_operands(zydis, operands.data(), rip, insn);
    // MOVSXD r16 reads 16 bits, not the 32 that Zydis speaks of (SDM vol. 2B, "MOVSX/MOVSXD").
    if (zydis.mnemonic == ZYDIS_MNEMONIC_MOVSXD && insn.operand_size == 2) insn.operand[1].size = 2;
    if (has_source_segment(zydis)) insn.segment = source_segment(zydis);
    insn.run = find_reference(insn.mnemonic);
    // MOVSD and CMPSD name a string instruction and an SSE2 one each.
    const bool shared_name = zydis.mnemonic == ZYDIS_MNEMONIC_MOVSD || zydis.mnemonic == ZYDIS_MNEMONIC_CMPSD;
    if (is_unit_instruction(zydis) && (insn.run == nullptr || shared_name)) {
        UnitInsn unit;
        prepare_unit_instruction(zydis, operands.data(), bytes, impl_->routines, unit);
        insn.unit = impl_->keep(unit);
        insn.x87_opcode = static_cast<u16>((zydis.opcode & 7) << 8 |
                                           (zydis.raw.modrm.mod << 6 | zydis.raw.modrm.reg << 3 | zydis.raw.modrm.rm));
        insn.run = run_on_host_unit;
    }
    return DecodeResult::Ok;
}

const char* mnemonic_name(u16 mnemonic) {
    const char* name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(mnemonic));
    return name != nullptr ? name : "?";
}

bool ends_block(const Insn& insn) {
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_JMP:
        case ZYDIS_MNEMONIC_CALL:
        case ZYDIS_MNEMONIC_RET:
        case ZYDIS_MNEMONIC_LOOP:
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE:
        case ZYDIS_MNEMONIC_JCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
        case ZYDIS_MNEMONIC_JRCXZ:
        case ZYDIS_MNEMONIC_IRET:
        case ZYDIS_MNEMONIC_IRETD:
        case ZYDIS_MNEMONIC_IRETQ:
        case ZYDIS_MNEMONIC_INT:
        case ZYDIS_MNEMONIC_INT1:
        case ZYDIS_MNEMONIC_INT3:
        case ZYDIS_MNEMONIC_UD0:
        case ZYDIS_MNEMONIC_UD1:
        case ZYDIS_MNEMONIC_UD2:
        case ZYDIS_MNEMONIC_HLT:
        case ZYDIS_MNEMONIC_STI:
        case ZYDIS_MNEMONIC_POPF:
        case ZYDIS_MNEMONIC_POPFD:
        case ZYDIS_MNEMONIC_POPFQ:
        case ZYDIS_MNEMONIC_SYSCALL:
        case ZYDIS_MNEMONIC_SYSRET:
        case ZYDIS_MNEMONIC_SYSENTER:
        case ZYDIS_MNEMONIC_SYSEXIT:
        case ZYDIS_MNEMONIC_LMSW:
        case ZYDIS_MNEMONIC_WRMSR:
        case ZYDIS_MNEMONIC_INVLPG:
        case ZYDIS_MNEMONIC_INVPCID:
        case ZYDIS_MNEMONIC_CLAC:
        case ZYDIS_MNEMONIC_STAC: return true;
        case ZYDIS_MNEMONIC_MOV: return insn.operand[0].kind == OperandKind::Control;
        default: {
            const ZydisMnemonic m = static_cast<ZydisMnemonic>(insn.mnemonic);
            return m >= ZYDIS_MNEMONIC_JB && m <= ZYDIS_MNEMONIC_JZ;
        }
    }
}

}  // namespace dualvm::interp

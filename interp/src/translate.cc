#include "translate.h"

#include <Zydis/Zydis.h>

#include <bit>
#include <optional>

#include "fast/branch.h"
#include "fast/conditions.h"

namespace dualvm::interp {

namespace {

bool has_memory_operand(const Insn& insn) {
    for (unsigned i = 0; i < insn.operand_count; ++i) {
        if (insn.operand[i].kind == OperandKind::Memory) return true;
    }
    return false;
}

// The form of the memory operand that fast handlers serve; none for segments that are not flat and 16-bit addresses.
std::optional<fast::Form> memory_form(const Insn& insn, u32 mode) {
    const bool code64 = (mode & ModeKey::kCodeMask) == ModeKey::kCode64;
    if ((mode & ModeKey::kFlat) == 0) return std::nullopt;
    const bool based_segment = insn.segment == FS || insn.segment == GS;
    if (!code64 && insn.segment == CS) return std::nullopt;  // code segments cannot be written
    if (insn.address_size == 4 && !based_segment) return fast::Form::Address32;
    if (!code64 || insn.address_size != 8) return std::nullopt;
    if (based_segment) return fast::Form::Segment;
    return insn.index == kNoRegister ? fast::Form::Base : fast::Form::Indexed;
}

// How an instruction that has a fast handler treats the arithmetic flags.
enum class FlagUse : u8 { None, WritesAll, Reads, Keeps };

FlagUse flag_use(const Insn& insn) {
    if (fast::jump_condition(insn.mnemonic) >= 0 || fast::set_condition(insn.mnemonic) >= 0 ||
        fast::cmov_condition(insn.mnemonic) >= 0) {
        return FlagUse::Reads;
    }
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_ADD:
        case ZYDIS_MNEMONIC_OR:
        case ZYDIS_MNEMONIC_AND:
        case ZYDIS_MNEMONIC_SUB:
        case ZYDIS_MNEMONIC_XOR:
        case ZYDIS_MNEMONIC_CMP:
        case ZYDIS_MNEMONIC_TEST:
        case ZYDIS_MNEMONIC_NEG:
        case ZYDIS_MNEMONIC_POPCNT:
        case ZYDIS_MNEMONIC_COMISS:
        case ZYDIS_MNEMONIC_UCOMISS:
        case ZYDIS_MNEMONIC_COMISD:
        case ZYDIS_MNEMONIC_UCOMISD:
        case ZYDIS_MNEMONIC_PTEST: return FlagUse::WritesAll;
        case ZYDIS_MNEMONIC_ADC:
        case ZYDIS_MNEMONIC_SBB:
        case ZYDIS_MNEMONIC_RCL:
        case ZYDIS_MNEMONIC_RCR:
        case ZYDIS_MNEMONIC_CMC:
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE: return FlagUse::Reads;
        default: return FlagUse::Keeps;
    }
}

// Can the handler end in the reference implementation, which wants all flags (and may fault)?
bool may_leave(const Insn& insn) {
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_PUSH:
        case ZYDIS_MNEMONIC_POP:
        case ZYDIS_MNEMONIC_LEAVE:
        case ZYDIS_MNEMONIC_CALL:
        case ZYDIS_MNEMONIC_RET:
        case ZYDIS_MNEMONIC_JMP:
        case ZYDIS_MNEMONIC_DIV:
        case ZYDIS_MNEMONIC_IDIV: return true;
        case ZYDIS_MNEMONIC_LEA: return false;
        default: return has_memory_operand(insn);
    }
}

void set_address_fields(const Insn& insn, Op& op) {
    op.base = fast::address_register_offset(insn.base);
    op.index = fast::address_register_offset(insn.index);
    op.at.scale = static_cast<u8>(std::countr_zero(insn.scale));
    op.at.segment = static_cast<u8>(insn.segment);
    op.displacement = insn.displacement;
}

bool is_relative_branch(const Insn& insn) {
    return insn.operand_count == 1 && insn.operand[0].kind == OperandKind::Relative;
}

// Does one end of the branch lie in another page than the block?
bool leaves_page(const Insn& branch, u64 next_rip, u64 page, u64 code_base) {
    auto page_of = [&](u64 rip) { return (code_base + rip) / kPageSize; };
    return page_of(branch_target(branch, next_rip)) != page || page_of(next_rip) != page;
}

// The linear page of the block, where links need no check; none if all of its links are as those to other pages.
u64 page_of_near_links(const Block& block, u64 code_base) {
    // With limits, what is on the same page may be out of reach tomorrow.
    const bool near = !block.crosses() && (block.mode & ModeKey::kFlat) != 0;
    return near ? (code_base + block.rip) / kPageSize : ~u64{0};
}

struct Position {
    u64 rip = 0, next_rip = 0, page = 0;  // page: see page_of_near_links()
    u64 code_base = 0;
};

Handler choose(const Insn& insn, const Position& at, u32 mode, const Optimisations& use, bool flags_live, Op& op,
               bool& by_mxcsr) {
    fast::Choice choice;
    choice.insn = &insn;
    choice.mode = mode;
    choice.flags_dead = use.flags && !flags_live;
    choice.next_rip = at.next_rip;
    if (has_memory_operand(insn)) {
        const auto form = memory_form(insn, mode);
        if (!form) return nullptr;
        choice.form = *form;
        set_address_fields(insn, op);
    }
    if (is_relative_branch(insn)) {
        choice.far_link = leaves_page(insn, at.next_rip, at.page, at.code_base);
        op.taken = nullptr;
        op.fall = nullptr;
    }
    if (fast::moves_stack_pointer(insn)) return fast::choose_stack(choice, op);
    for (auto family : {fast::choose_move, fast::choose_arithmetic, fast::choose_shift, fast::choose_bit,
                        fast::choose_exchange, fast::choose_branch}) {
        if (Handler handler = family(choice, op)) return handler;
    }
    if (use.sse && (mode & ModeKey::kX87) != 0) {
        if (Handler handler = fast::choose_x87(choice, op)) return handler;
    }
    if (use.sse && (mode & ModeKey::kSse) != 0) {
        for (auto family : {fast::choose_sse_move, fast::choose_sse_integer, fast::choose_sse_routine}) {
            if (Handler handler = family(choice, op)) return handler;
        }
    }
    if (use.sse && (mode & ModeKey::kSseMasked) != 0) {
        for (auto family : {fast::choose_sse_float, fast::choose_sse_convert}) {
            if (Handler handler = family(choice, op)) {
                by_mxcsr = true;
                return handler;
            }
        }
    }
    return nullptr;
}

// Puts a compare and the conditional branch behind it into one handler. True if that was done.
bool fuse_branch(Block& block, u64 code_base, u64 page, bool same_page) {
    Op* ops = block.ops();
    Op &first = ops[block.count - 2], &branch = ops[block.count - 1];
    const Insn &first_insn = block.insns[block.count - 2], &branch_insn = block.insns[block.count - 1];
    if (first.run == fast::reference || branch.run == fast::reference || !is_relative_branch(branch_insn)) return false;
    if (fast::moves_stack_pointer(first_insn)) return false;
    const u64 target = branch_target(branch_insn, next_rip_of(&branch));
    if ((code_base + target) / kPageSize != page || !same_page) return false;
    const auto form = memory_form(first_insn, block.mode);
    if (has_memory_operand(first_insn) && !form) return false;
    const Handler handler = fast::choose_fused(first_insn, form.value_or(fast::Form::Base), branch_insn);
    if (handler == nullptr) return false;
    first.run = handler;
    return true;
}

// Pairs off the first `count` instructions. `first_by_mxcsr`, if it has become the second of a pair, is then the pair's
// first.
void pair_off(Op* ops, unsigned count, Op*& first_by_mxcsr) {
    for (unsigned i = 0; i + 1 < count;) {
        Handler handler = fast::choose_pair(ops[i].run, ops[i + 1].run);
        if (handler == nullptr) handler = fast::choose_sse_pair(ops[i].run, ops[i + 1].run);
        if (handler != nullptr) ops[i].run = handler;
        if (handler != nullptr && first_by_mxcsr == &ops[i + 1]) --first_by_mxcsr;
        i += handler != nullptr ? 2 : 1;
    }
}

}  // namespace

bool has_two_far_links(const Op& op, u64 code_base) {
    const Block& block = *block_of(&op);
    if (op.position == block.count) return false;  // behind the last instruction there is one way
    const Insn& insn = insn_of(&op);
    const bool one_way = insn.mnemonic == ZYDIS_MNEMONIC_JMP || insn.mnemonic == ZYDIS_MNEMONIC_CALL;
    return is_relative_branch(insn) && !one_way &&
           leaves_page(insn, next_rip_of(&op), page_of_near_links(block, code_base), code_base);
}

void translate_block(Block& block, u64 code_base, const Optimisations& use) {
    Op* ops = block.ops();
    const u64 mask = (block.mode & ModeKey::kCodeMask) == ModeKey::kCode64 ? ~u64{0} : 0xffffffff;
    const u64 page = page_of_near_links(block, code_base);
    u64 offset = 0;
    for (unsigned i = 0; i < block.count; ++i) {
        Op& op = ops[i] = Op{};
        op.position = static_cast<u8>(i);
        op.length = block.insns[i].length;
        op.rip_offset = static_cast<u16>(offset);
        offset += op.length;
    }
    Op& behind = ops[block.count] = Op{};
    behind.position = block.count;
    behind.rip_offset = static_cast<u16>(offset);
    behind.fall = nullptr;
    const bool same_page = (code_base + block.rip + offset) / kPageSize == page;
    behind.run = same_page ? fast::fall_through : fast::fall_through_far;

    // Backwards, so that at each instruction it is known whether its flags will be read.
    bool flags_live = true;
    Op* first_by_mxcsr = nullptr;  // the first operation that works by MXCSR puts the guest's into the host's
    for (unsigned i = block.count; i-- > 0;) {
        const Insn& insn = block.insns[i];
        Op& op = ops[i];
        Handler handler = nullptr;
        bool by_mxcsr = false;
        if (use.fast && (block.mode & ModeKey::kPlain) != 0) {
            const u64 rip = (block.rip + op.rip_offset) & mask;
            const Position at{.rip = rip, .next_rip = (rip + op.length) & mask, .page = page, .code_base = code_base};
            handler = choose(insn, at, block.mode, use, flags_live, op, by_mxcsr);
        }
        if (handler == nullptr) {
            op.run = fast::reference;
            flags_live = true;
            continue;
        }
        op.run = handler;
        if (by_mxcsr) first_by_mxcsr = &op;
        const FlagUse treats = flag_use(insn);
        if (may_leave(insn) || treats == FlagUse::Reads) {
            flags_live = true;
        } else if (treats == FlagUse::WritesAll) {
            flags_live = false;
        }
    }

    if (use.fuse && block.count >= 2) {
        const bool branch_fused = fuse_branch(block, code_base, page, same_page);
        pair_off(ops, branch_fused ? block.count - 2u : block.count, first_by_mxcsr);
    }
    if (first_by_mxcsr != nullptr) {
        first_by_mxcsr->imm = std::bit_cast<u64>(first_by_mxcsr->run);
        first_by_mxcsr->run = fast::take_mxcsr;
    }
}

}  // namespace dualvm::interp

#include "memory.h"

#include <algorithm>
#include <cstring>

#include "block_cache.h"
#include "breakpoints.h"
#include "page_walk.h"
#include "system.h"

namespace dualvm::interp {

// --- segmentation
// -----------------------------------------------------------------------------------------------------

namespace {

bool canonical(u64 address) { return sign_extend(address & 0xffffffffffff, 6) == address; }

// #SS(0) for the stack segment, #GP(0) for the others.
bool segment_fault(State& s, SegmentName segment) {
    s.raise(segment == SS ? SS_ : GP, 0);
    return false;
}

// SDM vol. 3A, 5.3: is [offset, offset + size) within the limit? Expand-down segments hold what is above it.
bool within_limit(const Segment& segment, u64 offset, unsigned size) {
    const u64 last = offset + size - 1;
    const bool expand_down = (segment.type() & 0xc) == 0x4;
    if (expand_down) return offset > segment.limit && last <= (segment.has(Segment::DB) ? 0xffffffffu : 0xffffu);
    return last <= segment.limit;
}

// SDM vol. 3A, 5.5: code segments cannot be written, data segments may be read-only, code may be execute-only.
bool type_allows(const Segment& segment, Access access) {
    const bool code = (segment.type() & 0x8) != 0, readable_or_writable = (segment.type() & 0x2) != 0;
    if (access == Access::Write) return !code && readable_or_writable;
    return !code || readable_or_writable;
}

// Alignment check: #AC(0) for misaligned data at CPL 3 with CR0.AM and EFLAGS.AC (SDM vol. 3A, 6.15, "Interrupt 17").
// What has to be a multiple of what: table 6-7 there. Where 16 bytes have to be aligned, that is another exception.
constexpr u64 alignment_mask(unsigned size) {
    switch (size) {
        case 2:
        case 4:
        case 8: return size - 1;
        case 10: return 7;  // the x87's extended precision
        case 14:            // images of FNSTENV and FNSAVE
        case 94: return 1;
        case 28:
        case 108: return 3;
        default: return 0;
    }
}

bool aligned_or_unchecked(State& s, u64 linear, unsigned size, Privilege who) {
    if (!s.user || who == Privilege::Supervisor) return true;
    if (!(s.cpu.control.cr0 & cr0::AM) || !(s.cpu.general.rflags & rflags::AC)) return true;
    if ((linear & alignment_mask(size)) == 0) return true;
    s.raise(AC, 0);
    return false;
}

}  // namespace

bool linear_address(State& s, SegmentName segment, u64 offset, unsigned size, Access access, u64& linear) {
    const Segment& seg = s.cpu.segments.seg[segment];
    if (s.code64()) {
        // Only FS and GS have a base; limits and types are not checked (SDM vol. 3A, 3.4.4, 5.3.1).
        linear = offset + (segment == FS || segment == GS ? seg.base : 0);
        if (!canonical(linear)) return segment_fault(s, segment);
        // What begins canonical and does not end so is misaligned, too, and CPUs find that first; SDM vol. 3A, table
        // 6-2, leaves the order to them.
        if (!canonical(linear + size - 1)) {
            return aligned_or_unchecked(s, linear, size, Privilege::Current) && segment_fault(s, segment);
        }
        return true;
    }
    linear = (seg.base + offset) & 0xffffffff;
    if (s.protected_mode() && !s.virtual8086()) {
        if (seg.has(Segment::Unusable) || !seg.has(Segment::P) || !type_allows(seg, access)) {
            return segment_fault(s, segment);
        }
    }
    if (!within_limit(seg, offset, size)) return segment_fault(s, segment);
    return true;
}

u64 effective_address(const State& s, const Insn& insn) {
    u64 offset = insn.displacement;
    if (insn.base != kNoRegister) offset += s.cpu.general.gpr[insn.base];
    if (insn.index != kNoRegister) offset += s.cpu.general.gpr[insn.index] * insn.scale;
    return offset & size_mask(insn.address_size);
}

// --- the TLB of the current privilege
// -----------------------------------------------------------------------------------------------------------

void privilege_changed(State& s) {
    s.user = s.cpu.cpl() == 3;
    s.tlb = &s.space->tlbs[s.user ? 1 : exempt_from_smap(s) ? 2 : 0];
    s.tlb_read = s.tlb->read.entries();
    s.tlb_write = s.tlb->write.entries();
    s.forget_stack_pages();
}

// --- linear accesses
// --------------------------------------------------------------------------------------------------

namespace {

// The bytes of one access that lie in one page.
struct Piece {
    u64 physical = 0;
    u8* host = nullptr;  // nullptr: MMIO, or a write to ROM
    unsigned size = 0;
};

// What explicit and implicit accesses look translations up in.
TlbTable& table_of(State& s, Access access, Privilege who) {
    Tlb& tlb = who == Privilege::Current ? *s.tlb : s.space->tlbs[0];
    return access == Access::Write ? tlb.write : tlb.read;
}

// Where an access goes on that reaches beyond a page. What a program addresses outside 64-bit mode is 32 bits wide; the
// tables that the CPU reads by itself in IA-32e mode lie anywhere, whatever code runs (SDM vol.
// 3A, 2.1.1.1, 3.5.2, 7.7).
u64 next_page(const State& s, u64 linear, Privilege who) {
    const u64 next = (linear | kPageMask) + 1;
    const bool wide = s.code64() || (who == Privilege::Supervisor && s.long_mode_active());
    return wide ? next : next & 0xffffffff;
}

// Where the host has the pages of an access that are remembered.
struct Known {
    u8* first = nullptr;   // nullptr: not all of it is known
    u8* second = nullptr;  // of the bytes in the next page, if there are any
    unsigned in_first = 0;
};
Known known_pages(State& s, u64 linear, unsigned size, Access access, Privilege who) {
    const TlbTable& table = table_of(s, access, who);
    const TlbEntry* entry = table.find(linear);
    if (entry == nullptr || !aligned_or_unchecked(s, linear, size, who)) return {};
    Known known{.first = reinterpret_cast<u8*>(linear + entry->addend), .in_first = size};
    const auto room = static_cast<unsigned>(kPageSize - (linear & kPageMask));
    if (size <= room) return known;
    const u64 next = next_page(s, linear, who);
    entry = table.find(next);
    if (entry == nullptr) return {};
    known.second = reinterpret_cast<u8*>(next + entry->addend);
    known.in_first = room;
    return known;
}

// Translates one page's part of an access, and remembers the page in the TLB if plain RAM answers there.
bool translate_piece(State& s, u64 linear, Access access, Privilege who, Piece& piece) {
    const bool user = s.user && who == Privilege::Current;
    if (!walk_tables(s, linear, access, user, who, piece.physical)) return false;
    const MemoryRegion* region = s.machine->vmem().find(piece.physical);
    piece.host = nullptr;
    if (region == nullptr || (access == Access::Write && region->kind != RegionKind::Ram)) return true;
    piece.host = region->host + (piece.physical - region->base);
    if (!s.use.tlb) return true;
    if (access == Access::Write) {
        s.machine->vmem().mark_dirty(*region, piece.physical);
        if (s.blocks->page_has_code(piece.physical)) return true;  // every store there must be seen
        s.blocks->note_store_entry(piece.physical, linear & ~kPageMask);
    }
    table_of(s, access, who).remember(linear & ~kPageMask, reinterpret_cast<u64>(piece.host) - linear);
    return true;
}

// A program's addresses have been checked when they were formed. A table may run past the last canonical address,
// though its base is one: #GP(0) (SDM vol. 1, 3.3.7.1). The TLB must not learn of what lies there.
bool canonical_or_checked(State& s, u64 linear, unsigned size, Privilege who) {
    if (who == Privilege::Current || !s.long_mode_active()) return true;
    if (canonical(linear) && canonical(linear + size - 1)) return true;
    s.raise(GP, 0);
    return false;
}

struct Pieces {
    std::array<Piece, 2> piece{};
    unsigned count = 1;
};

// All translations of an access are made before a byte is moved, so that a fault in its second page leaves no trace.
bool translate_access(State& s, u64 linear, unsigned size, Access access, Privilege who, Pieces& pieces) {
    if (!aligned_or_unchecked(s, linear, size, who)) return false;
    if (!canonical_or_checked(s, linear, size, who)) return false;
    const auto in_first = static_cast<unsigned>(std::min<u64>(size, kPageSize - (linear & kPageMask)));
    pieces.piece[0].size = in_first;
    if (!translate_piece(s, linear, access, who, pieces.piece[0])) return false;
    if (in_first == size) return true;
    pieces.count = 2;
    pieces.piece[1].size = size - in_first;
    return translate_piece(s, next_page(s, linear, who), access, who, pieces.piece[1]);
}

// MMIO in parts of 8, 4, 2 and 1 bytes: what a bus would do with an odd-sized or split access. Either `into` or `from`.
void mmio_access(State& s, const Piece& piece, u8* into, const u8* from) {
    const ExitKind kind = into != nullptr ? ExitKind::MmioRead : ExitKind::MmioWrite;
    synchronize_clock(s);
    for (unsigned done = 0; done < piece.size;) {
        unsigned n = 8;
        while (n > piece.size - done) n /= 2;
        std::array<u8, 8> part{};
        if (from != nullptr) std::memcpy(part.data(), from + done, n);
        Exit exit;
        exit.kind = kind;
        exit.address = piece.physical + done;
        exit.size = static_cast<u8>(n);
        exit.data = part.data();
        handle_exit(*s.machine, exit);
        if (into != nullptr) std::memcpy(into + done, part.data(), n);
        count_event(s.statistics.exits[static_cast<std::size_t>(kind)]);
        done += n;
    }
    s.io_done = true;
}

bool translate_without_fault(State& s, u64 linear, Access access, Piece& piece) {
    const Fault fault = s.fault;
    const u64 cr2 = s.cpu.control.cr2;
    if (translate_piece(s, linear, access, Privilege::Current, piece)) return true;
    s.fault = fault;
    s.cpu.control.cr2 = cr2;
    return false;
}

}  // namespace

bool check_linear(State& s, u64 linear, unsigned size, Access access, Privilege who) {
    if (known_pages(s, linear, size, access, who).first != nullptr) return true;
    Pieces pieces;
    return translate_access(s, linear, size, access, who, pieces);
}

u8* host_address(State& s, u64 linear, Access access) {
    if (s.watching_data) return nullptr;  // every access is looked at
    const TlbTable& table = table_of(s, access, Privilege::Current);
    const TlbEntry* entry = table.find(linear);
    if (entry == nullptr) {
        Piece piece;
        if (!translate_without_fault(s, linear, access, piece)) return nullptr;  // fills the TLB where it may be filled
        entry = table.find(linear);
    }
    return entry != nullptr ? reinterpret_cast<u8*>(linear + entry->addend) : nullptr;
}

u8* host_address_of_code(State& s, u64 linear, u64& physical) {
    if (s.watching_data) return nullptr;
    Piece piece;
    if (!translate_without_fault(s, linear, Access::Write, piece)) return nullptr;
    if (piece.host == nullptr || !s.blocks->page_has_code(piece.physical)) return nullptr;
    physical = piece.physical;
    return piece.host;
}

void note_write_to_code(State& s, u64 physical, u64 size) {
    s.machine->vmem().mark_dirty(physical);
    s.blocks->written(s, physical, size);
}

bool read_linear(State& s, u64 linear, void* into, unsigned size, Privilege who) {
    if (s.watching_data && who == Privilege::Current) note_data_access(s, linear, size, false);
    if (const Known known = known_pages(s, linear, size, Access::Read, who); known.first != nullptr) {
        std::memcpy(into, known.first, known.in_first);
        if (known.second != nullptr) {
            std::memcpy(static_cast<u8*>(into) + known.in_first, known.second, size - known.in_first);
        }
        return true;
    }
    Pieces pieces;
    if (!translate_access(s, linear, size, Access::Read, who, pieces)) return false;
    auto* to = static_cast<u8*>(into);
    for (unsigned i = 0; i < pieces.count; ++i) {
        const Piece& piece = pieces.piece[i];
        if (piece.host != nullptr) {
            std::memcpy(to, piece.host, piece.size);
        } else {
            mmio_access(s, piece, to, nullptr);
        }
        to += piece.size;
    }
    return true;
}

bool write_linear(State& s, u64 linear, const void* from, unsigned size, Privilege who) {
    if (s.watching_data && who == Privilege::Current) note_data_access(s, linear, size, true);
    if (const Known known = known_pages(s, linear, size, Access::Write, who); known.first != nullptr) {
        std::memcpy(known.first, from, known.in_first);
        if (known.second != nullptr) {
            std::memcpy(known.second, static_cast<const u8*>(from) + known.in_first, size - known.in_first);
        }
        return true;
    }
    Pieces pieces;
    if (!translate_access(s, linear, size, Access::Write, who, pieces)) return false;
    const auto* source = static_cast<const u8*>(from);
    for (unsigned i = 0; i < pieces.count; ++i) {
        const Piece& piece = pieces.piece[i];
        if (piece.host != nullptr) {
            std::memcpy(piece.host, source, piece.size);
            note_write_to_code(s, piece.physical, piece.size);
        } else {
            mmio_access(s, piece, nullptr, source);
        }
        source += piece.size;
    }
    return true;
}

// --- logical accesses
// -------------------------------------------------------------------------------------------------

bool read_memory(State& s, SegmentName segment, u64 offset, void* into, unsigned size) {
    u64 linear = 0;
    return linear_address(s, segment, offset, size, Access::Read, linear) && read_linear(s, linear, into, size);
}

bool write_memory(State& s, SegmentName segment, u64 offset, const void* from, unsigned size) {
    u64 linear = 0;
    return linear_address(s, segment, offset, size, Access::Write, linear) && write_linear(s, linear, from, size);
}

bool read_value(State& s, SegmentName segment, u64 offset, unsigned size, u64& value) {
    u64 read = 0;
    if (!read_memory(s, segment, offset, &read, size)) return false;
    value = read;
    return true;
}

bool write_value(State& s, SegmentName segment, u64 offset, unsigned size, u64 value) {
    return write_memory(s, segment, offset, &value, size);
}

// --- operands
// ---------------------------------------------------------------------------------------------------------

bool read_operand(State& s, const Insn& insn, unsigned index, u64& value) {
    const Operand& o = insn.operand[index];
    switch (o.kind) {
        case OperandKind::Gpr: value = read_gpr(s, o.reg, o.size, o.high8); return true;
        case OperandKind::Immediate: value = o.imm & size_mask(o.size); return true;
        case OperandKind::Memory: return read_value(s, insn.segment, effective_address(s, insn), o.size, value);
        default: value = 0; return true;
    }
}

bool read_operand_for_update(State& s, const Insn& insn, unsigned index, u64& value) {
    const Operand& o = insn.operand[index];
    if (o.kind != OperandKind::Memory) return read_operand(s, insn, index, value);
    u64 linear = 0;
    if (!linear_address(s, insn.segment, effective_address(s, insn), o.size, Access::Write, linear)) return false;
    if (!check_linear(s, linear, o.size, Access::Write)) return false;
    u64 read = 0;
    if (!read_linear(s, linear, &read, o.size)) return false;
    value = read;
    return true;
}

bool write_operand(State& s, const Insn& insn, unsigned index, u64 value) {
    const Operand& o = insn.operand[index];
    if (o.kind == OperandKind::Memory) return write_value(s, insn.segment, effective_address(s, insn), o.size, value);
    write_gpr(s, o.reg, o.size, value, o.high8);
    return true;
}

// --- the stack
// --------------------------------------------------------------------------------------------------------

bool push(State& s, unsigned size, u64 value) {
    const u64 top = (s.cpu.general.gpr[RSP] - size) & size_mask(stack_size(s));
    if (!write_value(s, SS, top, size, value)) return false;
    set_stack_pointer(s, top);
    return true;
}

bool pop(State& s, unsigned size, u64& value) {
    const u64 top = s.cpu.general.gpr[RSP] & size_mask(stack_size(s));
    if (!read_value(s, SS, top, size, value)) return false;
    set_stack_pointer(s, top + size);
    return true;
}

}  // namespace dualvm::interp

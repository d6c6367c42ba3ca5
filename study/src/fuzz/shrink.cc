#include "shrink.h"

#include <algorithm>
#include <bit>

namespace dualvm::study {

namespace {

class Shrinker {
public:
    Shrinker(const Analyser& analyser, const Case& failing, const StillFails& still_fails,
             const WithoutFirst& without_first)
        : analyser_(analyser), best_(failing), still_fails_(still_fails), without_first_(without_first) {}

    Case run() {
        while (remove_an_instruction()) {
        }
        while (remove_a_prefix()) {
        }
        try_with([](Case& c) { c.code_offset = 0; });
        simplify_memory();
        simplify_fpu();
        simplify_registers();
        simplify_flags();
        return best_;
    }

private:
    // Keeps the changed case if it still fails, and says so.
    template <class Change>
    bool try_with(Change change) {
        Case changed = best_;
        change(changed);
        if (changed == best_ || !still_fails_(changed)) return false;
        best_ = std::move(changed);
        return true;
    }

    bool remove_an_instruction() {
        const CaseAnalysis analysis = analyser_.analyse(best_);
        if (analysis.instructions.size() < 2) return false;
        for (auto i = analysis.instructions.rbegin(); i != analysis.instructions.rend(); ++i) {
            if (erase(i->offset, i->length)) return true;
        }
        // What the first one does is needed: take it into what the case starts from.
        const auto rest = without_first_(best_, analysis.instructions.front().length);
        return rest && try_with([&](Case& c) { c = *rest; });
    }
    bool remove_a_prefix() {
        for (const CaseInstruction& i : analyser_.analyse(best_).instructions) {
            for (unsigned p = 0; !i.illegal_lock && p < i.decoded.zydis.raw.prefix_count; ++p) {
                if (erase(i.offset + p, 1)) return true;
            }
        }
        return false;
    }
    bool erase(u64 at, u64 bytes) {
        return try_with([&](Case& c) {
            const auto from = c.code.begin() + static_cast<std::ptrdiff_t>(at);
            c.code.erase(from, from + static_cast<std::ptrdiff_t>(bytes));
        });
    }

    // All of it to zero, or each half by itself, and so on.
    void simplify_memory() { zero(0, best_.window.size()); }
    void zero(std::size_t from, std::size_t bytes) {
        const auto begin = best_.window.begin() + static_cast<std::ptrdiff_t>(from),
                   end = begin + static_cast<std::ptrdiff_t>(bytes);
        if (std::all_of(begin, end, [](u8 b) { return b == 0; })) return;
        const auto all = [&](Case& c) {
            std::fill_n(c.window.begin() + static_cast<std::ptrdiff_t>(from), bytes, u8{0});
        };
        if (try_with(all) || bytes == 1) return;
        zero(from, bytes / 2);
        zero(from + bytes / 2, bytes - bytes / 2);
    }

    void simplify_fpu() {
        const FpuGroup usual{.fcw = 0x37f, .ftw = 0};
        if (try_with([&](Case& c) { c.fpu = usual; })) return;
        try_with([](Case& c) { c.fpu.fip = c.fpu.fdp = c.fpu.fop = 0; });
        try_with([&](Case& c) { c.fpu.mxcsr = usual.mxcsr; });
        try_with([&](Case& c) { c.fpu.fcw = usual.fcw; });
        try_with([](Case& c) { c.fpu.fsw = 0; });
        try_with([](Case& c) { c.fpu.fsw &= 0x3800; });  // TOP alone
        try_with([](Case& c) { c.fpu.ftw = 0xff; });
        try_with([](Case& c) { c.fpu.ftw = 0; });
        try_with([](Case& c) { c.fpu.st = {}; });
        try_with([](Case& c) { c.fpu.vector = {}; });
        for (std::size_t i = 0; i < 8; ++i) {
            try_with([&](Case& c) { c.fpu.st[i] = {}; });
        }
        for (std::size_t i = 0; i < 16; ++i) {
            if (try_with([&](Case& c) { c.fpu.vector[i] = {}; })) continue;
            for (std::size_t b = 0; b < 16; ++b) {
                try_with([&](Case& c) { c.fpu.vector[i].bytes[b] = 0; });
            }
        }
        for (unsigned bit = 0; bit < 16; ++bit) {
            const u32 mask = ~(u32{1} << bit);
            if ((best_.fpu.mxcsr & ~mask) != (usual.mxcsr & ~mask)) {
                try_with([&](Case& c) { c.fpu.mxcsr = (c.fpu.mxcsr & mask) | (usual.mxcsr & ~mask); });
            }
            if ((best_.fpu.fcw & ~mask) != (usual.fcw & ~mask)) {
                try_with([&](Case& c) { c.fpu.fcw = static_cast<u16>((c.fpu.fcw & mask) | (usual.fcw & ~mask)); });
            }
        }
    }

    void simplify_registers() {
        for (std::size_t i = 0; i < 16; ++i) {
            for (const u64 value : {u64{0}, u64{1}, ring3::kWindow + 0x400}) {
                if (best_.gpr[i] == value || try_with([&](Case& c) { c.gpr[i] = value; })) break;
            }
            // Fewer bits, from the top: a byte at a time, then a bit.
            for (int shift = 56; shift >= 0; shift -= 8) {
                const u64 mask = u64{0xff} << shift;
                if ((best_.gpr[i] & mask) != 0) try_with([&](Case& c) { c.gpr[i] &= ~mask; });
            }
            for (int bit = 63; bit >= 0 && std::popcount(best_.gpr[i]) > 1; --bit) {
                const u64 mask = u64{1} << bit;
                if ((best_.gpr[i] & mask) != 0) try_with([&](Case& c) { c.gpr[i] &= ~mask; });
            }
        }
    }

    void simplify_flags() {
        constexpr u64 kLeast = rflags::Fixed1 | rflags::IF;
        if (try_with([](Case& c) { c.rflags = kLeast; })) return;
        for (unsigned bit = 0; bit < 22; ++bit) {
            const u64 mask = u64{1} << bit;
            if ((best_.rflags & ~kLeast & mask) != 0) try_with([&](Case& c) { c.rflags &= ~mask; });
        }
    }

    const Analyser& analyser_;
    Case best_;
    const StillFails& still_fails_;
    const WithoutFirst& without_first_;
};

}  // namespace

Case shrink(const Analyser& analyser, const Case& failing, const StillFails& still_fails,
            const WithoutFirst& without_first) {
    return Shrinker(analyser, failing, still_fails, without_first).run();
}

}  // namespace dualvm::study

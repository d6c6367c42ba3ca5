// The VMM's own supervisor: what a vCPU at ring 3 falls into when it leaves its program, in a slot of guest-physical
// memory that is not the guest's.
//
// The program runs under a copy of the guest's top-level page table in which one entry that the guest does not use
// leads to this shim: an IDT, a GDT, a TSS, a stack and, for each vector and for SYSCALL, a stub that does one OUT. The
// rest of the tables are the guest's own, so that accessed and dirty bits appear where the guest looks for them.
//
// Guest-physical layout, from `base` on: one page each of GDT and TSS, IDT, stubs, stack, and the shim's three page
// tables; then kRoots top-level tables, one for each of the guest's that has been used lately.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>

#include "dualvm/cpu_file.h"
#include "dualvm/types.h"

namespace dualvm::kvm {

// The port that the stubs write to. A program's own OUT to it, with IOPL 3, is told apart by its ring.
inline constexpr u8 kShimPort = 0xf5;

class Shim {
public:
    static constexpr unsigned kRoots = 256;
    static constexpr u64 kSize = (8 + kRoots) * kPageSize;

    // `base`: where KVM will show the memory, page-aligned.
    static Expected<std::unique_ptr<Shim>> create(u64 base);
    ~Shim();
    Shim(const Shim&) = delete;
    Shim& operator=(const Shim&) = delete;

    u64 base() const { return base_; }
    u8* host() const { return memory_; }

    // The guest's top-level table at `guest_root` (its bytes at `entries`), with the shim in it.
    struct Root {
        u64 address = 0;     // for CR3
        bool fresh = false;  // a page that had another table before: KVM must forget what it knows of it
        bool moved = false;  // the shim's linear address is another one than before
    };
    // Nothing if the guest uses all of the table's entries.
    std::optional<Root> root(u64 guest_root, const u64* entries);
    // Accessed bits that the CPU has set in the copy since, for the guest's own table. True if there were any.
    bool give_back_accessed(u64 guest_root, u64* entries);

    // Where the shim is in linear memory; valid behind root().
    u64 linear() const { return linear_; }
    u64 gdt() const { return linear_; }
    u64 tss() const { return linear_ + kTssOffset; }
    u64 idt() const { return linear_ + kPageSize; }
    u64 syscall_stub() const { return stubs() + kSyscallStub * kStubBytes; }

    static constexpr u16 kCode = 0x08, kTask = 0x18, kGdtLimit = 0x27;
    static constexpr u16 kIdtLimit = 256 * 16 - 1, kTssLimit = 0x67;

    // Which stub RIP is in, or right behind whose OUT: a vector, or kSyscallStub. Nothing if it is in none.
    static constexpr unsigned kSyscallStub = 256;
    std::optional<unsigned> stub_at(u64 rip) const;

    // What of the program the CPU has pushed on the way to a vector's stub whose stack pointer is `rsp`.
    struct Frame {
        u64 rip = 0, cs = 0, rflags = 0, rsp = 0;
    };
    std::optional<Frame> frame(unsigned vector, u64 rsp) const;

private:
    static constexpr u64 kTssOffset = 0x800, kStubBytes = 8;

    Shim(u64 base, u8* memory) : base_(base), memory_(memory) {}
    u64 stubs() const { return linear_ + 2 * kPageSize; }
    u64* page(unsigned number) const { return reinterpret_cast<u64*>(memory_ + number * kPageSize); }
    void write_stubs();
    void move_to(unsigned slot);

    u64 base_;
    u8* memory_;
    unsigned slot_ = 512;  // index in the top-level table; 512: none yet
    u64 linear_ = 0;
    std::unordered_map<u64, unsigned> copies_;  // which of the pages for them, by the guest's table
    unsigned next_root_ = 0;
    std::array<u64, kRoots> owners_{};  // whose copy a page is, + 1; 0: nobody's yet
};

}  // namespace dualvm::kvm

#include "assist/shim.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace dualvm::kvm {

namespace {

enum Page : unsigned { kGdtAndTss, kIdt, kStubs, kStubs2, kStack, kDirectoryPointers, kDirectory, kTable, kFirstRoot };

// A page table entry's bits (SDM vol. 3A, 4.5.5).
constexpr u64 kPresent = 1, kWritable = 2, kAccessed = 0x20, kDirty = 0x40;
constexpr u64 kEntry = kPresent | kWritable | kAccessed | kDirty;  // of the supervisor alone

// Vectors whose frame has an error code (SDM vol. 3A, table 6-1).
constexpr bool has_error_code(unsigned vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

}  // namespace

Expected<std::unique_ptr<Shim>> Shim::create(u64 base) {
    void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return fail(ExitStatus::EngineUnavailable, "no memory for the ring-3 shim");
    std::unique_ptr<Shim> shim(new Shim(base, static_cast<u8*>(memory)));
    shim->write_stubs();
    return shim;
}

Shim::~Shim() { munmap(memory_, kSize); }

void Shim::write_stubs() {
    u8* stubs = memory_ + kStubs * kPageSize;
    for (unsigned i = 0; i <= kSyscallStub; ++i) {
        const std::array<u8, 4> code = {0xe6, kShimPort, 0xeb, 0xfc};  // out; again: jmp to the out
        std::copy(code.begin(), code.end(), stubs + i * kStubBytes);
    }
    // 64-bit code and data of ring 0 (SDM vol. 3A, 3.4.5); behind them there is nothing, so that whatever the program
    // loads into a segment register ends in the shim.
    u64* gdt = page(kGdtAndTss);
    gdt[kCode / 8] = 0x00af9b000000ffff;
    gdt[kCode / 8 + 1] = 0x00cf93000000ffff;
    u64* pointers = page(kDirectoryPointers);
    u64* directory = page(kDirectory);
    u64* table = page(kTable);
    pointers[0] = (base_ + kDirectory * kPageSize) | kEntry;
    directory[0] = (base_ + kTable * kPageSize) | kEntry;
    for (unsigned i = 0; i <= kStack; ++i) table[i] = (base_ + i * kPageSize) | kEntry;
}

// What of the shim depends on its linear address: the top-level entry at `slot` leads to it.
void Shim::move_to(unsigned slot) {
    slot_ = slot;
    linear_ = u64{slot} << 39;
    if (slot >= 256) linear_ |= 0xffff000000000000;  // canonical
    u64* idt = page(kIdt);
    for (u64 vector = 0; vector < 256; ++vector) {
        // 64-bit interrupt gates (SDM vol. 3A, 6.14.1) of DPL 0: INT n from ring 3 is #GP, or what the host makes of
        // it.
        const u64 target = stubs() + vector * kStubBytes;
        idt[2 * vector] = (target & 0xffff) | u64{kCode} << 16 | u64{0x8e} << 40 | (target >> 16 & 0xffff) << 48;
        idt[2 * vector + 1] = target >> 32;
    }
    u8* tss_bytes = memory_ + kTssOffset;
    const u64 top = linear_ + (kStack + 1) * kPageSize;
    std::memcpy(tss_bytes + 4, &top, sizeof top);  // RSP0 (SDM vol. 3A, 7.7)
    constexpr u16 kBehindLimit = 0x68;             // no I/O permission bitmap
    std::memcpy(tss_bytes + 0x66, &kBehindLimit, sizeof kBehindLimit);
    u64* gdt = page(kGdtAndTss);
    const u64 at = tss();
    gdt[kTask / 8] = (at & 0xffffff) << 16 | (at >> 24 & 0xff) << 56 | u64{0x8b} << 40 | kTssLimit;
    gdt[kTask / 8 + 1] = at >> 32;
}

std::optional<Shim::Root> Shim::root(u64 guest_root, const u64* entries) {
    Root result;
    if (slot_ == 512 || (entries[slot_] & kPresent) != 0) {
        // From the end of the user's half: programs and kernels begin at the other ends.
        unsigned slot = 512;
        for (unsigned i = 0; i < 512 && slot == 512; ++i) {
            const unsigned candidate = (250 + 512 - i) % 512;
            if ((entries[candidate] & kPresent) == 0) slot = candidate;
        }
        if (slot == 512) return std::nullopt;
        move_to(slot);
        result.moved = true;
    }
    auto [found, is_new] = copies_.try_emplace(guest_root);
    if (is_new) {
        const unsigned number = next_root_++ % kRoots;
        if (owners_[number] != 0) {
            copies_.erase(owners_[number] - 1);
            result.fresh = true;
        }
        owners_[number] = guest_root + 1;
        copies_[guest_root] = number;
        found = copies_.find(guest_root);
    }
    u64* copy = page(kFirstRoot + found->second);
    std::memcpy(copy, entries, kPageSize);
    copy[slot_] = (base_ + kDirectoryPointers * kPageSize) | kEntry;
    result.address = base_ + (kFirstRoot + found->second) * kPageSize;
    return result;
}

bool Shim::give_back_accessed(u64 guest_root, u64* entries) {
    const auto found = copies_.find(guest_root);
    if (found == copies_.end()) return false;
    bool any = false;
    const u64* copy = page(kFirstRoot + found->second);
    for (unsigned i = 0; i < 512; ++i) {
        if (i == slot_ || copy[i] == entries[i] || copy[i] != (entries[i] | kAccessed)) continue;
        entries[i] = copy[i];
        any = true;
    }
    return any;
}

std::optional<unsigned> Shim::stub_at(u64 rip) const {
    const u64 offset = rip - stubs();
    if (rip < stubs() || offset / kStubBytes > kSyscallStub) return std::nullopt;
    // At the OUT, or behind it: KVM moves RIP before or after it comes back.
    if (offset % kStubBytes != 0 && offset % kStubBytes != 2) return std::nullopt;
    return static_cast<unsigned>(offset / kStubBytes);
}

std::optional<Shim::Frame> Shim::frame(unsigned vector, u64 rsp) const {
    const u64 stack = linear_ + kStack * kPageSize;
    const unsigned words = has_error_code(vector) ? 6 : 5;
    if (rsp != stack + kPageSize - words * 8) return std::nullopt;
    const u64* top = page(kStack) + (rsp - stack) / 8;
    Frame frame;
    if (words == 6) ++top;  // the error code
    frame.rip = top[0];
    frame.cs = top[1];
    frame.rflags = top[2];
    frame.rsp = top[3];
    return frame;
}

}  // namespace dualvm::kvm

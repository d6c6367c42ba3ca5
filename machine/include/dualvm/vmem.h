// vMEM: the guest-physical address space.
//
// RAM and ROM regions over one host mapping; holes belong to vIO's MMIO space. All access from outside an engine goes
// through bounds-checked accessors; engines alone may ask for host pointers. One account of dirty pages is filled by
// both engines and by devices. Memory of devices (a graphics adapter's) is a region like RAM wherever the guest puts
// it, but over nothing else. RAM as a PC has it: 0-9FFFFh, A0000h-FFFFFh (VGA hole, ROM area as RAM), 100000h up to 3
// GiB, and what is more than 3 GiB from 4 GiB on (below 4 GiB live the PC's MMIO devices).
#pragma once

#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "dualvm/types.h"

namespace dualvm {

enum class RegionKind : u8 { Ram, Rom };

struct MemoryRegion {
    u64 base = 0;  // guest-physical, page-aligned
    u64 size = 0;  // bytes, page-aligned
    RegionKind kind = RegionKind::Ram;
    u8* host = nullptr;   // for engines only
    u64 first_page = 0;   // index of its first page in the dirty account
    bool device = false;  // a device's memory, which the guest can move
    u64 end() const { return base + size; }
};

// Memory that is zero without being written: of a large account only the parts in use cost time and memory. A vector
// with it is to be made anew, never cleared or resized: only fresh memory is zero.
template <class T>
struct ZeroedAllocator {
    using value_type = T;
    ZeroedAllocator() = default;
    template <class U>
    explicit ZeroedAllocator(const ZeroedAllocator<U>&) {}
    T* allocate(std::size_t n) {
        void* memory = std::calloc(n, sizeof(T));
        if (memory == nullptr) throw std::bad_alloc();
        return static_cast<T*>(memory);
    }
    void deallocate(T* memory, std::size_t) { std::free(memory); }
    template <class U>
    void construct(U*) {}  // an element without a value
    template <class U, class V, class... More>
    void construct(U* place, V&& value, More&&... more) {
        ::new (static_cast<void*>(place)) U(std::forward<V>(value), std::forward<More>(more)...);
    }
    bool operator==(const ZeroedAllocator&) const { return true; }
};
using DirtyAccount = std::vector<u64, ZeroedAllocator<u64>>;  // one bit a page

class VMem {
public:
    static constexpr u64 kMinimumMebibytes = 1;
    static constexpr u64 kHoleBase = 0xc0000000, kHoleEnd = 0x100000000;  // 3 GiB to 4 GiB: no RAM

    // Maps `mebibytes` of RAM, lazily: pages cost host memory when touched. Refuses 0 and more than the host has.
    static Expected<std::unique_ptr<VMem>> create(u64 mebibytes);
    ~VMem();
    VMem(const VMem&) = delete;
    VMem& operator=(const VMem&) = delete;

    u64 ram_size() const { return ram_size_; }
    // Sorted by base, not overlapping.
    const std::vector<MemoryRegion>& regions() const { return regions_; }

    // Turns [base, base+size) into ROM (guest writes are dropped), with RAM behind it or memory of its own where there
    // is none, and fills it. Page-aligned. To be called before engines are made.
    Expected<void> add_rom(u64 base, std::span<const u8> bytes);
    // Takes RAM away from [base, base+size) so that MMIO devices answer there (the VGA window at A0000h). Page-aligned.
    Expected<void> punch_hole(u64 base, u64 size);

    // Shadowing, as a chipset's memory attribute registers do it in the last 256 KiB below 1 MiB: what a read finds
    // there, RAM or what the BIOS ROM below 4 GiB has (nothing below E0000h: the bus floats), and whether writes reach
    // the RAM. All is RAM to begin with. In pieces of 16 KiB; devices may call it while the guest runs. What add_rom()
    // or punch_hole() have taken here stays as it is.
    struct Shadow {
        bool read_ram = true, write_ram = true;
        bool operator==(const Shadow&) const = default;
    };
    static constexpr u64 kShadowBase = 0xc0000, kShadowEnd = 0x100000, kShadowGranule = 0x4000;
    void set_shadow(u64 base, u64 size, Shadow shadow);
    // A write to RAM that cannot be read, which engines see as one to ROM: false if it does not reach RAM. Within a
    // piece.
    bool write_shadowed(u64 address, const void* from, u64 size);

    // Memory of a device's own, zero to begin with and nowhere in the address space: to engines it is RAM while it has
    // a place. The number is what the other functions want. Page-aligned size. To be called before engines are made.
    Expected<std::size_t> add_device_memory(u64 size);
    // For the device, wherever the guest sees it.
    std::span<u8> device_memory(std::size_t number) const;
    // Gives it a place, or takes it away; devices may call it while the guest runs. False if the place is not
    // page-aligned or something is there: then it has none.
    bool place_device_memory(std::size_t number, std::optional<u64> base);
    // All zeros again, without costing the host memory.
    void clear_device_memory(std::size_t number);

    // Bounds-checked access for loaders and devices (DMA). False if any byte is outside RAM (ROM can be read, not
    // written); then nothing was moved.
    bool read(u64 address, void* into, u64 size) const;
    bool write(u64 address, const void* from, u64 size);
    template <class T>
    bool read_value(u64 address, T& into) const {
        return read(address, &into, sizeof into);
    }
    template <class T>
    bool write_value(u64 address, const T& value) {
        return write(address, &value, sizeof value);
    }
    bool fill(u64 address, u8 value, u64 size);

    // The region that holds `address`, or nullptr.
    const MemoryRegion* find(u64 address) const;

    // --- for engines -------------------------------------------------------------------------------------------
    // Host address of a byte of RAM or ROM, nullptr if there is none. Valid up to the end of its page.
    u8* host_page(u64 address) const;

    // A20 gate: with it closed, address bit 20 is forced to 0 (PC/AT). a20_mask() is and-ed to every CPU address.
    bool a20_open() const { return a20_open_; }
    void set_a20(bool open);
    u64 a20_mask() const { return a20_open_ ? ~u64{0} : ~(u64{1} << 20); }
    // Goes up with every change of the address map (A20, ROM, holes, memory of devices): cached translations older than
    // it are stale.
    u64 map_generation() const { return map_generation_; }

    // --- dirty account: one bit a page, set by devices here and by engines --------------------------------------
    // A device's memory has its bits, too, while it has a place; what a device does to it by itself is its own affair.
    u64 page_count() const { return page_count_; }
    void mark_dirty(const MemoryRegion& region, u64 address) {
        const u64 page = region.first_page + ((address - region.base) / kPageSize);
        dirty_[page / 64] |= u64{1} << (page % 64);
    }
    void mark_dirty(u64 address);  // no-op outside RAM
    bool is_dirty(u64 address) const;
    u64 dirty_pages() const;  // how many are marked
    // Forgets all marks. Engines must collect theirs first (Engine::collect_dirty) and notice dirty_generation().
    void clear_dirty();
    u64 dirty_generation() const { return dirty_generation_; }
    // The account as it is, leaving it empty, and back again: what is marked in between is known to be new.
    DirtyAccount take_dirty();
    void add_dirty(const DirtyAccount& taken);

    // --- engines that cache what memory holds (code) ask to be told of writes by others ----------------------------
    // `on_write(address, size)` is called after every write() and fill(), and by engines that ran guest code which may
    // have written there. Several engines may be on one machine: the number is for taking one's own away again.
    using WriteObserver = std::function<void(u64 address, u64 size)>;
    u64 add_write_observer(WriteObserver on_write);
    void remove_write_observer(u64 number);
    void written_by_guest(u64 address, u64 size) {
        for (const auto& [number, on_write] : write_observers_) on_write(address, size);
    }

private:
    VMem() = default;
    void cut(u64 base, u64 end);
    void sort_regions();
    void number_pages();
    void renumber();
    void apply_shadows();

    struct Unmapped {
        u64 size = 0;
        void operator()(u8* p) const;
    };
    using Mapping = std::unique_ptr<u8, Unmapped>;
    static Mapping map_zeros(u64 size);

    u8* mapping_ = nullptr;
    u64 mapping_size_ = 0;
    u64 ram_size_ = 0;
    std::vector<MemoryRegion> regions_;
    std::vector<std::unique_ptr<u8[]>> rom_storage_;
    struct DeviceMemory {
        Mapping bytes;
        u64 size = 0;
        u64 first_page = 0;
    };
    std::vector<DeviceMemory> device_memory_;
    struct ShadowPiece {
        Shadow shadow{};
        bool taken = false;
    };
    std::array<ShadowPiece, (kShadowEnd - kShadowBase) / kShadowGranule> shadows_{};
    DirtyAccount dirty_;
    u64 page_count_ = 0;
    u64 dirty_generation_ = 0, map_generation_ = 0;
    bool a20_open_ = true;
    std::vector<std::pair<u64, WriteObserver>> write_observers_;
    u64 next_write_observer_ = 0;
};

}  // namespace dualvm

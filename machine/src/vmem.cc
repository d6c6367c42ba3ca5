#include "dualvm/vmem.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

namespace dualvm {

Expected<std::unique_ptr<VMem>> VMem::create(u64 mebibytes) {
    if (mebibytes < kMinimumMebibytes) {
        return fail(ExitStatus::BadImage, "cannot give the guest 0 MiB of memory: ask for at least 1 (-m 1)");
    }
    struct sysinfo host {};
    sysinfo(&host);
    const u64 host_mebibytes = (static_cast<u64>(host.totalram) * host.mem_unit) >> 20;
    if (mebibytes > host_mebibytes) {
        return fail(ExitStatus::BadImage,
                    fmt::format("cannot give the guest {} MiB of memory: the host has {} MiB; ask for less with -m",
                                mebibytes, host_mebibytes));
    }
    auto vmem = std::unique_ptr<VMem>(new VMem);
    vmem->ram_size_ = mebibytes << 20;
    vmem->mapping_size_ = vmem->ram_size_;
    void* p =
        mmap(nullptr, vmem->mapping_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        return fail(ExitStatus::BadImage, fmt::format("cannot map {} MiB of guest memory: {}; ask for less with -m",
                                                      mebibytes, std::strerror(errno)));
    }
    // Guest RAM is walked all over: fewer, larger host pages save host TLB misses. A hint; failure does no harm.
    madvise(p, vmem->mapping_size_, MADV_HUGEPAGE);
    vmem->mapping_ = static_cast<u8*>(p);
    const u64 low = std::min(vmem->ram_size_, kHoleBase);
    vmem->regions_.push_back({.base = 0, .size = low, .kind = RegionKind::Ram, .host = vmem->mapping_});
    if (vmem->ram_size_ > low) {
        vmem->regions_.push_back(
            {.base = kHoleEnd, .size = vmem->ram_size_ - low, .kind = RegionKind::Ram, .host = vmem->mapping_ + low});
    }
    vmem->renumber();
    return vmem;
}

void VMem::Unmapped::operator()(u8* p) const { munmap(p, size); }

VMem::~VMem() {
    if (mapping_ != nullptr) munmap(mapping_, mapping_size_);
}

void VMem::sort_regions() {
    std::sort(regions_.begin(), regions_.end(), [](const auto& a, const auto& b) { return a.base < b.base; });
}

void VMem::number_pages() {
    u64 page = 0;
    for (MemoryRegion& r : regions_) {
        if (r.device) continue;
        r.first_page = page;
        page += r.size / kPageSize;
    }
    // Behind all others, with a place or without: when one moves, no page gets another number.
    for (DeviceMemory& memory : device_memory_) {
        memory.first_page = page;
        page += memory.size / kPageSize;
    }
    page_count_ = page;
    ++map_generation_;
}

void VMem::renumber() {
    number_pages();
    dirty_ = DirtyAccount((page_count_ + 63) / 64);
    ++dirty_generation_;
}

Expected<void> VMem::punch_hole(u64 base, u64 size) {
    if (((base | size) & kPageMask) != 0 || size == 0 || base + size < base) {
        return fail(ExitStatus::BadImage, fmt::format("memory hole {:#x}+{:#x} is not page-aligned", base, size));
    }
    cut(base, base + size);
    for (u64 at = kShadowBase; at < kShadowEnd; at += kShadowGranule) {
        if (base < at + kShadowGranule && at < base + size) shadows_[(at - kShadowBase) / kShadowGranule].taken = true;
    }
    sort_regions();
    renumber();
    return {};
}

// Takes [base, end) out of the regions.
void VMem::cut(u64 base, u64 end) {
    std::vector<MemoryRegion> kept;
    for (const MemoryRegion& r : regions_) {
        if (r.base < base) {
            MemoryRegion before = r;
            before.size = std::min(r.end(), base) - r.base;
            kept.push_back(before);
        }
        if (r.end() > end) {
            MemoryRegion behind = r;
            behind.base = std::max(r.base, end);
            behind.size = r.end() - behind.base;
            behind.host = r.host + (behind.base - r.base);
            kept.push_back(behind);
        }
    }
    regions_ = std::move(kept);
}

Expected<void> VMem::add_rom(u64 base, std::span<const u8> bytes) {
    const u64 size = (bytes.size() + kPageMask) & ~kPageMask;
    if (auto punched = punch_hole(base, size); !punched) return punched;
    auto storage = std::make_unique<u8[]>(size + kPageSize);
    u8* aligned = storage.get() + (-reinterpret_cast<std::uintptr_t>(storage.get()) & kPageMask);
    std::memcpy(aligned, bytes.data(), bytes.size());
    regions_.push_back({.base = base, .size = size, .kind = RegionKind::Rom, .host = aligned});
    rom_storage_.push_back(std::move(storage));
    sort_regions();
    apply_shadows();  // a BIOS shows below 1 MiB, too
    renumber();
    return {};
}

void VMem::set_shadow(u64 base, u64 size, Shadow shadow) {
    std::vector<u64> changed;
    for (u64 at = std::max(base, kShadowBase); at < std::min(base + size, kShadowEnd); at += kShadowGranule) {
        ShadowPiece& piece = shadows_[(at - kShadowBase) / kShadowGranule];
        if (!piece.taken && piece.shadow != shadow) changed.push_back(at & ~(kShadowGranule - 1));
        piece.shadow = shadow;
    }
    if (changed.empty()) return;
    apply_shadows();
    for (u64 at : changed) {  // what is there has changed as if it had been written
        for (u64 page = at; page < at + kShadowGranule; page += kPageSize) mark_dirty(page);
    }
}

bool VMem::write_shadowed(u64 address, const void* from, u64 size) {
    if (address < kShadowBase || address >= kShadowEnd || size > kShadowGranule - address % kShadowGranule)
        return false;
    const ShadowPiece& piece = shadows_[(address - kShadowBase) / kShadowGranule];
    if (piece.taken || !piece.shadow.write_ram) return false;
    std::memcpy(mapping_ + address, from, size);
    return true;
}

// Pages keep their numbers in the dirty account: pieces change what they show, not where they are.
void VMem::apply_shadows() {
    alignas(kPageSize) static std::array<u8, kShadowGranule> floating_bus;
    floating_bus.fill(0xff);
    constexpr u64 kToBios = kHoleEnd - kShadowEnd, kBios = 0xe0000;

    std::vector<MemoryRegion> parts;
    for (std::size_t i = 0; i < shadows_.size(); ++i) {
        if (shadows_[i].taken) continue;
        const u64 base = kShadowBase + i * kShadowGranule;
        cut(base, base + kShadowGranule);
        MemoryRegion part{.base = base, .size = kShadowGranule, .host = mapping_ + base};
        const Shadow shadow = shadows_[i].shadow;
        if (!shadow.read_ram || !shadow.write_ram) part.kind = RegionKind::Rom;
        if (!shadow.read_ram) {
            const MemoryRegion* bios = base >= kBios ? find(base + kToBios) : nullptr;
            const bool whole = bios != nullptr && bios->end() - (base + kToBios) >= kShadowGranule;
            part.host = whole ? bios->host + (base + kToBios - bios->base) : floating_bus.data();
        }
        parts.push_back(part);
    }
    regions_.insert(regions_.end(), parts.begin(), parts.end());
    sort_regions();
    std::vector<MemoryRegion> joined;
    for (const MemoryRegion& r : regions_) {
        MemoryRegion* last = joined.empty() ? nullptr : &joined.back();
        if (last != nullptr && last->end() == r.base && last->host + last->size == r.host && last->kind == r.kind &&
            !last->device && !r.device) {
            last->size += r.size;
        } else {
            joined.push_back(r);
        }
    }
    regions_ = std::move(joined);
    number_pages();
}

VMem::Mapping VMem::map_zeros(u64 size) {
    void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return {p != MAP_FAILED ? static_cast<u8*>(p) : nullptr, Unmapped{size}};
}

Expected<std::size_t> VMem::add_device_memory(u64 size) {
    if (size == 0 || (size & kPageMask) != 0) {
        return fail(ExitStatus::BadImage, fmt::format("device memory of {:#x} bytes is not whole pages", size));
    }
    Mapping bytes = map_zeros(size);
    if (bytes == nullptr) {
        return fail(ExitStatus::BadImage, fmt::format("cannot map {} MiB of device memory: {}; close other programs",
                                                      size >> 20, std::strerror(errno)));
    }
    device_memory_.push_back({.bytes = std::move(bytes), .size = size});
    renumber();
    return device_memory_.size() - 1;
}

std::span<u8> VMem::device_memory(std::size_t number) const {
    const DeviceMemory& memory = device_memory_[number];
    return {memory.bytes.get(), memory.size};
}

bool VMem::place_device_memory(std::size_t number, std::optional<u64> base) {
    const DeviceMemory& memory = device_memory_[number];
    const u8* host = memory.bytes.get();
    const auto gone = std::erase_if(regions_, [host](const MemoryRegion& r) { return r.device && r.host == host; });
    bool placed = false;
    if (base && (*base & kPageMask) == 0 && *base + memory.size > *base) {
        const u64 end = *base + memory.size;
        placed = std::none_of(regions_.begin(), regions_.end(),
                              [&](const MemoryRegion& r) { return r.base < end && *base < r.end(); });
    }
    if (placed) {
        regions_.push_back({.base = *base,
                            .size = memory.size,
                            .kind = RegionKind::Ram,
                            .host = memory.bytes.get(),
                            .first_page = memory.first_page,
                            .device = true});
        sort_regions();
    }
    if (placed || gone != 0) ++map_generation_;
    return placed || !base;
}

void VMem::clear_device_memory(std::size_t number) {
    const DeviceMemory& memory = device_memory_[number];
    // Of private anonymous memory, pages that are given back are zeros when touched again (madvise(2)).
    if (madvise(memory.bytes.get(), memory.size, MADV_DONTNEED) != 0) std::memset(memory.bytes.get(), 0, memory.size);
}

const MemoryRegion* VMem::find(u64 address) const {
    auto after = std::upper_bound(regions_.begin(), regions_.end(), address,
                                  [](u64 a, const MemoryRegion& r) { return a < r.base; });
    if (after == regions_.begin()) return nullptr;
    --after;
    return address - after->base < after->size ? &*after : nullptr;
}

u8* VMem::host_page(u64 address) const {
    const MemoryRegion* r = find(address);
    return r != nullptr ? r->host + (address - r->base) : nullptr;
}

bool VMem::read(u64 address, void* into, u64 size) const {
    if (address + size < address) return false;
    for (u64 done = 0, n = 0; done < size; done += n) {
        const MemoryRegion* r = find(address + done);
        if (r == nullptr) return false;
        n = std::min(size - done, r->end() - (address + done));
    }
    auto* to = static_cast<u8*>(into);
    for (u64 done = 0, n = 0; done < size; done += n) {
        const MemoryRegion* r = find(address + done);
        n = std::min(size - done, r->end() - (address + done));
        std::memcpy(to + done, r->host + (address + done - r->base), n);
    }
    return true;
}

namespace {
bool writable(const VMem& vmem, u64 address, u64 size) {
    if (address + size < address) return false;
    for (u64 done = 0, n = 0; done < size; done += n) {
        const MemoryRegion* r = vmem.find(address + done);
        if (r == nullptr || r->kind != RegionKind::Ram) return false;
        n = std::min(size - done, r->end() - (address + done));
    }
    return true;
}
}  // namespace

u64 VMem::add_write_observer(WriteObserver on_write) {
    write_observers_.emplace_back(next_write_observer_, std::move(on_write));
    return next_write_observer_++;
}

void VMem::remove_write_observer(u64 number) {
    std::erase_if(write_observers_, [&](const auto& observer) { return observer.first == number; });
}

bool VMem::write(u64 address, const void* from, u64 size) {
    if (!writable(*this, address, size)) return false;
    const auto* source = static_cast<const u8*>(from);
    for (u64 done = 0, n = 0; done < size; done += n) {
        const MemoryRegion* r = find(address + done);
        n = std::min(size - done, r->end() - (address + done));
        std::memcpy(r->host + (address + done - r->base), source + done, n);
        for (u64 page = (address + done) & ~kPageMask; page < address + done + n; page += kPageSize) {
            mark_dirty(*r, std::max(page, address + done));
        }
    }
    if (size != 0) written_by_guest(address, size);
    return true;
}

bool VMem::fill(u64 address, u8 value, u64 size) {
    if (!writable(*this, address, size)) return false;
    for (u64 done = 0, n = 0; done < size; done += n) {
        const MemoryRegion* r = find(address + done);
        n = std::min(size - done, r->end() - (address + done));
        std::memset(r->host + (address + done - r->base), value, n);
        for (u64 page = (address + done) & ~kPageMask; page < address + done + n; page += kPageSize) {
            mark_dirty(*r, std::max(page, address + done));
        }
    }
    if (size != 0) written_by_guest(address, size);
    return true;
}

void VMem::set_a20(bool open) {
    if (open == a20_open_) return;
    a20_open_ = open;
    ++map_generation_;
}

void VMem::mark_dirty(u64 address) {
    if (const MemoryRegion* r = find(address)) mark_dirty(*r, address);
}

bool VMem::is_dirty(u64 address) const {
    const MemoryRegion* r = find(address);
    if (r == nullptr) return false;
    const u64 page = r->first_page + ((address - r->base) / kPageSize);
    return ((dirty_[page / 64] >> (page % 64)) & 1) != 0;
}

u64 VMem::dirty_pages() const {
    u64 n = 0;
    for (u64 word : dirty_) n += static_cast<u64>(std::popcount(word));
    return n;
}

void VMem::clear_dirty() {
    dirty_ = DirtyAccount(dirty_.size());
    ++dirty_generation_;
}

DirtyAccount VMem::take_dirty() {
    DirtyAccount taken(dirty_.size());
    taken.swap(dirty_);
    ++dirty_generation_;
    return taken;
}

void VMem::add_dirty(const DirtyAccount& taken) {
    for (std::size_t i = 0; i < std::min(taken.size(), dirty_.size()); ++i) dirty_[i] |= taken[i];
}

}  // namespace dualvm

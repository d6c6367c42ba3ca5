#include "load_plan.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::boot {

tl::unexpected<Error> bad_image(const std::string& name, std::string_view what_is_wrong, std::string_view what_to_do) {
    return fail(ExitStatus::BadImage, fmt::format("cannot boot '{}': {}; {}", name, what_is_wrong, what_to_do));
}

std::string memory_advice(u64 end) {
    constexpr u64 kMebibyte = u64{1} << 20;
    if (end > VMem::kHoleBase) return "a PC has no memory there: link it for an address between 1 MiB and 3 GiB";
    return fmt::format("give the guest more memory (-m {})", (end + kMebibyte - 1) / kMebibyte);
}

bool LoadPlan::overlaps(u64 address, u64 end) const {
    auto next = used_.lower_bound(end);  // the first piece that starts at or behind our end
    return next != used_.begin() && std::prev(next)->second > address;
}

Expected<void> LoadPlan::check(u64 address, u64 size, const std::string& what) const {
    const u64 end = address + size;
    if (end < address) {
        return bad_image(
            image_name_,
            fmt::format("{} at {:#x} with {:#x} bytes wraps around the address space", what, address, size),
            "the file is damaged: build it again");
    }
    const bool inside = std::any_of(map_.begin(), map_.end(), [&](const MemoryMapEntry& entry) {
        return entry.type == MemoryType::Usable && address >= entry.base && end <= entry.end();
    });
    if (!inside) {
        const bool first_megabyte = address < kExtendedMemory && end > kExtendedBiosData;
        return bad_image(image_name_,
                         fmt::format("{} at {:#x}-{:#x} is not all in the guest's memory", what, address, end - 1),
                         first_megabyte ? "9FC00h-FFFFFh belong to the BIOS, video memory and ROMs: link it for 1 MiB "
                                          "or above"
                                        : memory_advice(end));
    }
    if (overlaps(address, end)) {
        return bad_image(image_name_,
                         fmt::format("{} at {:#x}-{:#x} overlaps another part of the image", what, address, end - 1),
                         "the file is damaged or linked wrongly: build it again");
    }
    return {};
}

void LoadPlan::add(Piece piece) {
    used_.emplace(piece.address, piece.address + piece.memory_size);
    pieces_.push_back(std::move(piece));
}

Expected<void> LoadPlan::put(u64 address, std::span<const u8> bytes, u64 memory_size, std::string what) {
    if (memory_size == 0) return {};
    if (auto ok = check(address, memory_size, what); !ok) return ok;
    add({.address = address, .memory_size = memory_size, .bytes = bytes, .what = std::move(what)});
    return {};
}

Expected<void> LoadPlan::keep_free(u64 address, u64 size, std::string what) {
    if (size == 0) return {};
    if (auto ok = check(address, size, what); !ok) return ok;
    add({.address = address, .memory_size = size, .writes = false, .what = std::move(what)});
    return {};
}

void LoadPlan::put_firmware_data(u64 address, std::vector<u8> bytes, std::string what) {
    const u64 end = address + bytes.size();
    const bool memory = std::any_of(map_.begin(), map_.end(), [&](const MemoryMapEntry& entry) {
        return entry.base < kExtendedMemory && address >= entry.base && end <= entry.end();
    });
    if (memory && !overlaps(address, end)) put_in_room(address, std::move(bytes), std::move(what));
}

Expected<u64> LoadPlan::find_room(u64 size, u64 alignment, AddressRange within, Search search,
                                  const std::string& what) const {
    std::optional<u64> found;
    auto consider = [&](u64 from, u64 to) {  // a free stretch of memory
        from = std::max(from, within.from);
        to = std::min(to, within.to);
        const u64 lowest = (from + alignment - 1) / alignment * alignment;
        if (lowest < from || to < lowest || to - lowest < size) return;
        const u64 candidate = search == Search::Upwards ? lowest : (to - size) / alignment * alignment;
        if (!found || (search == Search::Upwards ? candidate < *found : candidate > *found)) found = candidate;
    };
    for (const MemoryMapEntry& entry : map_) {
        if (entry.type != MemoryType::Usable) continue;
        u64 free_from = entry.base;
        for (const auto& [base, end] : used_) {
            if (end <= entry.base || base >= entry.end()) continue;
            consider(free_from, base);
            free_from = end;
        }
        consider(free_from, entry.end());
    }
    if (found) return *found;
    return bad_image(
        image_name_,
        fmt::format("there is no room for {} ({} bytes) between {:#x} and {:#x}", what, size, within.from, within.to),
        "give the guest more memory (-m), or load less");
}

void LoadPlan::put_in_room(u64 address, std::vector<u8> bytes, std::string what) {
    if (bytes.empty()) return;
    const std::span<const u8> view = bytes;  // stays valid: moving a vector moves its buffer along
    add({.address = address,
         .memory_size = view.size(),
         .bytes = view,
         .own_bytes = std::move(bytes),
         .what = std::move(what)});
}

void LoadPlan::put_in_room(u64 address, std::span<const u8> bytes, std::string what) {
    if (bytes.empty()) return;
    add({.address = address, .memory_size = bytes.size(), .bytes = bytes, .what = std::move(what)});
}

bool LoadPlan::covers(u64 address) const {
    return std::any_of(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
        return piece.writes && address >= piece.address && address - piece.address < piece.memory_size;
    });
}

Expected<void> LoadPlan::commit(VMem& vmem) const {
    for (const Piece& piece : pieces_) {
        if (!piece.writes) continue;
        const u64 zeros = piece.memory_size - piece.bytes.size();
        if (!vmem.write(piece.address, piece.bytes.data(), piece.bytes.size()) ||
            !vmem.fill(piece.address + piece.bytes.size(), 0, zeros)) {
            return bad_image(image_name_, fmt::format("guest memory refused {} at {:#x}", piece.what, piece.address),
                             "this is an error in dualvm: please report it with the image");
        }
    }
    return {};
}

std::vector<Placement> LoadPlan::placements() const {
    std::vector<Placement> all;
    for (const Piece& piece : pieces_) {
        all.push_back({.base = piece.address, .size = piece.memory_size, .what = piece.what});
    }
    std::sort(all.begin(), all.end(), [](const Placement& a, const Placement& b) { return a.base < b.base; });
    return all;
}

}  // namespace dualvm::boot

// LoadPlan: what goes where in guest memory, decided completely before the first byte is written.
//
// A loader puts the pieces that have a fixed address first (the kernel's segments), then lets the plan find room for
// its own structures around them. Every piece is checked against the memory map and against all others, so a hostile
// image can neither leave guest memory nor overwrite what it is told about itself.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "dualvm/boot/boot.h"
#include "dualvm/boot/memory_map.h"

namespace dualvm::boot {

// Guest-physical [from, to).
struct AddressRange {
    u64 from = 0;
    u64 to = 0;
};

enum class Search : u8 { Upwards, Downwards };

class LoadPlan {
public:
    // `image_name` is what errors name. The map must outlive the plan.
    LoadPlan(std::string image_name, const std::vector<MemoryMapEntry>& map)
        : image_name_(std::move(image_name)), map_(map) {}

    // `bytes` at `address`, followed by zeros up to `memory_size`. The bytes must live until commit().
    Expected<void> put(u64 address, std::span<const u8> bytes, u64 memory_size, std::string what);
    // Keeps [address, address + size) free of everything else, without writing it.
    Expected<void> keep_free(u64 address, u64 size, std::string what);
    // The same for what firmware would have written at fixed addresses: memory reserved in the map may be used, and
    // where the kernel itself wants the place, the kernel has it.
    void put_firmware_data(u64 address, std::vector<u8> bytes, std::string what);
    // Room for `size` bytes inside `within`, at a multiple of `alignment`; the first in the direction of the search.
    Expected<u64> find_room(u64 size, u64 alignment, AddressRange within, Search search, const std::string& what) const;
    // Bytes at an address that find_room() gave; those of a vector are kept by the plan.
    void put_in_room(u64 address, std::vector<u8> bytes, std::string what);
    void put_in_room(u64 address, std::span<const u8> bytes, std::string what);
    // Both in one.
    template <class Bytes>
    Expected<u64> put_anywhere(Bytes bytes, u64 alignment, AddressRange within, Search search, std::string what) {
        auto address = find_room(bytes.size(), alignment, within, search, what);
        if (address) put_in_room(*address, std::move(bytes), std::move(what));
        return address;
    }

    // Where ACPI's root pointer will be; 0 if the machine has no tables.
    void set_acpi_root(u64 address) { acpi_root_ = address; }
    u64 acpi_root() const { return acpi_root_; }

    // The end of the highest piece so far, 0 if there is none.
    u64 end() const { return used_.empty() ? 0 : used_.rbegin()->second; }
    // True if a piece with contents covers the byte at `address`.
    bool covers(u64 address) const;

    const std::string& image_name() const { return image_name_; }
    const std::vector<MemoryMapEntry>& map() const { return map_; }

    Expected<void> commit(VMem& vmem) const;
    std::vector<Placement> placements() const;

private:
    struct Piece {
        u64 address = 0;
        u64 memory_size = 0;
        std::span<const u8> bytes{};
        std::vector<u8> own_bytes{};  // what `bytes` refers to, if the plan owns it
        bool writes = true;
        std::string what{};
    };
    Expected<void> check(u64 address, u64 size, const std::string& what) const;
    bool overlaps(u64 address, u64 end) const;
    void add(Piece piece);

    std::string image_name_;
    const std::vector<MemoryMapEntry>& map_;
    u64 acpi_root_ = 0;
    std::vector<Piece> pieces_;
    std::map<u64, u64> used_;  // base -> end, not overlapping
};

// The Error of an image that cannot be loaded: the file, what is wrong with it, what to do.
tl::unexpected<Error> bad_image(const std::string& name, std::string_view what_is_wrong, std::string_view what_to_do);
// "-m N" that would make memory reach up to `end`, or that no -m can.
std::string memory_advice(u64 end);

}  // namespace dualvm::boot

#include "dualvm/vio.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm {

Expected<void> IoSpace::add(u64 base, u64 size, Device& device, u64 device_offset) {
    auto refuse = [&](std::string why) {
        return fail(ExitStatus::BadImage, fmt::format("cannot put device '{}' at {} {:#x}, {} bytes: {}", device.name(),
                                                      name_, base, size, why));
    };
    if (size == 0) return refuse("the range is empty");
    if (base > limit_ || size - 1 > limit_ - base) return refuse("the range passes the end of the address space");
    const auto after =
        std::find_if(ranges_.begin(), ranges_.end(), [&](const IoRange& r) { return r.base + (r.size - 1) >= base; });
    if (after != ranges_.end() && after->base <= base + (size - 1)) {
        return refuse(
            fmt::format("it overlaps '{}' at {:#x}, {} bytes", after->device->name(), after->base, after->size));
    }
    ranges_.insert(after, IoRange{base, size, &device, device_offset});
    last_hit_ = 0;
    ++generation_;
    return {};
}

void IoSpace::remove(u64 base) {
    std::erase_if(ranges_, [&](const IoRange& r) { return r.base == base; });
    last_hit_ = 0;
    ++generation_;
}

const IoRange* IoSpace::find(u64 address) const {
    auto holds = [&](const IoRange& r) { return address >= r.base && address - r.base < r.size; };
    if (last_hit_ < ranges_.size() && holds(ranges_[last_hit_])) return &ranges_[last_hit_];
    auto after =
        std::upper_bound(ranges_.begin(), ranges_.end(), address, [](u64 a, const IoRange& r) { return a < r.base; });
    if (after == ranges_.begin()) return nullptr;
    --after;
    if (!holds(*after)) return nullptr;
    last_hit_ = static_cast<std::size_t>(after - ranges_.begin());
    return &*after;
}

u64 VIo::read(const IoSpace& space, u64 address, unsigned size) {
    const u64 ones = size >= 8 ? ~u64{0} : (u64{1} << (8 * size)) - 1;
    const IoRange* r = space.find(address);
    const u64 offset = r != nullptr ? address - r->base : 0;
    if (r != nullptr && size <= r->size - offset) return r->device->read(r->device_offset + offset, size) & ones;
    if (size == 1) return ones;
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= read(space, (address + i) & space.limit(), 1) << (8 * i);
    return value;
}

void VIo::write(const IoSpace& space, u64 address, unsigned size, u64 value) {
    const u64 ones = size >= 8 ? ~u64{0} : (u64{1} << (8 * size)) - 1;
    const IoRange* r = space.find(address);
    const u64 offset = r != nullptr ? address - r->base : 0;
    if (r != nullptr && size <= r->size - offset) {
        r->device->write(r->device_offset + offset, size, value & ones);
        return;
    }
    if (size == 1) return;
    for (unsigned i = 0; i < size; ++i) write(space, (address + i) & space.limit(), 1, (value >> (8 * i)) & 0xff);
}

}  // namespace dualvm

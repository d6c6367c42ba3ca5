#include "dualvm/devices/vga_dac.h"

#include <algorithm>

namespace dualvm::devices {

void VgaDac::reset() { *this = VgaDac(); }

void VgaDac::load_ega_colours() {
    // EGA's colour number is rgbRGB: capitals two thirds of the brightness, the others one third.
    const auto component = [](unsigned number, unsigned strong, unsigned weak) {
        return static_cast<u8>(((number >> strong & 1) != 0 ? 0x2a : 0) + ((number >> weak & 1) != 0 ? 0x15 : 0));
    };
    for (unsigned number = 0; number < 64; ++number) {
        components_[3 * number] = component(number, 2, 5);
        components_[3 * number + 1] = component(number, 1, 4);
        components_[3 * number + 2] = component(number, 0, 3);
    }
}

void VgaDac::select_read(u8 colour) {
    read_index_ = colour;
    component_ = 0;
    reading_ = true;
}

void VgaDac::select_write(u8 colour) {
    write_index_ = colour;
    component_ = 0;
    reading_ = false;
}

u8 VgaDac::read_data() {
    const u8 value = components_[std::size_t{read_index_} * 3 + component_];
    if (++component_ == 3) {
        component_ = 0;
        ++read_index_;
    }
    return value;
}

void VgaDac::write_data(u8 value) {
    latched_[component_] = eight_bits_ ? value : value & 0x3f;
    if (++component_ < 3) return;
    std::copy(latched_.begin(), latched_.end(), components_.begin() + std::ptrdiff_t{write_index_} * 3);
    component_ = 0;
    ++write_index_;
}

// Six bits become eight as QEMU makes them (hw/display/vga.c): the lowest bit is repeated. So 2Ah, two thirds, is A8h.
Rgb VgaDac::colour(u8 pixel) const {
    const auto wide = [this](u8 component) {
        if (eight_bits_) return component;
        const unsigned six = component & 0x3f, low = six & 1;
        return static_cast<u8>(six << 2 | low << 1 | low);
    };
    const u8* c = &components_[std::size_t{static_cast<u8>(pixel & mask_)} * 3];
    return {wide(c[0]), wide(c[1]), wide(c[2])};
}

void VgaDac::save(ArchiveWriter& out) const {
    out.put_bytes(components_.data(), components_.size());
    out.put_bytes(latched_.data(), latched_.size());
    for (u8 v : {mask_, read_index_, write_index_, component_, u8{reading_}, u8{eight_bits_}}) out.put(v);
}

void VgaDac::load(ArchiveReader& in) {
    in.get_bytes(components_.data(), components_.size());
    in.get_bytes(latched_.data(), latched_.size());
    for (u8* v : {&mask_, &read_index_, &write_index_, &component_}) in.get(*v);
    reading_ = in.get<u8>() != 0;
    eight_bits_ = in.get<u8>() != 0;
    if (component_ >= latched_.size()) in.set_bad();
    if (!in.ok()) reset();
}

}  // namespace dualvm::devices

// Thousands of damaged images, the same ones every time: none may crash a loader, be half loaded, or leave memory.
#include <gtest/gtest.h>

#include <random>

#include "boot_any.h"

namespace dualvm::boot {
namespace {

class Mutator {
public:
    // A copy of `image` with one to four fields overwritten, and now and then cut off or grown. Damage goes where the
    // formats have their headers.
    Bytes damaged(const Bytes& image, const std::vector<std::pair<u64, u64>>& headers) {
        Bytes copy = image;
        for (u64 n = 1 + random_() % 4; n != 0; --n) {
            const auto& [begin, end] = headers[random_() % headers.size()];
            const u64 at = begin + random_() % (end - begin);
            switch (random_() % 3) {
                case 0: put(copy, at, static_cast<u8>(random_())); break;
                case 1: put(copy, at & ~u64{3}, interesting()); break;
                default: put(copy, at & ~u64{3}, static_cast<u32>(random_())); break;
            }
        }
        if (random_() % 8 == 0) copy.resize(random_() % (copy.size() + 600));
        return copy;
    }

private:
    u32 interesting() {
        constexpr u32 kValues[] = {0,          1,          0xfff,      0x1000,     0x7c00,     0x9000,     0x9fc00,
                                   0xa0000,    0xfffff,    0x100000,   0x7fffff,   0x800000,   0x7fffffff, 0x80000000,
                                   0xc0000000, 0xfffff000, 0xfffffff0, 0xfffffffe, 0xffffffff, 0x10003,    0x1badb002};
        return kValues[random_() % std::size(kValues)];
    }
    std::mt19937_64 random_{20240229};
};

// The undamaged image loads, so the damage is what the loaders get to see.
void expect_no_damage_matters(const Bytes& image, const std::vector<std::pair<u64, u64>>& headers,
                              std::initializer_list<Protocol> protocols) {
    Mutator mutator;
    for (unsigned i = 0; i < 1000; ++i) {
        const Bytes damaged = mutator.damaged(image, headers);
        for (Protocol protocol : protocols) {
            ASSERT_EQ(what_is_wrong_with_booting(damaged, protocol), "") << to_string(protocol) << ", image " << i;
        }
    }
    for (Protocol protocol : protocols) EXPECT_EQ(error_of(image, 8, protocol), "");
}

TEST(Mutation, Multiboot) {
    expect_no_damage_matters(make_multiboot_elf(), {{0, 84}, {0x1000, 0x1020}}, {Protocol::Auto, Protocol::Multiboot});
}

TEST(Mutation, MultibootAddressFields) {
    Bytes image(0x1000, 0x90);
    put_multiboot_header(image, 0x20, 0x10003);
    u64 at = 0x2c;
    for (u32 field : {0x200020u, 0x200000u, 0u, 0x203000u, 0x200040u}) {
        put(image, at, field);
        at += 4;
    }
    expect_no_damage_matters(image, {{0x2c, 0x40}}, {Protocol::Auto});
}

TEST(Mutation, Pvh) {
    expect_no_damage_matters(make_pvh_elf(), {{0, 64}, {64, 176}, {0x2000, 0x202c}}, {Protocol::Auto, Protocol::Pvh});
}

TEST(Mutation, Linux) {
    expect_no_damage_matters(make_bzimage(), {{0x1f1, 0x26c}}, {Protocol::Auto, Protocol::Linux32, Protocol::Linux64});
}

TEST(Mutation, BootSector) {
    expect_no_damage_matters(make_boot_sector(), {{0, 512}}, {Protocol::Auto, Protocol::Sector});
}

}  // namespace
}  // namespace dualvm::boot

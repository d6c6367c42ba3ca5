#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "images.h"

namespace dualvm::boot {
namespace {

using ::testing::HasSubstr;

TEST(Linux, The64BitEntryIsPreferred) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_bzimage()));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->protocol, Protocol::Linux64);
    EXPECT_EQ(report->entry, 0x200200u);
    EXPECT_EQ(machine->cpu().general.rip, 0x200200u);
    EXPECT_EQ(value_at<u8>(*machine, 0x200fff), 0xcc);
}

TEST(Linux, The32BitEntryIsUsedWhereThereIsNoOther) {
    for (const BzImageSpec& spec : {BzImageSpec{.xload_flags = 0}, BzImageSpec{.version = 0x20b}}) {
        auto machine = make_machine();
        const auto report = boot_image(*machine, image_of(make_bzimage(spec)));
        ASSERT_TRUE(report) << report.error().text;
        EXPECT_EQ(report->protocol, Protocol::Linux32);
        EXPECT_EQ(report->entry, 0x200000u);
        EXPECT_EQ(machine->cpu().mode(), CpuMode::Protected32);
        for (Gpr r : {RBP, RDI, RBX}) EXPECT_EQ(machine->cpu().general.gpr[r], 0u);
    }
}

TEST(Linux, ZeroPageHoldsTheHeaderAndWhatTheLoaderKnows) {
    auto machine = make_machine(16);
    ASSERT_TRUE(boot_image(*machine, image_of(make_bzimage(), "console=ttyS0")));
    const u64 page = machine->cpu().general.gpr[RSI];
    EXPECT_EQ(page & kPageMask, 0u);
    EXPECT_EQ(value_at<u32>(*machine, page + 0x202), 0x53726448u);
    EXPECT_EQ(value_at<u16>(*machine, page + 0x206), 0x20f);
    EXPECT_EQ(value_at<u8>(*machine, page + 0x1ef), 0) << "sentinel: the rest of the page was cleared";
    EXPECT_EQ(value_at<u8>(*machine, page + 0x210), 0xff);
    EXPECT_EQ(value_at<u32>(*machine, page + 0x214), 0x200000u);
    EXPECT_EQ(value_at<u32>(*machine, page + 0x218), 0u);
    EXPECT_EQ(string_at(*machine, value_at<u32>(*machine, page + 0x228)), "console=ttyS0");
    EXPECT_EQ(value_at<u32>(*machine, page + 0x1e0), 15u * 1024);
}

TEST(Linux, ScreenInfoIsVgaText) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_bzimage())));
    const u64 page = machine->cpu().general.gpr[RSI];
    EXPECT_EQ(value_at<u8>(*machine, page + 6), 3);
    EXPECT_EQ(value_at<u8>(*machine, page + 7), 80);
    EXPECT_EQ(value_at<u8>(*machine, page + 0xe), 25);
    EXPECT_EQ(value_at<u8>(*machine, page + 0xf), 1);
    EXPECT_EQ(value_at<u16>(*machine, page + 0x10), 16);
}

TEST(Linux, E820TableIsTheMemoryMap) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_bzimage())));
    const u64 page = machine->cpu().general.gpr[RSI];
    const auto expected = memory_map(machine->vmem());
    ASSERT_EQ(value_at<u8>(*machine, page + 0x1e8), expected.size());
    for (u64 i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(value_at<u64>(*machine, page + 0x2d0 + i * 20), expected[i].base);
        EXPECT_EQ(value_at<u64>(*machine, page + 0x2d8 + i * 20), expected[i].size);
        EXPECT_EQ(value_at<u32>(*machine, page + 0x2e0 + i * 20), static_cast<u32>(expected[i].type));
    }
}

TEST(Linux, InitrdIsPlacedHighBelowTheKernelsLimit) {
    const Bytes initrd(5000, 0x3c);
    for (const auto& [limit, end] : {std::pair<u32, u64>{0x7fffffff, 0x1000000}, {0x800fff, 0x801000}}) {
        auto machine = make_machine(16);
        const Bytes kernel = make_bzimage({.initrd_address_max = limit});
        BootImage image = image_of(kernel);
        image.modules = {{.text = "initrd.img", .bytes = initrd}};
        ASSERT_TRUE(boot_image(*machine, image));
        const u64 page = machine->cpu().general.gpr[RSI];
        EXPECT_EQ(value_at<u32>(*machine, page + 0x218), end - 0x2000);
        EXPECT_EQ(value_at<u32>(*machine, page + 0x21c), 5000u);
        EXPECT_EQ(value_at<u8>(*machine, end - 0x2000 + 4999), 0x3c);
    }
}

TEST(Linux, SeveralInitrdsAreJoinedFourByteAligned) {
    auto machine = make_machine();
    const Bytes kernel = make_bzimage(), first(5, 0xaa), second(3, 0xbb);
    BootImage image = image_of(kernel);
    image.modules = {{.text = "a", .bytes = first}, {.text = "b", .bytes = second}};
    ASSERT_TRUE(boot_image(*machine, image));
    const u64 page = machine->cpu().general.gpr[RSI], at = value_at<u32>(*machine, page + 0x218);
    EXPECT_EQ(value_at<u32>(*machine, page + 0x21c), 11u);
    EXPECT_EQ(value_at<u64>(*machine, at), 0x000000aaaaaaaaaau);
    EXPECT_EQ(value_at<u8>(*machine, at + 8), 0xbb);
}

TEST(Linux, ARelocatableKernelIsLoadedAtItsAlignedPreferredAddress) {
    auto machine = make_machine();
    const auto report =
        boot_image(*machine, image_of(make_bzimage({.alignment = 0x400000, .preferred_address = 0x500000})));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->entry, 0x800200u);
}

TEST(Linux, AFixedKernelIsLoadedAtOneMebibyteWhateverItPrefers) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_bzimage({.relocatable = 0, .preferred_address = 0x800000})));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->entry, 0x100200u);
    EXPECT_TRUE(std::any_of(report->placed.begin(), report->placed.end(), [](const Placement& p) {
        return p.base + p.size == 0x808000;
    })) << "where it will move itself to is kept free";
}

TEST(Linux, MemoryForTheStartIsCheckedAndNamed) {
    EXPECT_THAT(error_of(make_bzimage({.init_size = 30u << 20}), 16), HasSubstr("(-m 32)"));
    EXPECT_THAT(error_of(make_bzimage({.init_size = 0xffffffff}), 16), HasSubstr("init_size"));
    EXPECT_THAT(error_of(make_bzimage({.preferred_address = ~u64{0} - 0xfff})), HasSubstr("wraps"));
    EXPECT_THAT(error_of(make_bzimage({.relocatable = 0, .preferred_address = 0x8000})), HasSubstr("below 1 MiB"));
}

TEST(Linux, ACommandLineThatIsTooLongIsRefused) {
    auto machine = make_machine();
    const Bytes kernel = make_bzimage();
    ASSERT_TRUE(boot_image(*machine, image_of(kernel, std::string(255, 'x'))));
    const auto report = boot_image(*machine, image_of(kernel, std::string(256, 'x')));
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().text, HasSubstr("256 characters and this kernel takes 255"));
}

TEST(Linux, AnInitrdThatDoesNotFitIsRefused) {
    auto machine = make_machine(4);
    const Bytes kernel = make_bzimage(), initrd(3u << 20);
    BootImage image = image_of(kernel);
    image.modules = {{.text = "big", .bytes = initrd}};
    const auto report = boot_image(*machine, image);
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().text, HasSubstr("no room for initrd"));
}

TEST(Linux, OldAndDamagedHeadersAreRefused) {
    EXPECT_THAT(error_of(make_bzimage({.version = 0x201})), HasSubstr("protocol 2.01 is too old"));
    EXPECT_THAT(error_of(make_bzimage({.load_flags = 0})), HasSubstr("zImage"));
    EXPECT_THAT(error_of(make_bzimage({.alignment = 0x300000})), HasSubstr("not a power of two"));
    EXPECT_THAT(error_of(make_bzimage({.alignment = 0})), HasSubstr("not a power of two"));
    EXPECT_THAT(error_of(make_bzimage({.payload_paragraphs = 0x102})), HasSubstr("promises 4128 bytes"));
    EXPECT_THAT(error_of(make_bzimage({.payload_paragraphs = 0xffffffff})), HasSubstr("promises"));
    Bytes short_header = make_bzimage();
    put(short_header, 0x200, u16{0x20eb});
    EXPECT_THAT(error_of(short_header), HasSubstr("ends at 0x222"));
    Bytes absurd_setup = make_bzimage();
    put(absurd_setup, 0x1f1, u8{255});
    EXPECT_THAT(error_of(absurd_setup), HasSubstr("255 setup sectors"));
}

TEST(Linux, NoSetupSectorsMeansFour) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_bzimage({.setup_sectors = 0})));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(value_at<u8>(*machine, 0x200000), 0xcc);
}

TEST(Linux, A64BitStartOfA32BitKernelIsRefused) {
    EXPECT_THAT(error_of(make_bzimage({.xload_flags = 0}), 16, Protocol::Linux64), HasSubstr("no 64-bit entry"));
}

// What the host happens to have in /boot: Debian's memtest86+ and kernels.
TEST(Linux, RealKernelsLoad) {
    unsigned loaded = 0;
    std::error_code none;
    for (const auto& file : std::filesystem::directory_iterator(DUALVM_REAL_GUESTS, none)) {
        const std::string name = file.path().filename();
        const bool memtest = name.starts_with("memtest86+") && name.ends_with(".bin");
        if (!memtest && !name.starts_with("vmlinuz-")) continue;
        auto machine = make_machine(128);
        const auto report = boot_guest(*machine, {.kernel = file.path(), .initrd = {}, .append = "console=ttyS0"});
        EXPECT_TRUE(report) << report.error().text;
        ++loaded;
    }
    if (loaded == 0) GTEST_SKIP() << "no kernels in " DUALVM_REAL_GUESTS ": ./dev test fetches them";
}

}  // namespace
}  // namespace dualvm::boot

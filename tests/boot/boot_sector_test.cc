#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "images.h"

namespace dualvm::boot {
namespace {

using ::testing::HasSubstr;

TEST(BootSector, StartsAsABiosWouldStartIt) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_boot_sector()));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->protocol, Protocol::Sector);
    const CpuFile& cpu = machine->cpu();
    EXPECT_EQ(cpu.segments.seg[CS].base + cpu.general.rip, 0x7c00u);
    EXPECT_EQ(cpu.segments.seg[CS].selector, 0);
    EXPECT_EQ(cpu.general.gpr[RDX] & 0xff, 0x80u);
    EXPECT_EQ(cpu.general.gpr[RSP], 0x7c00u);
    EXPECT_EQ(cpu.segments.idtr, (DescriptorTable{.base = 0, .limit = 0x3ff}));
    EXPECT_EQ(value_at<u16>(*machine, 0x7dfe), 0xaa55);
}

TEST(BootSector, TheSectorsBehindItFollowInMemory) {
    auto machine = make_machine();
    Bytes image = make_boot_sector(3);
    put(image, 1024, 0xbeefu);
    ASSERT_TRUE(boot_image(*machine, image_of(image)));
    EXPECT_EQ(value_at<u32>(*machine, 0x8000), 0xbeefu);
}

TEST(BootSector, TheBiosDataAreaIsSensible) {
    auto machine = make_machine();
    const u32 old = 0x12345678;
    ASSERT_TRUE(machine->vmem().write_value(0x20, old));
    ASSERT_TRUE(boot_image(*machine, image_of(make_boot_sector())));
    EXPECT_EQ(value_at<u32>(*machine, 0x20), 0u);
    EXPECT_EQ(value_at<u16>(*machine, 0x400), 0x3f8);
    EXPECT_EQ(value_at<u16>(*machine, 0x413), 639);
    EXPECT_EQ(value_at<u16>(*machine, 0x40e), 0x9fc0);
    EXPECT_EQ(value_at<u8>(*machine, 0x9fc00), 1);
}

TEST(BootSector, ImagesUpToTheExtendedBiosDataAreaFit) {
    EXPECT_EQ(error_of(make_boot_sector((0x9fc00 - 0x7c00) / 512)), "");
    EXPECT_THAT(error_of(make_boot_sector((0x9fc00 - 0x7c00) / 512 + 1)), HasSubstr("do not fit"));
}

TEST(BootSector, WhatHasNoSignatureIsNotOne) {
    EXPECT_THAT(error_of(Bytes(512)), HasSubstr("no guest that dualvm knows"));
    EXPECT_THAT(error_of(Bytes(512), 16, Protocol::Sector), HasSubstr("no boot sector"));
    Bytes odd = make_boot_sector();
    odd.push_back(0);
    EXPECT_THAT(error_of(odd), HasSubstr("no guest that dualvm knows"));
}

TEST(BootSector, ACommandLineIsRefused) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_boot_sector(), "quiet"));
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().text, HasSubstr("leave out -initrd and -append"));
}

}  // namespace
}  // namespace dualvm::boot

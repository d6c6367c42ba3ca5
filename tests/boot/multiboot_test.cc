#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "images.h"

namespace dualvm::boot {
namespace {

using ::testing::HasSubstr;

TEST(Multiboot, ElfSegmentsAreLoadedAndTheirRestIsZeroed) {
    auto machine = make_machine();
    const u32 old = 0xffffffff;
    ASSERT_TRUE(machine->vmem().write_value(0x101ffc, old));
    const auto report = boot_image(*machine, image_of(make_multiboot_elf()));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->protocol, Protocol::Multiboot);
    EXPECT_EQ(report->entry, 0x100010u);
    EXPECT_EQ(value_at<u32>(*machine, 0x100ffc), 0x12345678u);
    EXPECT_EQ(value_at<u32>(*machine, 0x101ffc), 0u);
}

TEST(Multiboot, EntryStateIsThatOfTheSpecification) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_multiboot_elf())));
    const CpuFile& cpu = machine->cpu();
    EXPECT_EQ(cpu.general.gpr[RAX], 0x2badb002u);
    EXPECT_EQ(cpu.general.rip, 0x100010u);
    EXPECT_EQ(cpu.mode(), CpuMode::Protected32);
    EXPECT_EQ(cpu.control.cr0 & (cr0::PE | cr0::PG), cr0::PE);
    EXPECT_EQ(cpu.general.rflags & (rflags::IF | rflags::VM), 0u);
    EXPECT_TRUE(machine->vmem().a20_open());
}

TEST(Multiboot, InformationHoldsMemoryCommandLineAndLoaderName) {
    auto machine = make_machine(16);
    ASSERT_TRUE(boot_image(*machine, image_of(make_multiboot_elf(), "quiet n=5")));
    const u64 info = machine->cpu().general.gpr[RBX];
    EXPECT_EQ(value_at<u32>(*machine, info), 0x24du);
    EXPECT_EQ(value_at<u32>(*machine, info + 4), 639u);
    EXPECT_EQ(value_at<u32>(*machine, info + 8), 15u * 1024);
    EXPECT_EQ(string_at(*machine, value_at<u32>(*machine, info + 16)), "guest.elf quiet n=5");
    EXPECT_EQ(string_at(*machine, value_at<u32>(*machine, info + 64)), "dualvm");
}

TEST(Multiboot, MemoryMapIsThatOfTheMachine) {
    auto machine = make_machine(16);
    ASSERT_TRUE(boot_image(*machine, image_of(make_multiboot_elf())));
    const u64 info = machine->cpu().general.gpr[RBX];
    const u64 length = value_at<u32>(*machine, info + 44), at = value_at<u32>(*machine, info + 48);
    const auto expected = memory_map(machine->vmem());
    ASSERT_EQ(length, expected.size() * 24);
    for (u64 i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(value_at<u32>(*machine, at + i * 24), 20u);
        EXPECT_EQ(value_at<u64>(*machine, at + i * 24 + 4), expected[i].base);
        EXPECT_EQ(value_at<u64>(*machine, at + i * 24 + 12), expected[i].size);
        EXPECT_EQ(value_at<u32>(*machine, at + i * 24 + 20), static_cast<u32>(expected[i].type));
    }
}

TEST(Multiboot, ModulesArePageAlignedBehindTheKernelWithTheirStrings) {
    auto machine = make_machine();
    const Bytes kernel = make_multiboot_elf();
    const Bytes first(5000, 0xa1), second = {1, 2, 3};
    BootImage image = image_of(kernel);
    image.modules = {{.text = "first one", .bytes = first}, {.text = "second", .bytes = second}};
    ASSERT_TRUE(boot_image(*machine, image));
    const u64 info = machine->cpu().general.gpr[RBX];
    ASSERT_EQ(value_at<u32>(*machine, info + 20), 2u);
    const u64 table = value_at<u32>(*machine, info + 24);
    const u32 start0 = value_at<u32>(*machine, table), end0 = value_at<u32>(*machine, table + 4);
    const u32 start1 = value_at<u32>(*machine, table + 16), end1 = value_at<u32>(*machine, table + 20);
    EXPECT_EQ(start0 & kPageMask, 0u);
    EXPECT_EQ(start1 & kPageMask, 0u);
    EXPECT_GE(start0, 0x102000u);
    EXPECT_GE(start1, end0);
    EXPECT_EQ(end0 - start0, 5000u);
    EXPECT_EQ(end1 - start1, 3u);
    EXPECT_EQ(value_at<u8>(*machine, end0 - 1), 0xa1);
    EXPECT_EQ(value_at<u8>(*machine, end1 - 1), 3);
    EXPECT_EQ(string_at(*machine, value_at<u32>(*machine, table + 8)), "first one");
    EXPECT_EQ(string_at(*machine, value_at<u32>(*machine, table + 24)), "second");
}

TEST(Multiboot, AWishForVideoIsAnsweredWithTextMode) {
    auto machine = make_machine();
    ASSERT_TRUE(boot_image(*machine, image_of(make_multiboot_elf(7))));
    const u64 info = machine->cpu().general.gpr[RBX];
    EXPECT_NE(value_at<u32>(*machine, info) & 1u << 12, 0u);
    EXPECT_EQ(value_at<u64>(*machine, info + 88), 0xb8000u);
    EXPECT_EQ(value_at<u8>(*machine, info + 109), 2);
}

TEST(Multiboot, UnknownDemandsAreRefused) {
    EXPECT_THAT(error_of(make_multiboot_elf(3 | 8)), HasSubstr("demands unknown features (flags 0x8)"));
    EXPECT_EQ(error_of(make_multiboot_elf(3 | 1u << 20)), "");  // the upper half are offers, not demands
}

TEST(Multiboot, AHeaderBehindTheFirst8192BytesIsNotOne) {
    Bytes image =
        make_elf32(0x100000, {{.offset = 0, .physical_address = 0x100000, .file_size = 0x3000, .memory_size = 0x3000}});
    put_multiboot_header(image, 8192 - 8, 3);
    EXPECT_NE(error_of(image), "");
    put_multiboot_header(image, 8192 - 12, 3);
    EXPECT_EQ(error_of(image), "");
}

TEST(Multiboot, AHeaderThatIsAlmostOneIsExplained) {
    Bytes image = make_multiboot_elf(), flat(0x3000);
    put(image, 0x1008, 0u);
    EXPECT_THAT(error_of(image), HasSubstr("Multiboot header at 0x1000 in the file has a wrong checksum"));
    put_multiboot_header(flat, 0x102, 3);
    EXPECT_THAT(error_of(flat), HasSubstr("at 0x102 in the file is not 4-byte aligned"));
    flat.assign(0x3000, 0);
    put_multiboot_header(flat, 0x2000, 3);
    EXPECT_THAT(error_of(flat), HasSubstr("at 0x2000 in the file, behind the first 8192 bytes"));
}

TEST(Multiboot, AKernelLinkedHighIsEnteredAtItsPhysicalAddress) {
    auto machine = make_machine();
    Bytes image = make_elf32(0x80100020, {{.offset = 0x1000,
                                           .virtual_address = 0x80100000,
                                           .physical_address = 0x100000,
                                           .file_size = 0x1000,
                                           .memory_size = 0x1000}});
    put_multiboot_header(image, 0x1000, 0);
    const auto report = boot_image(*machine, image_of(image));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->entry, 0x100020u);
}

TEST(Multiboot, StructuresKeepOutOfAKernelInLowMemory) {
    auto machine = make_machine();
    Bytes image = make_elf32(
        0x9000,
        {{.offset = 0x1000, .virtual_address = 0, .physical_address = 0, .file_size = 0x1000, .memory_size = 0x90000}});
    put_multiboot_header(image, 0x1000, 3);
    put(image, 0x1400, 0xfeedu);  // where the BIOS data area would go
    const auto report = boot_image(*machine, image_of(image));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_GE(machine->cpu().general.gpr[RBX], 0x90000u);
    EXPECT_EQ(value_at<u32>(*machine, 0x400), 0xfeedu);
}

TEST(Multiboot, SixtyFourBitElfIsRefusedAsByQemu) {
    Bytes image = make_elf64(
        0x100000, {{.offset = 0x1000, .physical_address = 0x100000, .file_size = 0x1000, .memory_size = 0x1000}});
    put_multiboot_header(image, 0x1000, 3);
    EXPECT_THAT(error_of(image), HasSubstr("objcopy -O elf32-i386"));
}

TEST(Multiboot, MoreMemoryIsAskedForByName) { EXPECT_THAT(error_of(make_multiboot_elf(), 1), HasSubstr("(-m 2)")); }

// A flat image: header at file offset 0x20, loaded at 200000h, entry right behind the header.
struct AddressFields {
    u32 header = 0x200020, load = 0x200000, load_end = 0, bss_end = 0x203000, entry = 0x200040;
};
Bytes make_flat(const AddressFields& fields) {
    Bytes image(0x1000, 0x90);
    put_multiboot_header(image, 0x20, 0x10003);
    u64 at = 0x2c;
    for (u32 field : {fields.header, fields.load, fields.load_end, fields.bss_end, fields.entry}) {
        put(image, at, field);
        at += 4;
    }
    return image;
}

TEST(Multiboot, AddressFieldsSayWhereAFlatFileGoes) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_flat({})));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->entry, 0x200040u);
    EXPECT_EQ(value_at<u8>(*machine, 0x200fff), 0x90);
    EXPECT_EQ(value_at<u8>(*machine, 0x201000), 0);
    EXPECT_TRUE(std::any_of(report->placed.begin(), report->placed.end(),
                            [](const Placement& p) { return p.base == 0x200000 && p.size == 0x3000; }));
}

TEST(Multiboot, AddressFieldsThatContradictEachOtherAreRefused) {
    EXPECT_THAT(error_of(make_flat({.header = 0x1fffff})), HasSubstr("before the file's start"));
    EXPECT_THAT(error_of(make_flat({.header = 0x300000})), HasSubstr("before the file's start"));
    EXPECT_THAT(error_of(make_flat({.load_end = 0x1fffff})), HasSubstr("load_end_addr"));
    EXPECT_THAT(error_of(make_flat({.load_end = 0x201001})),
                HasSubstr("asks for 4097 bytes of the file, 4096 are there"));
    EXPECT_THAT(error_of(make_flat({.bss_end = 0x200800})), HasSubstr("bss_end_addr"));
    EXPECT_THAT(error_of(make_flat({.bss_end = 0xfffff000})), HasSubstr("not all in the guest's memory"));
    EXPECT_THAT(error_of(make_flat({.entry = 0x203000})), HasSubstr("entry point 0x203000 is outside"));
}

TEST(Multiboot, AddressFieldsCutOffAreRefused) {
    Bytes image = make_flat({});
    image.resize(0x20 + 31);
    EXPECT_THAT(error_of(image), HasSubstr("cut off"));
}

}  // namespace
}  // namespace dualvm::boot

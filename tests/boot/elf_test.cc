// ELF files that lie: each lie is found, named, and leaves memory as it was.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "images.h"

namespace dualvm::boot {
namespace {

using ::testing::HasSubstr;

// A Multiboot ELF file with these segments; the header is behind the program headers.
Bytes with_segments(const std::vector<SegmentSpec>& segments, u32 entry = 0x100000) {
    Bytes image = make_elf32(entry, segments);
    put_multiboot_header(image, 0x800, 3);
    return image;
}
constexpr SegmentSpec kGood = {
    .offset = 0x1000, .physical_address = 0x100000, .file_size = 0x1000, .memory_size = 0x1000};

TEST(Elf, OverlappingSegmentsAreRefused) {
    SegmentSpec other = kGood;
    other.physical_address = 0x100fff;
    EXPECT_THAT(error_of(with_segments({kGood, other})), HasSubstr("overlaps another part of the image"));
    other.physical_address = 0x101000;
    EXPECT_EQ(error_of(with_segments({kGood, other})), "");
}

TEST(Elf, SegmentsOutsideOfMemoryAreRefused) {
    SegmentSpec s = kGood;
    s.memory_size = 0xfffff000;
    EXPECT_THAT(error_of(with_segments({s})), HasSubstr("not all in the guest's memory"));
    s = kGood;
    s.physical_address = 0xfff000;
    s.memory_size = 0x1001;
    EXPECT_THAT(error_of(with_segments({kGood, s})), HasSubstr("(-m 17)"));
    s.physical_address = 0xd0000000;
    EXPECT_THAT(error_of(with_segments({kGood, s})), HasSubstr("a PC has no memory there"));
    s.physical_address = 0x9f000;
    EXPECT_THAT(error_of(with_segments({kGood, s})), HasSubstr("belong to the BIOS, video memory and ROMs"));
}

TEST(Elf, SegmentsThatWrapAreRefused) {
    Bytes pvh = make_pvh_elf();
    put(pvh, 64 + 24, ~u64{0} - 0xfff);  // p_paddr
    EXPECT_THAT(error_of(pvh), HasSubstr("wraps around"));
}

TEST(Elf, SegmentsBeyondTheFileAreRefused) {
    SegmentSpec s = kGood;
    s.offset = 0x2001;
    EXPECT_THAT(error_of(with_segments({s})), HasSubstr("reaches past the end of the file"));
    s.offset = 0xfffff000;
    EXPECT_THAT(error_of(with_segments({s})), HasSubstr("reaches past the end of the file"));
}

TEST(Elf, MoreInTheFileThanInMemoryIsRefused) {
    SegmentSpec s = kGood;
    s.memory_size = 0xfff;
    EXPECT_THAT(error_of(with_segments({s})), HasSubstr("more bytes in the file"));
}

TEST(Elf, AnAbsurdNumberOfProgramHeadersIsRefused) {
    Bytes image = with_segments({kGood});
    put(image, 44, u16{0xffff});
    EXPECT_THAT(error_of(image), HasSubstr("65535 program headers"));
    put(image, 44, u16{0});
    EXPECT_THAT(error_of(image), HasSubstr("no program headers"));
    image = with_segments({kGood});
    put(image, 42, u16{0});
    EXPECT_THAT(error_of(image), HasSubstr("only 0 bytes long"));
}

TEST(Elf, AnEntryOutsideOfTheSegmentsIsRefused) {
    EXPECT_THAT(error_of(with_segments({kGood}, 0x102000)), HasSubstr("entry point 0x102000 is outside"));
}

TEST(Elf, OtherMachinesAndObjectFilesAreRefused) {
    Bytes image = with_segments({kGood});
    put(image, 18, u16{40});
    EXPECT_THAT(error_of(image), HasSubstr("another CPU (e_machine 40)"));
    image = with_segments({kGood});
    put(image, 16, u16{1});
    EXPECT_THAT(error_of(image), HasSubstr("not an executable"));
    image = with_segments({kGood});
    put(image, 5, u8{2});
    EXPECT_THAT(error_of(image), HasSubstr("big-endian"));
}

TEST(Elf, NothingIsWrittenWhenALaterPartIsRefused) {
    auto machine = make_machine();
    SegmentSpec beyond = kGood;
    beyond.physical_address = 0xf000000;
    const CpuFile before = machine->cpu();
    ASSERT_FALSE(boot_image(*machine, image_of(with_segments({kGood, beyond}))));
    EXPECT_EQ(machine->vmem().dirty_pages(), 0u);
    EXPECT_EQ(differences(before, machine->cpu(), Groups::All), "");
}

TEST(Elf, EveryTruncationIsRefusedOrLoads) {
    const Bytes whole = make_multiboot_elf();
    for (std::size_t size = 0; size < 0x2000; size += size < 200 ? 1 : 61) {
        const Bytes part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        EXPECT_NE(error_of(part), "") << size;  // the segment ends at 0x2000, so all of these are too short
    }
}

}  // namespace
}  // namespace dualvm::boot

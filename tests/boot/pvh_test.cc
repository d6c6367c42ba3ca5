#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "images.h"

namespace dualvm::boot {
namespace {

using ::testing::HasSubstr;

TEST(Pvh, TheNoteNamesTheEntry) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_pvh_elf()));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->protocol, Protocol::Pvh);
    EXPECT_EQ(report->entry, 0x100030u);
    EXPECT_EQ(machine->cpu().mode(), CpuMode::Protected32);
}

TEST(Pvh, A32BitElfFileWillDo) {
    Bytes image = make_elf32(
        0x100000, {{.offset = 0x1000, .physical_address = 0x100000, .file_size = 0x1000, .memory_size = 0x1000},
                   {.type = 4, .offset = 0x2000, .physical_address = 0, .file_size = 20, .memory_size = 20}});
    put(image, 0x2000, u32{4});
    put(image, 0x2004, u32{4});
    put(image, 0x2008, u32{18});
    put(image, 0x200c, 0x006e6558u);
    put(image, 0x2010, 0x100040u);
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(image));
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->entry, 0x100040u);
}

TEST(Pvh, StartInfoIsVersionOneWithCommandLineMapAndModules) {
    auto machine = make_machine();
    const Bytes kernel = make_pvh_elf(), module = {9, 8, 7};
    BootImage image = image_of(kernel, "a=b");
    image.modules = {{.text = "initrd x", .bytes = module}};
    ASSERT_TRUE(boot_image(*machine, image));
    const u64 info = machine->cpu().general.gpr[RBX];
    EXPECT_EQ(value_at<u32>(*machine, info), 0x336ec578u);
    EXPECT_EQ(value_at<u32>(*machine, info + 4), 1u);
    EXPECT_EQ(string_at(*machine, value_at<u64>(*machine, info + 24)), "a=b");

    ASSERT_EQ(value_at<u32>(*machine, info + 12), 1u);
    const auto entry = value_at<u64>(*machine, info + 16);
    EXPECT_EQ(value_at<u8>(*machine, value_at<u64>(*machine, entry)), 9);
    EXPECT_EQ(value_at<u64>(*machine, entry + 8), 3u);
    EXPECT_EQ(string_at(*machine, value_at<u64>(*machine, entry + 16)), "initrd x");

    EXPECT_EQ(value_at<u64>(*machine, info + 32), 0u) << "no ACPI tables";

    const auto map = memory_map(machine->vmem());
    ASSERT_EQ(value_at<u32>(*machine, info + 48), map.size());
    const auto table = value_at<u64>(*machine, info + 40);
    for (u64 i = 0; i < map.size(); ++i) {
        EXPECT_EQ(value_at<u64>(*machine, table + i * 24), map[i].base);
        EXPECT_EQ(value_at<u64>(*machine, table + i * 24 + 8), map[i].size);
        EXPECT_EQ(value_at<u32>(*machine, table + i * 24 + 16), static_cast<u32>(map[i].type));
    }
}

TEST(Pvh, StartInfoLeadsToTheAcpiTables) {
    auto machine = make_machine();
    machine->set_platform({});
    const Bytes kernel = make_pvh_elf();
    ASSERT_TRUE(boot_image(*machine, image_of(kernel, "")));
    const u64 root = value_at<u64>(*machine, machine->cpu().general.gpr[RBX] + 32);
    EXPECT_EQ(value_at<u64>(*machine, root), u64{0x2052545020445352});  // "RSD PTR "
}

TEST(Pvh, MultibootComesFirstAsInQemu) {
    Bytes image = make_pvh_elf();
    put_multiboot_header(image, 0x1000, 0);
    EXPECT_THAT(error_of(image), HasSubstr("Multiboot header but is a 64-bit ELF file"));
    EXPECT_EQ(error_of(image, 16, Protocol::Pvh), "");
}

TEST(Pvh, AnEntryOutsideOfTheImageIsRefused) {
    EXPECT_THAT(error_of(make_pvh_elf(0x103000)), HasSubstr("PVH entry point 0x103000 is outside"));
    Bytes wide = make_pvh_elf();
    put(wide, 0x2028, u32{1});  // upper half of the eight bytes
    EXPECT_THAT(error_of(wide), HasSubstr("does not hold a 32-bit address"));
}

TEST(Pvh, NotesThatRunPastTheirEndAreNotFollowed) {
    for (u64 field : {0x2000, 0x2004, 0x2014, 0x2018}) {  // name and contents sizes of both notes
        for (u32 size : {0xffffffffu, 0xfffffff0u, 0x80000000u, 1000u}) {
            Bytes image = make_pvh_elf();
            put(image, field, size);
            EXPECT_THAT(error_of(image), HasSubstr("without a PVH entry note"));
        }
    }
    Bytes empty_notes = make_pvh_elf();  // a loop over notes of size nothing must end
    for (u64 at = 0x2000; at < 0x202c; ++at) put(empty_notes, at, u8{0});
    EXPECT_THAT(error_of(empty_notes), HasSubstr("without a PVH entry note"));
}

// Segments may overlap, so what a file can make a loader walk is not bounded by its size.
TEST(Pvh, MoreNotesThanAnybodyNeedsAreNotFollowed) {
    constexpr u64 kNotes = 0x2000, kEmptyNote = 12, kNoteHeader = 64 + 56, kFileSize = 32, kMemorySize = 40;
    for (const auto& [empty, error] : {std::pair{60'000u, ""}, std::pair{70'000u, "without a PVH entry note"}}) {
        Bytes image = make_pvh_elf();
        const Bytes note(image.begin() + 0x2014, image.begin() + 0x202c);
        image.resize(kNotes);
        image.resize(kNotes + empty * kEmptyNote);
        image.insert(image.end(), note.begin(), note.end());
        for (u64 field : {kFileSize, kMemorySize}) put(image, kNoteHeader + field, u64{image.size() - kNotes});
        EXPECT_THAT(error_of(image), HasSubstr(error)) << empty;
    }
}

}  // namespace
}  // namespace dualvm::boot

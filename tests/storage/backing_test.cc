// Backing files, snapshots, locks, and what raw images may become.
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "storage_test.h"

namespace dualvm::storage {
namespace {

class Backing : public StorageTest {};
class Snapshots : public StorageTest {};
class Locks : public StorageTest {};
class Probing : public StorageTest {};
class Limits : public StorageTest {};

TEST_F(Backing, AChainOfEveryFormatIsReadThroughAndQemuAgrees) {
    NEEDS_QEMU_IMG();
    write_file("a.raw", pattern(1, 300 * kKiB));
    create("b.qcow", {.format = Format::Qcow, .size = 400 * kKiB, .backing_file = "a.raw"});
    create("c.qcow2",
           {.format = Format::Qcow2, .size = 700 * kKiB, .backing_file = "b.qcow", .backing_format = "qcow"});
    std::filesystem::create_directory(folder_ / "sub");
    create("sub/d.qcow2", {.format = Format::Qcow2,
                           .size = 600 * kKiB,
                           .cluster_size = 4096,
                           .backing_file = "../c.qcow2",
                           .backing_format = "qcow2"});
    std::vector<u8> model = pattern(1, 300 * kKiB);
    model.resize(700 * kKiB);
    const auto change = [&](const std::string& name, u64 at, u64 seed) {
        const auto image = open(name, true);
        ASSERT_TRUE(image);
        const auto bytes = pattern(seed, 5 * 512);
        expect_write(*image, at, bytes);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
    };
    change("b.qcow", 299 * kKiB, 2);
    change("c.qcow2", 100 * kKiB, 3);
    change("c.qcow2", 650 * kKiB, 4);
    change("sub/d.qcow2", 101 * kKiB, 5);
    change("sub/d.qcow2", 500 * kKiB, 6);
    const auto image = open("sub/d.qcow2", false);
    ASSERT_TRUE(image);
    model.resize(600 * kKiB);
    EXPECT_EQ(read(*image, 0, 600 * kKiB), model);
    write_file("model", model);
    expect_qemu_img("compare -q -F raw -f qcow2 sub/d.qcow2 model");
    EXPECT_EQ(read_file("a.raw"), pattern(1, 300 * kKiB));
}

TEST_F(Backing, IsNeverWrittenTo) {
    write_file("base", pattern(1, kMiB));
    create("top", {.format = Format::Qcow2, .size = kMiB, .backing_file = "base", .backing_format = "raw"});
    const auto image = open("top", true);
    ASSERT_TRUE(image);
    expect_write(*image, 0, pattern(2, kMiB));
    expect_flush(*image);
    EXPECT_EQ(read_file("base"), pattern(1, kMiB));
}

TEST_F(Backing, ALoopIsRefused) {
    create("a", {.format = Format::Qcow2, .size = kMiB, .backing_file = "b", .backing_format = "qcow"});
    create("b", {.format = Format::Qcow, .size = kMiB, .backing_file = "a"});
    create("self", {.format = Format::Qcow2, .size = kMiB, .backing_file = "self", .backing_format = "qcow2"});
    EXPECT_NE(why_not("a", {.format = Format::Qcow2}).find("its own backing file"), std::string::npos);
    EXPECT_NE(why_not("self").find("its own backing file"), std::string::npos);
}

TEST_F(Backing, OneThatIsNotThereOrNoFileIsNamed) {
    create("a", {.format = Format::Qcow2, .size = kMiB, .backing_file = "none", .backing_format = "raw"});
    create("b", {.format = Format::Qcow2, .size = kMiB, .backing_file = "nbd://x/y", .backing_format = "raw"});
    create("c", {.format = Format::Qcow2, .size = kMiB, .backing_file = "a", .backing_format = "vmdk"});
    EXPECT_NE(why_not("a").find("none"), std::string::npos);
    EXPECT_NE(why_not("b").find("files only"), std::string::npos);
    EXPECT_NE(why_not("c").find("vmdk"), std::string::npos);
    EXPECT_EQ(why_not("a", {.backing = false}), "");
}

TEST_F(Snapshots, KeepWhatTheyHaveWhenTheGuestWrites) {
    NEEDS_QEMU_IMG();
    for (const std::string options : {"cluster_size=512", "cluster_size=64k", "compat=0.10", "refcount_bits=2"}) {
        SCOPED_TRACE(options);
        expect_qemu_img("create -q -f qcow2 -o " + options + " image 2M");
        const auto before = pattern(1, kMiB);
        { expect_write(*open("image", true), 0, before); }
        expect_qemu_img("snapshot -c first image");
        {
            const auto image = open("image", true);
            ASSERT_TRUE(image);
            ASSERT_EQ(image->info().snapshots.size(), 1u);
            EXPECT_EQ(image->info().snapshots[0].name, "first");
            expect_write(*image, 100 * kKiB, pattern(2, 500 * kKiB));
            expect_write(*image, 1500 * kKiB, pattern(3, 4096));
        }
        expect_qemu_img("check -q image");
        auto file = HostFile::open(path("image"), {});
        ASSERT_TRUE(file);
        expect_sound(**file);
        file->reset();
        auto after = before;
        after.resize(2 * kMiB);
        const auto second = pattern(2, 500 * kKiB), third = pattern(3, 4096);
        std::copy(second.begin(), second.end(), after.begin() + 100 * kKiB);
        std::copy(third.begin(), third.end(), after.begin() + 1500 * kKiB);
        EXPECT_EQ(read(*open("image", false), 0, 2 * kMiB), after);
        expect_qemu_img("snapshot -a first image");
        EXPECT_EQ(read(*open("image", false), 0, kMiB), before);
    }
}

TEST_F(Locks, KeepASecondWriterAndReadersAway) {
    create("image", {.format = Format::Qcow2, .size = kMiB});
    const auto writer = open("image", true);
    EXPECT_NE(why_not("image", {.writable = true}).find("in use"), std::string::npos);
    EXPECT_NE(why_not("image").find("in use"), std::string::npos);
    EXPECT_EQ(why_not("image", {.locked = false}), "");
}

TEST_F(Locks, LetReadersShareAndKeepAWriterAway) {
    create("image", {.format = Format::Qcow2, .size = kMiB});
    {
        const auto first = open("image", false), second = open("image", false);
        EXPECT_NE(why_not("image", {.writable = true}).find("in use"), std::string::npos);
    }
    EXPECT_EQ(why_not("image", {.writable = true}), "");
}

TEST_F(Locks, ABackingFileIsKeptFromWriters) {
    create("base", {.format = Format::Raw, .size = kMiB});
    create("top", {.format = Format::Qcow2, .size = kMiB, .backing_file = "base", .backing_format = "raw"});
    const auto top = open("top", true);
    EXPECT_NE(why_not("base", {.writable = true}).find("in use"), std::string::npos);
}

TEST_F(Locks, AreQemusToo) {
    NEEDS_QEMU_IMG();
    create("image", {.format = Format::Qcow2, .size = kMiB});
    const auto writer = open("image", true);
    const Ran ran = qemu_img("check image");
    EXPECT_NE(ran.status, 0);
    EXPECT_NE(ran.output.find("lock"), std::string::npos) << ran.output;
}

TEST_F(Probing, AGuestCannotMakeItsRawDiskAnotherFormat) {
    create("disk", {.format = Format::Raw, .size = kMiB});
    MemoryFile header;
    ASSERT_TRUE(create_image(header, {.format = Format::Qcow2, .size = kMiB}));
    const std::vector<u8> sector(header.bytes().begin(), header.bytes().begin() + 512);
    {
        const auto guessed = open("disk", true);
        ASSERT_TRUE(guessed);
        EXPECT_FALSE(guessed->write(0, sector));
        EXPECT_TRUE(guessed->write(512, sector));
        EXPECT_TRUE(guessed->write(0, pattern(1, 512)));
    }
    const auto said = open("disk", true, Format::Raw);
    ASSERT_TRUE(said);
    EXPECT_TRUE(said->write(0, sector));
}

TEST_F(Probing, FormatsOfOthersAreNamedNotTakenForRaw) {
    std::vector<u8> bytes(kMiB);
    std::copy_n("KDMV", 4, bytes.begin());
    write_file("disk", bytes);
    EXPECT_NE(why_not("disk").find("VMDK"), std::string::npos);
    EXPECT_EQ(why_not("disk", {.format = Format::Raw}), "");
}

TEST_F(Probing, WhatIsNoFileIsRefused) {
    ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
    EXPECT_NE(why_not("pipe").find("neither a file nor a disk"), std::string::npos);
    EXPECT_NE(why_not(".").find("neither a file nor a disk"), std::string::npos);
    EXPECT_NE(why_not("none").find("No such file"), std::string::npos);
}

// The host's own limit, with real files.
TEST_F(Limits, AFileThatMayNotGrowIsAnErrorOfTheWrite) {
    create("image", {.format = Format::Qcow2, .size = 64 * kMiB});
    const auto old_handler = signal(SIGXFSZ, SIG_IGN);
    struct rlimit old {};
    getrlimit(RLIMIT_FSIZE, &old);
    struct rlimit limit = old;
    limit.rlim_cur = 2 * kMiB;
    setrlimit(RLIMIT_FSIZE, &limit);
    {
        const auto image = open("image", true);
        ASSERT_TRUE(image);
        bool refused = false;
        for (u64 at = 0; at < 4 * kMiB; at += 128 * kKiB) {
            const auto written = image->write(at, pattern(at, 128 * kKiB));
            refused |= !written;
            if (!written) {
                EXPECT_NE(written.error().text.find("may not grow"), std::string::npos) << written.error().text;
            }
        }
        EXPECT_TRUE(refused);
        EXPECT_EQ(read(*image, 0, 128 * kKiB), pattern(0, 128 * kKiB));
    }
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, old_handler);
    auto file = HostFile::open(path("image"), {});
    ASSERT_TRUE(file);
    expect_sound(**file);
}

TEST_F(Limits, OnlyWholeSectorsOfTheDiskAreReadAndWritten) {
    for (const Format format : {Format::Raw, Format::Qcow, Format::Qcow2}) {
        create("image", {.format = format, .size = kMiB});
        const auto image = open("image", true, format);
        ASSERT_TRUE(image);
        std::vector<u8> bytes(512);
        EXPECT_FALSE(image->read(100, bytes));
        EXPECT_FALSE(image->read(kMiB, bytes));
        EXPECT_FALSE(image->write(~u64{511}, bytes));
        EXPECT_FALSE(image->write(0, std::span(bytes).first(100)));
        EXPECT_TRUE(image->write(kMiB - 512, bytes));
        EXPECT_FALSE(open_image(path("image"), {.format = format, .locked = false}).value()->write(0, bytes));
    }
}

TEST_F(Limits, ARawFileThatEndsWithinASectorGoesOnWithZeros) {
    write_file("disk", pattern(1, 700));
    const auto image = open("disk", true);
    ASSERT_TRUE(image);
    EXPECT_EQ(image->size_in_sectors(), 2u);
    auto expected = pattern(1, 700);
    expected.resize(1024);
    EXPECT_EQ(read(*image, 0, 1024), expected);
    expect_write(*image, 512, pattern(2, 512));
    EXPECT_EQ(read(*image, 512, 512), pattern(2, 512));
}

}  // namespace
}  // namespace dualvm::storage

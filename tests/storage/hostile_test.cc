// Damaged and hostile images: an error that says so, status 4, and nothing else.
#include <functional>

#include "big_endian.h"
#include "storage_test.h"

namespace dualvm::storage {
namespace {

constexpr u64 kCluster = 4096;

// A sound image of 1 MiB with some data, in clusters of 4 KiB: header 0, refcount table 1, refcount block 2, L1 3, L2
// 4, data from 5 on (qcow: header and L1 in 0, L2 1, data from 2 on).
std::vector<u8> sound_image(Format format) {
    MemoryFile empty;
    CreateOptions options{.format = format, .size = 4 * kMiB};
    if (format == Format::Qcow2) options.cluster_size = kCluster;
    EXPECT_TRUE(create_image(empty, options));
    auto file = std::make_unique<MemoryFile>(empty.bytes());
    const MemoryFile& bytes = *file;
    const auto image = open_image_in(std::move(file), {.format = format, .writable = true});
    EXPECT_TRUE((*image)->write(0, pattern(1, 5 * kCluster)));
    EXPECT_TRUE((*image)->flush());
    return bytes.bytes();
}

using Damage = std::function<void(std::vector<u8>&)>;
struct Case {
    const char* name;
    Format format;
    Damage damage;
    const char* opening;             // what is said when it is opened for writing; null: it opens
    const char* checking = nullptr;  // what a check says; null: it is the same
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

Damage put64(u64 at, u64 value) {
    return [=](std::vector<u8>& bytes) { store_be64(&bytes[at], value); };
}
Damage put32(u64 at, u32 value) {
    return [=](std::vector<u8>& bytes) { store_be32(&bytes[at], value); };
}
Damage cut(u64 size) {
    return [=](std::vector<u8>& bytes) { bytes.resize(size); };
}

constexpr u64 kL1 = 3 * kCluster, kL2 = 4 * kCluster, kTable = kCluster, kBlock = 2 * kCluster;
constexpr u64 kCopied = u64{1} << 63;

std::vector<Case> cases() {
    const Format q1 = Format::Qcow, q2 = Format::Qcow2;
    return {
        {"qcow2_NewVersion", q2, put32(4, 9), "version 9"},
        {"qcow2_ClusterTooSmall", q2, put32(20, 8), "clusters of 2^8"},
        {"qcow2_ClusterTooLarge", q2, put32(20, 63), "clusters of 2^63"},
        {"qcow2_ClusterAbsurd", q2, put32(20, 0xffffffff), "clusters of 2^4294967295"},
        {"qcow2_Encrypted", q2, put32(32, 2), "encrypted"},
        {"qcow2_AbsurdSize", q2, put64(24, ~u64{0}), "too small for a disk"},
        {"qcow2_L1TooSmall", q2, put64(24, u64{1} << 40), "too small for a disk"},
        {"qcow2_L1Huge", q2, put32(36, 0xffffffff), "L1 table"},
        {"qcow2_L1BehindTheEnd", q2, put64(40, u64{1} << 40), "L1 table"},
        {"qcow2_L1Wraps", q2, put64(40, ~u64{kCluster - 1}), "L1 table"},
        {"qcow2_L1InACluster", q2, put64(40, kL1 + 8), "L1 table"},
        {"qcow2_RefcountTableBehindTheEnd", q2, put64(48, u64{1} << 50), "refcount table"},
        {"qcow2_RefcountTableHuge", q2, put32(56, 0xffffffff), "refcount table"},
        {"qcow2_NoRefcountTable", q2, put32(56, 0), "refcount table"},
        {"qcow2_SnapshotsHuge", q2, put32(60, 0xffffffff), "snapshots are too many"},
        {"qcow2_SnapshotsBehindTheEnd", q2,
         [](std::vector<u8>& b) {
             store_be32(&b[60], 1);
             store_be64(&b[64], u64{1} << 40);
         },
         "snapshot table"},
        {"qcow2_SnapshotTableHuge", q2,
         [](std::vector<u8>& b) {
             constexpr u64 kEntry = 40 + 2 * 0xffff + 2, kEntries = 600;  // rounded up to eight
             const u64 table = b.size();
             b.resize(table + kEntries * kEntry);
             store_be32(&b[60], kEntries);
             store_be64(&b[64], table);
             for (u64 at = table; at < b.size(); at += kEntry) store_be32(&b[at + 12], 0xffffffff);
         },
         "more than 64 MiB"},
        {"qcow2_DirtyAndUnknownBits", q2, put64(72, u64{1} << 40 | 1), "'feature 40'"},
        {"qcow2_ExternalData", q2, put64(72, 4), "'external data file'"},
        {"qcow2_ExtendedL2", q2, put64(72, 16), "'extended L2 entries'"},
        {"qcow2_Corrupt", q2, put64(72, 2), "marked as corrupt", "none"},
        {"qcow2_RefcountsTooWide", q2, put32(96, 7), "refcounts of 2^7 bits"},
        {"qcow2_HeaderTooLong", q2, put32(100, 0xfffffff8), "header cannot have"},
        {"qcow2_HeaderTooShort", q2, put32(100, 8), "header cannot have"},
        {"qcow2_ExtensionTooLong", q2, put32(112 + 4, 0xffffffff), "extension"},
        {"qcow2_BackingNameBehindTheCluster", q2,
         [](std::vector<u8>& b) {
             store_be64(&b[8], kCluster - 4);
             store_be32(&b[16], 100);
         },
         "backing file"},
        {"qcow2_CutInTheHeader", q2, cut(50), "header cannot have"},
        {"qcow2_CutInL1", q2, cut(kL1), "L1 table"},
        {"qcow2_CutInL2", q2, cut(kL2 + 8), "an L2 table", "not within the file"},
        {"qcow2_L2IsTheHeader", q2, put64(kL1, kCopied | 0 * kCluster | kTable), "overlap", "something else"},
        {"qcow2_L2IsL1", q2, put64(kL1, kCopied | kL1), "overlap", "something else"},
        {"qcow2_L2Twice", q2, put64(kL1 + 8, kCopied | kL2), "overlap", "two parts of the disk"},
        {"qcow2_L2BehindTheEnd", q2, put64(kL1, kCopied | u64{1} << 50), "not within the file"},
        {"qcow2_L2InACluster", q2, put64(kL1, kCopied | (kL2 + 512)), "not valid", "does not begin with a cluster"},
        {"qcow2_RefcountBlockIsTheTable", q2, put64(kTable, kTable), "overlap", "something else"},
        {"qcow2_RefcountBlockTwice", q2, put64(kTable + 8, kBlock), "overlap", "something else"},
        {"qcow2_RefcountBlockBehindTheEnd", q2, put64(kTable, u64{1} << 45), "refcount block", "not within the file"},
        {"qcow2_RefcountBlockInACluster", q2, put64(kTable, kBlock + 512), "refcount block", "does not begin"},
        {"qcow2_DataOverTheHeader", q2, put64(kL2, kCopied), nullptr, "none"},
        {"qcow2_DataOverL1", q2, put64(kL2, kCopied | kL1), nullptr, "where one of the image's tables is"},
        {"qcow2_DataTwice", q2, put64(kL2, kCopied | 6 * kCluster), nullptr, "referred to 2 times"},
        {"qcow2_DataBehindTheEnd", q2, put64(kL2, kCopied | u64{1} << 48), nullptr, "not within the file"},
        {"qcow2_DataInACluster", q2, put64(kL2, kCopied | (5 * kCluster + 512)), nullptr, "does not begin"},
        {"qcow2_ReservedBits", q2, put64(kL2, kCopied | u64{1} << 60 | 5 * kCluster), nullptr, "none"},
        {"qcow2_CompressedGarbage", q2, put64(kL2, u64{1} << 62 | 5 * kCluster), nullptr, "none"},
        {"qcow2_CompressedBehindTheEnd", q2, put64(kL2, u64{1} << 62 | u64{1} << 50), nullptr, "not within the file"},
        {"qcow2_AllFree", q2, [](std::vector<u8>& b) { std::fill_n(&b[kBlock], kCluster, u8{0}); }, nullptr,
         "its refcount is 0"},
        {"qcow2_AllInUse", q2, [](std::vector<u8>& b) { std::fill_n(&b[kBlock], kCluster, u8{0xff}); }, nullptr,
         "its refcount is 65535"},
        {"qcow_ClusterTooSmall", q1, [](std::vector<u8>& b) { b[32] = 3; }, "clusters of 2^3"},
        {"qcow_ClusterTooLarge", q1, [](std::vector<u8>& b) { b[32] = 200; }, "clusters of 2^200"},
        {"qcow_L2TooLarge", q1, [](std::vector<u8>& b) { b[33] = 63; }, "L2 tables of 2^63"},
        {"qcow_Encrypted", q1, put32(36, 1), "encrypted"},
        {"qcow_AbsurdSize", q1, put64(24, ~u64{0}), "too large"},
        {"qcow_L1BehindTheEnd", q1, put64(40, u64{1} << 50), "L1 table"},
        {"qcow_L1Wraps", q1, put64(40, ~u64{7}), "L1 table"},
        {"qcow_BackingNameTooLong", q1,
         [](std::vector<u8>& b) {
             store_be64(&b[8], 48);
             store_be32(&b[16], 0xffffffff);
         },
         "backing file"},
        {"qcow_Cut", q1, cut(kCluster), "an L2 table"},
        {"qcow_L2IsTheHeader", q1, put64(48, 512), nullptr, "something else"},
        {"qcow_L2Twice", q1, put64(56, kCluster), "overlap", "something else"},
        {"qcow_L2BehindTheEnd", q1, put64(48, u64{1} << 40), "not within the file", "behind the end"},
        {"qcow_DataOverL2", q1, put64(kCluster, kCluster), nullptr, "used for 2 things"},
        {"qcow_DataTwice", q1, put64(kCluster, 3 * kCluster), nullptr, "used for 2 things"},
        {"qcow_DataBehindTheEnd", q1, put64(kCluster, u64{1} << 61), nullptr, "behind the end"},
        {"qcow_CompressedGarbage", q1, put64(kCluster, kCopied | u64{0xfff} << 51 | 2 * kCluster), nullptr, "none"},
    };
}

class Hostile : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(All, Hostile, testing::ValuesIn(cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(Hostile, IsRefusedOrHarmless) {
    std::vector<u8> bytes = sound_image(GetParam().format);
    GetParam().damage(bytes);
    const auto image =
        open_image_in(std::make_unique<MemoryFile>(bytes, 64 * kMiB), {.format = GetParam().format, .writable = true});
    if (GetParam().opening != nullptr) {
        ASSERT_FALSE(image);
        EXPECT_EQ(image.error().status, ExitStatus::BadImage);
        EXPECT_NE(image.error().text.find(GetParam().opening), std::string::npos) << image.error().text;
        return;
    }
    ASSERT_TRUE(image) << image.error().text;
    // Some of it may be refused; all of it must come back.
    std::vector<u8> piece(8 * kCluster);
    for (const u64 at : {u64{0}, 4 * kMiB - piece.size()}) {
        static_cast<void>((*image)->read(at, piece));
        static_cast<void>((*image)->write(at, piece));
    }
    static_cast<void>((*image)->flush());
}

TEST_P(Hostile, IsFoundByACheck) {
    std::vector<u8> bytes = sound_image(GetParam().format);
    GetParam().damage(bytes);
    MemoryFile file(bytes, 64 * kMiB);
    const auto report = check_image(file, GetParam().format);
    const std::string words = GetParam().checking != nullptr ? GetParam().checking : GetParam().opening;
    if (words == "none") return;
    std::string said = report ? "" : report.error().text;
    if (report) {
        for (const std::string& message : report->messages) said += message + '\n';
    }
    EXPECT_NE(said.find(words), std::string::npos) << said;
}

TEST(Damaged, DataIsNeverWrittenOverTheTables) {
    std::vector<u8> bytes = sound_image(Format::Qcow2);
    store_be64(&bytes[kL2], kCopied | kL1);
    const auto image = open_image_in(std::make_unique<MemoryFile>(bytes), {.writable = true});
    ASSERT_TRUE(image);
    const auto written = (*image)->write(0, pattern(1, 512));
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().text.find("own tables"), std::string::npos) << written.error().text;
    EXPECT_TRUE((*image)->write(kCluster, pattern(1, 512)));
}

TEST(Damaged, TablesThatAreCalledFreeAreNotGivenAway) {
    std::vector<u8> bytes = sound_image(Format::Qcow2);
    std::fill_n(&bytes[kBlock], kCluster, u8{0});
    const auto image = open_image_in(std::make_unique<MemoryFile>(bytes), {.writable = true});
    ASSERT_TRUE(image);
    const auto written = (*image)->write(2 * kMiB, pattern(1, 512));
    ASSERT_FALSE(written);
    EXPECT_NE(written.error().text.find("is free"), std::string::npos) << written.error().text;
}

TEST(Repair, CorrectsRefcountsAndFlags) {
    for (const Damage& damage :
         {Damage(put64(kBlock + 8, 0)), Damage([](std::vector<u8>& b) { std::fill_n(&b[kBlock], kCluster, u8{0}); }),
          Damage([](std::vector<u8>& b) { std::fill_n(&b[kBlock], kCluster, u8{0x11}); }), Damage(put64(kTable, 0)),
          Damage(put64(kL2, 5 * kCluster)), Damage(put64(kL2, kCopied | 6 * kCluster))}) {
        std::vector<u8> bytes = sound_image(Format::Qcow2);
        damage(bytes);
        MemoryFile file(bytes);
        const auto found = check_image(file, Format::Qcow2, Repair::All);
        ASSERT_TRUE(found) << found.error().text;
        EXPECT_GT(found->corruptions + found->leaks, 0u);
        EXPECT_EQ(found->corruptions_repaired, found->corruptions);
        const auto again = check_image(file, Format::Qcow2);
        ASSERT_TRUE(again) << again.error().text;
        EXPECT_TRUE(again->messages.empty()) << again->messages.front();
    }
}

TEST(Repair, OfLeaksLeavesTheRest) {
    std::vector<u8> bytes = sound_image(Format::Qcow2);
    store_be16(&bytes[kBlock + 2 * 40], 1);  // cluster 40 is in use, for nothing
    MemoryFile file(bytes);
    const auto found = check_image(file, Format::Qcow2, Repair::Leaks);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->leaks, 1u);
    EXPECT_EQ(found->leaks_repaired, 1u);
    EXPECT_EQ(check_image(file, Format::Qcow2)->leaks, 0u);
}

TEST(Dirty, ImagesAreRepairedBeforeTheyAreWrittenTo) {
    std::vector<u8> bytes = sound_image(Format::Qcow2);
    store_be64(&bytes[72], 1);                     // dirty
    std::fill_n(&bytes[kBlock], kCluster, u8{0});  // its refcounts were never written
    auto file = std::make_unique<MemoryFile>(bytes);
    const MemoryFile& now = *file;
    const auto image = open_image_in(std::move(file), {.writable = true});
    ASSERT_TRUE(image) << image.error().text;
    EXPECT_FALSE((*image)->info().dirty);
    expect_write(**image, kMiB, pattern(4, kCluster));
    expect_flush(**image);
    EXPECT_EQ(read(**image, 0, 5 * kCluster), pattern(1, 5 * kCluster));
    MemoryFile after(now.bytes());
    expect_sound(after);
}

}  // namespace
}  // namespace dualvm::storage

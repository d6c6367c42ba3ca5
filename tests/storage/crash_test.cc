// The host goes down at any moment: the image is sound, and has what was flushed.
#include <cstring>

#include "breaking_file.h"
#include "storage_test.h"

namespace dualvm::storage {
namespace {

struct Kind {
    const char* name;
    CreateOptions options;
    bool compressed_first = false;  // the guest writes over compressed clusters
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

constexpr u64 kSize = 400 * kKiB;

class Crash : public StorageTest, public testing::WithParamInterface<Kind> {
protected:
    // An image as it is before the guest's first write, and what its disk has.
    void begin() {
        MemoryFile file;
        const auto created = create_image(file, GetParam().options);
        ASSERT_TRUE(created) << created.error().text;
        platter_ = std::make_shared<Platter>();
        platter_->bytes = file.bytes();
        model_.assign(kSize, 0);
        if (GetParam().compressed_first) {
            const auto image = open_it();
            const u64 cluster = image->info().cluster_size;
            for (u64 at = 0; at + cluster <= kSize / 2; at += cluster) {
                const auto bytes = soft_pattern(at + 1, cluster);
                ASSERT_TRUE(image->write_compressed(at, bytes));
                std::copy(bytes.begin(), bytes.end(), model_.begin() + static_cast<std::ptrdiff_t>(at));
            }
            expect_flush(*image);
        }
        platter_->durable = platter_->bytes;
        platter_->since.clear();
        flushed_ = model_;
        unflushed_.clear();
        start_ = *platter_;
        start_model_ = model_;
    }
    std::unique_ptr<Image> open_it() const {
        auto image = open_image_in(std::make_unique<BreakingFile>(platter_),
                                   {.format = GetParam().options.format, .writable = true});
        EXPECT_TRUE(image) << image.error().text;
        return image ? std::move(*image) : nullptr;
    }
    // What the guest does, until the file breaks. Always the same.
    void act() {
        const auto image = open_it();
        std::mt19937_64 random(11);
        for (int i = 0; i < 50; ++i) {
            const u64 sector = random() % (kSize / 512);
            const u64 length = std::min(random() % 24 + 1, kSize / 512 - sector) * 512;
            const auto bytes = pattern(random(), length);
            // Whether it comes back with an error or not, any of it may be on the disk from now on.
            unflushed_.push_back({sector * 512, bytes});
            if (!image->write(sector * 512, bytes)) return;
            if (i % 12 == 11) {
                if (!image->flush()) return;
                for (const auto& write : unflushed_) Platter::apply(flushed_, write);
                unflushed_.clear();
            }
        }
    }
    // Each sector is as it was flushed, or as one of the writes after that made it.
    void expect_nothing_lost(std::vector<u8> bytes) {
        MemoryFile file(std::move(bytes));
        const auto report = check_image(file, GetParam().options.format);
        ASSERT_TRUE(report) << report.error().text;
        ASSERT_EQ(report->corruptions, 0u) << report->messages.front();
        const auto image =
            open_image_in(std::make_unique<MemoryFile>(file.bytes()), {.format = GetParam().options.format});
        ASSERT_TRUE(image) << image.error().text;
        const auto found = read(**image, 0, kSize);
        for (u64 at = 0; at < kSize; at += 512) {
            bool known = std::memcmp(&found[at], &flushed_[at], 512) == 0;
            for (const auto& write : unflushed_) {
                if (known || at < write.offset || at >= write.offset + write.bytes.size()) continue;
                known = std::memcmp(&found[at], &write.bytes[at - write.offset], 512) == 0;
            }
            ASSERT_TRUE(known) << "sector " << at / 512;
        }
    }
    void restart() {
        *platter_ = start_;
        flushed_ = start_model_;
        unflushed_.clear();
    }

    std::shared_ptr<Platter> platter_;
    Platter start_;
    std::vector<u8> model_, flushed_, start_model_;
    std::vector<Platter::Write> unflushed_;
};

CreateOptions small(Format format, u64 cluster, unsigned refcount_bits = 16) {
    return {.format = format, .size = kSize, .cluster_size = cluster, .refcount_bits = refcount_bits};
}
INSTANTIATE_TEST_SUITE_P(All, Crash,
                         testing::Values(Kind{"qcow", small(Format::Qcow, 0)},
                                         Kind{"qcow_compressed", small(Format::Qcow, 0), true},
                                         Kind{"qcow2_512", small(Format::Qcow2, 512)},
                                         Kind{"qcow2_512_64bit", small(Format::Qcow2, 512, 64)},
                                         Kind{"qcow2_4k", small(Format::Qcow2, 4096)},
                                         Kind{"qcow2_4k_compressed", small(Format::Qcow2, 4096), true}),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(Crash, OfTheProgramAfterAnyWriteLosesAtMostWhatWasNotFlushed) {
    begin();
    act();
    const u64 writes = platter_->writes - start_.writes;
    ASSERT_GT(writes, 50u);
    for (u64 k = 0; k <= writes; k += 1 + k / 40) {
        SCOPED_TRACE("after write " + std::to_string(k));
        restart();
        platter_->writes_left = k;
        act();
        expect_nothing_lost(platter_->bytes);
        if (HasFatalFailure()) return;
    }
}

TEST_P(Crash, OfTheHostWhichWritesInAnyOrderLosesAtMostWhatWasNotFlushed) {
    begin();
    act();
    const u64 writes = platter_->writes - start_.writes;
    std::mt19937_64 random(3);
    for (u64 k = 0; k <= writes; k += 1 + k / 20) {
        restart();
        platter_->writes_left = k;
        act();
        for (int i = 0; i < 3; ++i) {
            SCOPED_TRACE("after write " + std::to_string(k));
            expect_nothing_lost(platter_->after_crash(random));
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(Crash, QemuFindsSoundWhatIsLeft) {
    NEEDS_QEMU_IMG();
    begin();
    act();
    const u64 writes = platter_->writes - start_.writes;
    std::mt19937_64 random(5);
    for (u64 k = writes / 8; k <= writes; k += writes / 8) {
        restart();
        platter_->writes_left = k;
        act();
        write_file("left", platter_->after_crash(random));
        const std::string format = name_of(GetParam().options.format);
        // qemu-img cannot check qcow: it must at least open it.
        const Ran ran = qemu_img((format == "qcow2" ? "check -f " : "info -f ") + format + " left");
        EXPECT_TRUE(ran.status == 0 || ran.status == 3) << ran.output;  // 3: leaks only
    }
}

TEST_P(Crash, AfterwardsTheGuestGoesOnAndTheLeaksCanBeRepaired) {
    begin();
    act();
    const u64 half = (platter_->writes - start_.writes) / 2;
    restart();
    platter_->writes_left = half;
    act();
    platter_->writes_left = std::numeric_limits<u64>::max();
    act();
    MemoryFile file(platter_->bytes);
    const auto report = check_image(file, GetParam().options.format, Repair::All);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->corruptions, 0u);
    const auto again = check_image(file, GetParam().options.format);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->leaks, 0u);
}

TEST(Flush, IsAnFsyncAndMakesEverythingLast) {
    for (const Format format : {Format::Raw, Format::Qcow, Format::Qcow2}) {
        MemoryFile empty;
        ASSERT_TRUE(create_image(empty, small(format, 0)));
        const auto platter = std::make_shared<Platter>();
        platter->bytes = empty.bytes();
        const auto image = open_image_in(std::make_unique<BreakingFile>(platter), {.format = format, .writable = true});
        ASSERT_TRUE(image);
        expect_write(**image, 4096, pattern(1, 8192));
        expect_flush(**image);
        EXPECT_GE(platter->syncs, 1u);
        EXPECT_TRUE(platter->since.empty());
        const u64 syncs = platter->syncs;
        expect_flush(**image);
        EXPECT_EQ(platter->syncs, syncs) << "nothing was written: nothing is to be waited for";
        const auto later = open_image_in(std::make_unique<MemoryFile>(platter->durable), {.format = format});
        ASSERT_TRUE(later);
        EXPECT_EQ(read(**later, 4096, 8192), pattern(1, 8192));
    }
}

TEST(DiskFull, IsAnErrorOfTheWriteAndTheImageStaysSound) {
    for (const auto& [format, cluster] : {std::pair{Format::Raw, u64{0}},
                                          {Format::Qcow, u64{0}},
                                          {Format::Qcow2, u64{512}},
                                          {Format::Qcow2, u64{65536}}}) {
        SCOPED_TRACE(std::string(name_of(format)) + " " + std::to_string(cluster));
        MemoryFile empty;
        CreateOptions options = small(format, cluster);
        options.size = 8 * kMiB;
        ASSERT_TRUE(create_image(empty, options));
        const auto platter = std::make_shared<Platter>();
        platter->bytes = empty.bytes();
        platter->largest = 700 * kKiB + 100;
        u64 refused = 0;
        std::vector<u64> accepted;
        {
            const auto image =
                open_image_in(std::make_unique<BreakingFile>(platter), {.format = format, .writable = true});
            ASSERT_TRUE(image) << image.error().text;
            for (u64 at = 0; at < 4 * kMiB; at += 64 * kKiB) {
                if ((*image)->write(at, pattern(at, 64 * kKiB))) {
                    accepted.push_back(at);
                } else {
                    ++refused;
                }
            }
            EXPECT_GT(refused, 30u);
            EXPECT_GE(accepted.size(), 4u);
            platter->largest += 64 * kMiB;  // somebody made space
            expect_flush(**image);
            for (const u64 at : accepted) EXPECT_EQ(read(**image, at, 64 * kKiB), pattern(at, 64 * kKiB));
            expect_write(**image, 5 * kMiB, pattern(9, 64 * kKiB));
        }
        MemoryFile file(platter->bytes);
        expect_sound(file, format);
        const auto again = open_image_in(std::make_unique<MemoryFile>(platter->bytes), {.format = format});
        ASSERT_TRUE(again);
        for (const u64 at : accepted) EXPECT_EQ(read(**again, at, 64 * kKiB), pattern(at, 64 * kKiB));
        EXPECT_EQ(read(**again, 5 * kMiB, 64 * kKiB), pattern(9, 64 * kKiB));
    }
}

TEST(DiskFull, AlsoWhenNobodyMakesSpace) {
    for (const u64 cluster : {u64{512}, u64{4096}, u64{65536}}) {
        for (u64 largest = 300 * kKiB; largest < 340 * kKiB; largest += 1300) {
            SCOPED_TRACE(largest);
            MemoryFile empty;
            CreateOptions options = small(Format::Qcow2, cluster);
            ASSERT_TRUE(create_image(empty, options));
            const auto platter = std::make_shared<Platter>();
            platter->bytes = empty.bytes();
            platter->largest = largest;
            {
                const auto image = open_image_in(std::make_unique<BreakingFile>(platter), {.writable = true});
                ASSERT_TRUE(image) << image.error().text;
                bool refused = false;
                for (u64 at = 0; at < kSize; at += 4096) {
                    refused |= !(*image)->write(at, pattern(at, 4096));
                    if (at % 65536 == 0) static_cast<void>((*image)->flush());
                }
                EXPECT_TRUE(refused);
            }
            MemoryFile file(platter->bytes);
            expect_sound(file);
        }
    }
}

}  // namespace
}  // namespace dualvm::storage

// Every format and variant: what we write, qemu-img finds sound and equal; what qemu-img writes, we read the same.
#include <random>

#include "dualvm/storage/copy.h"
#include "storage_test.h"

namespace dualvm::storage {
namespace {

struct Variant {
    const char* name;
    CreateOptions options;
    const char* qemu;  // the same for qemu-img create
};

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

constexpr u64 kSize = 8 * kMiB + 512;  // not whole clusters

CreateOptions qcow2(u64 cluster, unsigned refcount_bits = 16, unsigned version = 3) {
    return {.format = Format::Qcow2,
            .size = kSize,
            .cluster_size = cluster,
            .version = version,
            .refcount_bits = refcount_bits};
}

std::vector<Variant> variants() {
    CreateOptions zstd = qcow2(0);
    zstd.compression = Compression::Zstd;
    CreateOptions lazy = qcow2(0);
    lazy.lazy_refcounts = true;
    return {{"raw", {.format = Format::Raw, .size = kSize}, "-f raw"},
            {"qcow", {.format = Format::Qcow, .size = kSize}, "-f qcow"},
            {"qcow2", qcow2(0), "-f qcow2"},
            {"qcow2_version2", qcow2(0, 16, 2), "-f qcow2 -o compat=0.10"},
            {"qcow2_512", qcow2(512), "-f qcow2 -o cluster_size=512"},
            {"qcow2_512_1bit", qcow2(512, 1), "-f qcow2 -o cluster_size=512,refcount_bits=1"},
            {"qcow2_4k_64bit", qcow2(4096, 64), "-f qcow2 -o cluster_size=4096,refcount_bits=64"},
            {"qcow2_512_64bit", qcow2(512, 64), "-f qcow2 -o cluster_size=512,refcount_bits=64"},
            {"qcow2_2m", qcow2(2 * kMiB), "-f qcow2 -o cluster_size=2M"},
            {"qcow2_2bit", qcow2(0, 2), "-f qcow2 -o refcount_bits=2"},
            {"qcow2_4bit", qcow2(1024, 4), "-f qcow2 -o cluster_size=1024,refcount_bits=4"},
            {"qcow2_8bit", qcow2(1024, 8), "-f qcow2 -o cluster_size=1024,refcount_bits=8"},
            {"qcow2_32bit", qcow2(1024, 32), "-f qcow2 -o cluster_size=1024,refcount_bits=32"},
            {"qcow2_zstd", zstd, "-f qcow2 -o compression_type=zstd"},
            {"qcow2_lazy", lazy, "-f qcow2 -o lazy_refcounts=on"}};
}

std::vector<Variant> those_that_compress() {
    std::vector<Variant> some = variants();
    std::erase_if(some, [](const Variant& variant) { return variant.options.format == Format::Raw; });
    return some;
}

class Formats : public StorageTest, public testing::WithParamInterface<Variant> {
protected:
    std::string format() const { return name_of(GetParam().options.format); }
    void expect_check(const std::string& name) const {
        if (GetParam().options.format == Format::Qcow2) expect_qemu_img("check -q -f qcow2 " + name);
        auto file = HostFile::open(path(name), {});
        ASSERT_TRUE(file) << file.error().text;
        const auto report = check_image(**file, GetParam().options.format);
        ASSERT_TRUE(report) << report.error().text;
        EXPECT_TRUE(report->messages.empty()) << report->messages.front();
    }
    // A disk with data at its beginning, its end, in between, and nothing elsewhere, as a raw file.
    std::vector<u8> disk(bool soft) const {
        std::vector<u8> bytes(kSize);
        for (const auto& [at, length] :
             {std::pair<u64, u64>{0, 70000}, {3 * kMiB - 512, 2 * kMiB}, {kSize - 1536, 1536}}) {
            const auto part = soft ? soft_pattern(at + 1, length) : pattern(at + 1, length);
            std::copy(part.begin(), part.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
        }
        return bytes;
    }
};

INSTANTIATE_TEST_SUITE_P(All, Formats, testing::ValuesIn(variants()),
                         [](const auto& instance) { return std::string(instance.param.name); });

class CompressedFormats : public Formats {};
INSTANTIATE_TEST_SUITE_P(All, CompressedFormats, testing::ValuesIn(those_that_compress()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST_P(Formats, AnEmptyImageIsSoundAndAllZeros) {
    NEEDS_QEMU_IMG();
    create("image", GetParam().options);
    expect_check("image");
    expect_qemu_img("create -q -f raw zeros " + std::to_string(kSize));
    expect_qemu_img("compare -q -F raw -f " + format() + " image zeros");
    const auto image = open("image", false, GetParam().options.format);
    ASSERT_TRUE(image);
    EXPECT_EQ(image->size_in_sectors(), kSize / 512);
    EXPECT_EQ(read(*image, kSize - 4096, 4096), std::vector<u8>(4096));
}

TEST_P(Formats, WhatGuestsWriteIsEqualForQemu) {
    NEEDS_QEMU_IMG();
    create("image", GetParam().options);
    std::vector<u8> model(kSize);
    std::mt19937_64 random(7);
    for (int round = 0; round < 4; ++round) {
        const auto image = open("image", true, GetParam().options.format);
        ASSERT_TRUE(image);
        for (int i = 0; i < 60; ++i) {
            const u64 sector = random() % (kSize / 512);
            const u64 length = std::min(random() % 200 + 1, kSize / 512 - sector) * 512;
            const auto bytes = pattern(random(), length);
            expect_write(*image, sector * 512, bytes);
            std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(sector * 512));
            const u64 other = random() % (kSize / 512 - 300);
            const std::vector<u8> expected(model.begin() + static_cast<std::ptrdiff_t>(other * 512),
                                           model.begin() + static_cast<std::ptrdiff_t>((other + 300) * 512));
            ASSERT_EQ(read(*image, other * 512, 300 * 512), expected) << "at sector " << other;
            if (i % 20 == 19) expect_flush(*image);
        }
    }
    write_file("model", model);
    expect_check("image");
    expect_qemu_img("compare -q -F raw -f " + format() + " image model");
}

TEST_P(Formats, WhatQemuMakesIsReadTheSame) {
    NEEDS_QEMU_IMG();
    write_file("model", disk(false));
    const std::string qemu = GetParam().qemu;
    expect_qemu_img("convert -f raw -O " + qemu.substr(3) + " model image");
    const auto image = open("image", false, GetParam().options.format);
    ASSERT_TRUE(image);
    EXPECT_EQ(read(*image, 0, kSize), disk(false));
    expect_check("image");
}

TEST_P(CompressedFormats, QemusCompressedClustersAreReadAndCanBeWrittenOver) {
    NEEDS_QEMU_IMG();
    write_file("model", disk(true));
    // (For qcow, qemu-img 7.2 ends with a status of 1 without a word after it made the image.)
    qemu_img("convert -c -f raw -O " + std::string(GetParam().qemu).substr(3) + " model image");
    expect_qemu_img("compare -q -F raw -f " + format() + " image model");
    std::vector<u8> model = disk(true);
    {
        const auto image = open("image", true, GetParam().options.format);
        ASSERT_TRUE(image);
        ASSERT_EQ(read(*image, 0, kSize), model);
        const auto bytes = pattern(5, 1024);
        for (const u64 at : {u64{512}, 3 * kMiB, kSize - 1024}) {
            expect_write(*image, at, bytes);
            std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(at));
        }
        EXPECT_EQ(read(*image, 0, kSize), model);
    }
    write_file("model", model);
    expect_check("image");
    expect_qemu_img("compare -q -F raw -f " + format() + " image model");
}

TEST_P(Formats, CopiesAreEqualForQemuCompressedOrNot) {
    NEEDS_QEMU_IMG();
    write_file("model", disk(true));
    for (const bool compressed : {false, true}) {
        create("image", GetParam().options);
        {
            const auto from = open("model", false, Format::Raw);
            const auto to = open("image", true, GetParam().options.format);
            ASSERT_TRUE(from && to);
            const auto copied = copy_disk(*from, *to, compressed, [](u64) { return true; });
            ASSERT_TRUE(copied) << copied.error().text;
        }
        expect_check("image");
        expect_qemu_img("compare -q -F raw -f " + format() + " image model");
        if (compressed && GetParam().options.format != Format::Raw) {
            const u64 tables = 8 * default_cluster_size(GetParam().options);
            EXPECT_LT(std::filesystem::file_size(path("image")), 5 * kMiB / 2 + tables);
        }
    }
}

}  // namespace
}  // namespace dualvm::storage

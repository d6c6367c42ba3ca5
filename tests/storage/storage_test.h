// What the tests of disk images share: a folder, Debian's qemu-img as the referee, patterns to write.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "dualvm/storage/check.h"
#include "dualvm/storage/image.h"

namespace dualvm::storage {

constexpr u64 kKiB = 1024;
constexpr u64 kMiB = 1024 * kKiB;

// What a command printed, on both streams, and its status.
struct Ran {
    int status = -1;
    std::string output;
};

inline Ran run(const std::string& command) {
    Ran ran;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return ran;
    std::array<char, 4096> piece{};
    while (const std::size_t n = std::fread(piece.data(), 1, piece.size(), pipe)) ran.output.append(piece.data(), n);
    const int status = pclose(pipe);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
}

inline bool have_qemu_img() {
    static const bool have = run("qemu-img --version").status == 0;
    return have;
}

#define NEEDS_QEMU_IMG() \
    if (!have_qemu_img()) GTEST_SKIP() << "no qemu-img (Debian package qemu-utils)"

// Bytes that tell where they belong.
inline std::vector<u8> pattern(u64 seed, std::size_t length) {
    std::vector<u8> bytes(length);
    u64 state = seed * 0x9e3779b97f4a7c15 + 1;
    for (u8& byte : bytes) {
        state = state * 6364136223846793005 + 1442695040888963407;
        byte = static_cast<u8>(state >> 56);
    }
    return bytes;
}
// The same, but such that it can be compressed.
inline std::vector<u8> soft_pattern(u64 seed, std::size_t length) {
    std::vector<u8> bytes = pattern(seed, length);
    for (std::size_t i = 0; i < length; ++i) {
        if (i % 8 != 0) bytes[i] = static_cast<u8>(seed);
    }
    return bytes;
}

class StorageTest : public testing::Test {
protected:
    StorageTest() {
        // In memory where the host has such a folder: much is flushed here, and nothing needs to last.
        const std::filesystem::path shm = "/dev/shm";
        const auto parent = access(shm.c_str(), W_OK) == 0 ? shm : std::filesystem::temp_directory_path();
        std::string name = (parent / "dualvm-storage-XXXXXX").string();
        folder_ = mkdtemp(name.data());
    }
    ~StorageTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    std::string path(const std::string& name) const { return (folder_ / name).string(); }

    void write_file(const std::string& name, const std::vector<u8>& bytes) const {
        std::ofstream(path(name), std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    std::vector<u8> read_file(const std::string& name) const {
        std::ifstream in(path(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    void create(const std::string& name, const CreateOptions& options) const {
        std::ofstream(path(name), std::ios::binary).close();
        auto file = HostFile::open(path(name), {.writable = true});
        ASSERT_TRUE(file) << file.error().text;
        const auto created = create_image(**file, options);
        ASSERT_TRUE(created) << created.error().text;
    }
    std::unique_ptr<Image> open(const std::string& name, bool writable, std::optional<Format> format = {}) const {
        auto image = open_image(path(name), {.format = format, .writable = writable});
        EXPECT_TRUE(image) << image.error().text;
        return image ? std::move(*image) : nullptr;
    }
    // The error's text, empty if it could be opened.
    std::string why_not(const std::string& name, OpenOptions options = {}) const {
        const auto image = open_image(path(name), options);
        if (image) return "";
        EXPECT_EQ(image.error().status, ExitStatus::BadImage);
        return image.error().text;
    }
    Ran qemu_img(const std::string& arguments) const {
        return run("cd " + folder_.string() + " && qemu-img " + arguments);
    }
    void expect_qemu_img(const std::string& arguments) const {
        const Ran ran = qemu_img(arguments);
        EXPECT_EQ(ran.status, 0) << "qemu-img " << arguments << "\n" << ran.output;
    }

    std::filesystem::path folder_;
};

inline void expect_write(Image& image, u64 offset, const std::vector<u8>& bytes) {
    const auto written = image.write(offset, bytes);
    ASSERT_TRUE(written) << written.error().text;
}
inline void expect_flush(Image& image) {
    const auto flushed = image.flush();
    ASSERT_TRUE(flushed) << flushed.error().text;
}
inline std::vector<u8> read(Image& image, u64 offset, std::size_t length) {
    std::vector<u8> bytes(length, 0xcc);
    const auto done = image.read(offset, bytes);
    EXPECT_TRUE(done) << done.error().text;
    return bytes;
}
inline void expect_sound(File& file, std::optional<Format> format = {}) {
    const auto report = check_image(file, format);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->corruptions, 0u) << report->messages.front();
}

}  // namespace dualvm::storage

// The small archive type that devices save themselves to and load themselves from.
//
// A flat little-endian byte string. A reader never trusts it: past the end or with a wrong tag it turns bad and
// returns zeros, and the caller checks ok() once at the end.
#pragma once

#include <array>
#include <concepts>
#include <cstring>
#include <vector>

#include "dualvm/types.h"

namespace dualvm {

class ArchiveWriter {
public:
    template <std::integral T>
    void put(T value) {
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bytes_.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
    }
    void put_bytes(const void* data, std::size_t size) {
        const auto* p = static_cast<const u8*>(data);
        bytes_.insert(bytes_.end(), p, p + size);
    }
    // Starts a device's part: a four-character tag and a version, checked again by ArchiveReader::expect.
    void tag(std::string_view four_characters, u16 version) {
        put_bytes(four_characters.data(), 4);
        put(version);
    }
    const std::vector<u8>& bytes() const { return bytes_; }

private:
    std::vector<u8> bytes_;
};

class ArchiveReader {
public:
    ArchiveReader(const u8* data, std::size_t size) : data_(data), size_(size) {}

    template <std::integral T>
    T get() {
        u64 value = 0;
        if (size_ - at_ < sizeof(T)) {
            ok_ = false;
            at_ = size_;
            return 0;
        }
        for (std::size_t i = 0; i < sizeof(T); ++i) value |= static_cast<u64>(data_[at_ + i]) << (8 * i);
        at_ += sizeof(T);
        return static_cast<T>(value);
    }
    template <std::integral T>
    void get(T& into) {
        into = get<T>();
    }
    void get_bytes(void* into, std::size_t size) {
        if (size == 0) return;  // an empty buffer may have no address
        if (size_ - at_ < size) {
            ok_ = false;
            at_ = size_;
            std::memset(into, 0, size);
            return;
        }
        std::memcpy(into, data_ + at_, size);
        at_ += size;
    }
    // Reads a tag; the archive turns bad if it is another, or of another version.
    bool expect(std::string_view four_characters, u16 version) {
        std::array<char, 4> found{};
        get_bytes(found.data(), 4);
        if (std::memcmp(found.data(), four_characters.data(), 4) != 0 || get<u16>() != version) ok_ = false;
        return ok_;
    }
    void set_bad() { ok_ = false; }
    bool ok() const { return ok_; }
    bool at_end() const { return at_ == size_; }

private:
    const u8* data_;
    std::size_t size_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

}  // namespace dualvm

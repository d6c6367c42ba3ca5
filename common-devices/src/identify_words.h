// The words of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::devices {

class IdentifyWords {
public:
    u16& operator[](std::size_t index) { return words_[index]; }
    void dword(std::size_t index, u32 value) {
        words_[index] = static_cast<u16>(value);
        words_[index + 1] = static_cast<u16>(value >> 16);
    }
    // Padded with blanks; the first character of each pair is in the word's upper byte.
    void text(std::size_t index, std::size_t count, std::string_view text) {
        const auto character = [text](std::size_t i) -> u8 { return i < text.size() ? static_cast<u8>(text[i]) : ' '; };
        for (std::size_t i = 0; i < count; ++i) {
            words_[index + i] = static_cast<u16>(character(2 * i) << 8 | character(2 * i + 1));
        }
    }
    std::vector<u8> bytes() const {
        std::vector<u8> all;
        for (u16 word : words_) {
            all.push_back(static_cast<u8>(word));
            all.push_back(static_cast<u8>(word >> 8));
        }
        return all;
    }

private:
    std::array<u16, 256> words_{};
};

// Words 63 and 88: modes that are there, and above them the one that SET FEATURES has chosen, if of `kind`.
inline u16 dma_modes(u8 chosen, u8 kind, u16 supported) {
    const bool this_kind = (chosen & 0xf8) == kind;
    return static_cast<u16>(supported | (this_kind ? 0x100 << (chosen & 7) : 0));
}

}  // namespace dualvm::devices

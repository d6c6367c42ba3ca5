// Fixed-width integer names used everywhere, and the error type of host failures.
#pragma once

#include <tl/expected.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace dualvm {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

// Guest-physical page size (and the granule of dirty accounting).
inline constexpr u64 kPageSize = 4096;
inline constexpr u64 kPageMask = kPageSize - 1;

// The process exit status of dualvm: dualvm's own are even, a guest's debug-exit value v gives (v << 1) | 1.
enum class ExitStatus : int {
    Clean = 0,              // the guest halted or powered off
    Usage = 2,              // unknown flag, bad value
    BadImage = 4,           // bad image or configuration
    EngineUnavailable = 6,  // e.g. --engine=kvm without a usable /dev/kvm
    TripleFault = 8,
    EngineFailure = 10,  // the engine could not execute an instruction
    Limit = 12,          // --max-insns, --timeout, Ctrl-C
    Disagreement = 14,   // the engines disagreed
};

// A host failure: what was tried, what happened, what to do; and the status to end with.
struct Error {
    ExitStatus status = ExitStatus::BadImage;
    std::string text;
};

template <class T>
using Expected = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ExitStatus status, std::string text) {
    return tl::unexpected<Error>(Error{status, std::move(text)});
}

}  // namespace dualvm

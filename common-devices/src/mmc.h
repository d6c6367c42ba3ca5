// Numbers of the multimedia command set (MMC-3, SPC-3).
#pragma once

#include "dualvm/types.h"

namespace dualvm::devices {

namespace mmc {
enum : u8 {
    kTestUnitReady = 0x00,
    kRequestSense = 0x03,
    kInquiry = 0x12,
    kModeSense6 = 0x1a,
    kStartStopUnit = 0x1b,
    kPreventAllow = 0x1e,
    kReadCapacity = 0x25,
    kRead10 = 0x28,
    kSeek10 = 0x2b,
    kReadToc = 0x43,
    kGetConfiguration = 0x46,
    kGetEventStatus = 0x4a,
    kReadDiscInformation = 0x51,
    kReadTrackInformation = 0x52,
    kModeSense10 = 0x5a,
    kRead12 = 0xa8,
    kSetCdSpeed = 0xbb,
    kMechanismStatus = 0xbd,
    kReadCd = 0xbe
};
}  // namespace mmc

// Sense key, additional sense code, qualifier; for the drive's own type.
namespace sense {
template <class S>
inline constexpr S kNoDisc{0x02, 0x3a, 0x00};
template <class S>
inline constexpr S kReadError{0x03, 0x11, 0x00};
template <class S>
inline constexpr S kInvalidCommand{0x05, 0x20, 0x00};
template <class S>
inline constexpr S kBlockOutOfRange{0x05, 0x21, 0x00};
template <class S>
inline constexpr S kInvalidField{0x05, 0x24, 0x00};
template <class S>
inline constexpr S kRemovalPrevented{0x05, 0x53, 0x02};
template <class S>
inline constexpr S kDiscChanged{0x06, 0x28, 0x00};
template <class S>
inline constexpr S kPowerOn{0x06, 0x29, 0x00};
}  // namespace sense

}  // namespace dualvm::devices

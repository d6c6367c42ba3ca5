// Command codes and status bits of the 82077AA ("Command set", "Status register encoding").
#pragma once

#include "dualvm/types.h"

namespace dualvm::devices::floppy {

enum : u8 {
    kReadTrack = 0x02,
    kSpecify = 0x03,
    kSenseDrive = 0x04,
    kWrite = 0x05,
    kRead = 0x06,
    kRecalibrate = 0x07,
    kSenseInterrupt = 0x08,
    kWriteDeleted = 0x09,
    kReadId = 0x0a,
    kReadDeleted = 0x0c,
    kFormat = 0x0d,
    kDumpRegisters = 0x0e,
    kSeek = 0x0f,
    kVersion = 0x10,
    kPerpendicular = 0x12,
    kConfigure = 0x13,
    kLock = 0x14,
    kVerify = 0x16
};
inline constexpr u8 kEnhanced = 0x90;  // VERSION: an 82077

// Digital output register.
enum : u8 { kNotReset = 4, kInterruptGate = 8 };

// ST0, ST1, ST2.
enum : u8 { kAbnormal = 0x40, kInvalid = 0x80, kPolled = 0xc0, kSeekEnd = 0x20, kEquipmentCheck = 0x10 };
enum : u8 {
    kEndOfCylinder = 0x80,
    kDataError = 0x20,
    kOverrun = 0x10,
    kNoData = 0x04,
    kNotWritable = 0x02,
    kMissingAddress = 0x01
};
enum : u8 { kWrongCylinder = 0x10 };

}  // namespace dualvm::devices::floppy

#include "dualvm/devices/i440fx.h"

#include <algorithm>

namespace dualvm::devices {

namespace {

// Subsystem numbers as QEMU's machine has them: by them SeaBIOS knows that it may look for fw_cfg.
constexpr PciIdentity kIdentity = {.vendor = 0x8086,
                                   .device = 0x1237,
                                   .class_code = 0x060000,
                                   .revision = 2,
                                   .subsystem_vendor = 0x1af4,
                                   .subsystem = 0x1100};

// PAM0 has F0000h-FFFFFh in its upper half; PAM1 to PAM6 have 16 KiB in each half from C0000h on ("PAM[6:0]").
enum : u8 { kPam0 = 0x59, kPam1 = 0x5a, kPamEnd = 0x60 };
constexpr unsigned kReadRam = 1, kWriteRam = 2;

VMem::Shadow shadow_of(unsigned attribute) {
    return {.read_ram = (attribute & kReadRam) != 0, .write_ram = (attribute & kWriteRam) != 0};
}

}  // namespace

I440Fx::I440Fx(VMem& vmem, AfterReset after_reset) : PciFunction(kIdentity), vmem_(vmem) {
    define(pci::kCommand, 2, 0x0006, 0x0100);
    define(pci::kStatus, 2, 0x0280, 0xf900, 0xf900);
    // Memory timing and error reporting, which the guest may set and read back.
    define(0x50, 2, 0, 0xffff);      // PMCCFG
    define(0x52, 1, 0, 0xff);        // DETURBO
    define(0x53, 1, 0x80, 0xff);     // DBC
    define(0x54, 1, 0, 0xff);        // AXC
    define(0x55, 2, 0, 0xffff);      // DRT
    define(0x57, 1, 0x01, 0xff);     // DRAMC
    define(0x58, 1, 0, 0xff);        // DRAMT
    define(0x60, 4, 0, 0xffffffff);  // DRB0-3
    define(0x64, 4, 0, 0xffffffff);  // DRB4-7
    define(0x68, 1, 0, 0xff);        // FDHC
    define(0x70, 1, 0, 0xff);        // MTT
    define(0x71, 1, 0x10, 0xff);     // CLT
    define(0x72, 1, 0x02, 0x7f);     // SMRAM
    define(0x90, 1, 0, 0xff);        // ERRCMD
    define(0x91, 1, 0, 0x11, 0x11);  // ERRSTS
    define(0x93, 1, 0, 0);           // TRC: resets go by port CF9h
    const bool ram = after_reset == AfterReset::Ram;
    define(kPam0, 1, ram ? 0x30 : 0, 0x30);
    for (u8 reg = kPam1; reg < kPamEnd; ++reg) define(reg, 1, ram ? 0x33 : 0, 0x33);
    config_changed(0, 256);
}

void I440Fx::config_changed(unsigned at, unsigned size) {
    constexpr u64 kLast = 0xf0000, kHalf = VMem::kShadowGranule;
    for (unsigned reg = std::max<unsigned>(at, kPam0); reg < std::min<unsigned>(at + size, kPamEnd); ++reg) {
        const unsigned value = read_config(static_cast<u8>(reg), 1);
        if (reg == kPam0) {
            vmem_.set_shadow(kLast, VMem::kShadowEnd - kLast, shadow_of(value >> 4));
        } else {
            const u64 base = VMem::kShadowBase + 2 * kHalf * (reg - kPam1);
            vmem_.set_shadow(base, kHalf, shadow_of(value));
            vmem_.set_shadow(base + kHalf, kHalf, shadow_of(value >> 4));
        }
    }
}

void I440Fx::write(u64 offset, unsigned size, u64 value) {
    for (unsigned i = 0; i < size; ++i) {
        const u8 byte = static_cast<u8>(value >> (8 * i));
        vmem_.write_shadowed(kBase + offset + i, &byte, 1);
    }
}

}  // namespace dualvm::devices

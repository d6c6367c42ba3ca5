// Debian's SeaBIOS boots a floppy image that is given to it as a file, so that no disk controller is needed.
#include <gtest/gtest.h>
#include <unistd.h>

#include "dualvm/boot/firmware.h"
#include "dualvm/devices/pc.h"
#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/run_loop.h"

namespace dualvm {
namespace {

constexpr std::size_t kFloppySize = 1440 * 1024;

// Has the BIOS read the second sector, sends its first letter to COM1, and ends with 7.
std::vector<u8> floppy() {
    std::vector<u8> image = {
        0x31, 0xc0,        // xor ax, ax
        0x8e, 0xd8,        // mov ds, ax
        0x8e, 0xc0,        // mov es, ax
        0xb8, 0x01, 0x02,  // mov ax, 0201h: read one sector
        0xbb, 0x00, 0x7e,  // mov bx, 7e00h
        0xb9, 0x02, 0x00,  // mov cx, 2: cylinder 0, sector 2
        0x30, 0xf6,        // xor dh, dh: head 0; dl is the boot drive
        0xcd, 0x13,        // int 13h
        0xba, 0xf8, 0x03,  // mov dx, 3f8h
        0xa0, 0x00, 0x7e,  // mov al, [7e00h]
        0xee,              // out dx, al
        0xb0, 0x07,        // mov al, 7
        0xe6, 0xf4,        // out f4h, al
        0xf4,              // hlt
    };
    image.resize(kFloppySize);
    image[510] = 0x55;
    image[511] = 0xaa;
    image[512] = 'F';
    return image;
}

class SeaBios : public testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        if (access(boot::kDefaultFirmware, R_OK) != 0) GTEST_SKIP() << "no SeaBIOS (package seabios)";
        if (kvm() && access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/kvm";
    }
    bool kvm() const { return std::string_view(GetParam()) == "kvm"; }
    Expected<std::unique_ptr<Engine>> make_engine() {
        if (!kvm()) return make_interpreter(*machine);
        return make_kvm_engine(*machine, {.rescue = make_interpreter(*machine)});
    }
    // Runs up to `limit` instructions of a PC with SeaBIOS. `floppyimg/` is where SeaBIOS looks for such an image.
    RunResult run(bool with_floppy, u64 limit) {
        machine = *Machine::create({.memory_mebibytes = 32, .clock = kvm() ? ClockKind::Host : ClockKind::Virtual});
        devices::PcConfig config;
        config.serial_output = [this](u8 byte) { serial += static_cast<char>(byte); };
        config.firmware = devices::FirmwareConfig{.log = [this](u8 byte) { log += static_cast<char>(byte); }};
        pc = *devices::Pc::build(*machine, config);
        for (auto& file : boot::firmware_files(*machine, /*serial_console=*/false)) {
            pc->add_firmware_file(file.name, std::move(file.bytes));
        }
        if (with_floppy) pc->add_firmware_file("floppyimg/test.img", floppy());
        pc->set_boot_order("a");
        const auto booted = boot::boot_firmware(*machine, boot::kDefaultFirmware);
        EXPECT_TRUE(booted);
        auto made = make_engine();
        EXPECT_TRUE(made) << made.error().text;
        engine = std::move(*made);
        RunLimits limits;
        limits.max_instructions = kvm() ? kUnlimited : limit;
        limits.timeout = 90'000'000'000;
        return run_loop(*machine, *engine, limits, {});
    }

    std::unique_ptr<Machine> machine;
    std::unique_ptr<devices::Pc> pc;
    std::unique_ptr<Engine> engine;
    std::string serial, log;
};

TEST_P(SeaBios, BootsAFloppysBootSector) {
    const RunResult result = run(/*with_floppy=*/true, 200'000'000);
    EXPECT_EQ(result.reason, "debug-exit") << log;
    EXPECT_EQ(result.status, 15);
    EXPECT_EQ(serial, "F");
    EXPECT_NE(log.find("Found QEMU fw_cfg"), std::string::npos);
    EXPECT_NE(log.find("(via xsdt)"), std::string::npos) << "it finds our ACPI tables\n" << log;
    EXPECT_EQ(log.find("parse error"), std::string::npos) << log;
    EXPECT_EQ(log.find("WARNING"), std::string::npos) << log;
}

INSTANTIATE_TEST_SUITE_P(Engines, SeaBios, testing::Values("interp", "kvm"),
                         [](const auto& tested) { return std::string(tested.param); });

using WithoutADisk = SeaBios;

TEST_P(WithoutADisk, ItSaysOnTheScreenThatThereIsNothingToBoot) {
    const RunResult result = run(/*with_floppy=*/false, 40'000'000);
    EXPECT_NE(pc->vga().text().find("No bootable device"), std::string::npos) << result.text << '\n' << log;
    EXPECT_NE(log.find("VBE DISPI: lfb_addr="), std::string::npos) << "the VGA BIOS finds the frame buffer\n" << log;
    // The VGA BIOS has loaded font and palette: letters are grey on black, and many dots of the first line are lit.
    const devices::Picture picture = pc->vga().picture();
    ASSERT_EQ(picture.width, 720u);
    ASSERT_EQ(picture.height, 400u);
    unsigned lit = 0;
    for (std::size_t i = 0; i < std::size_t{720} * 16 * 3; i += 3) lit += picture.rgb[i] == 0xa8 ? 1 : 0;
    EXPECT_GT(lit, 500u);
    EXPECT_LT(lit, 3000u);
}

INSTANTIATE_TEST_SUITE_P(Engines, WithoutADisk, testing::Values("interp"));

}  // namespace
}  // namespace dualvm

// A BIOS image as the guest's beginning.
#include "dualvm/boot/firmware.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "images.h"

namespace dualvm::boot {
namespace {

class Firmware : public testing::Test {
protected:
    ~Firmware() override { std::filesystem::remove(path); }
    // A file of `size` bytes, with a jump at its reset vector.
    Expected<BootReport> boot(std::size_t size, u8 at_vector = 0xea) {
        std::vector<char> bytes(size, 0x11);
        if (size >= 16) std::fill(bytes.end() - 16, bytes.end(), static_cast<char>(at_vector));
        std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(size));
        return boot_firmware(*machine, path);
    }
    std::string path = (std::filesystem::temp_directory_path() / ("dualvm-bios-" + std::to_string(getpid()))).string();
    std::unique_ptr<Machine> machine = make_machine(8);
};

TEST_F(Firmware, LiesAtTheEndOf4GiBWhereTheCpuBegins) {
    constexpr u64 kShown = 0xe0000;
    machine->vmem().set_shadow(kShown, VMem::kShadowEnd - kShown, {.read_ram = false, .write_ram = false});
    const auto report = boot(256 * 1024);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_EQ(report->protocol, Protocol::Firmware);
    const CpuFile& cpu = machine->cpu();
    EXPECT_EQ(cpu.code_base() + cpu.general.rip, 0xfffffff0u);
    u8 byte = 0;
    ASSERT_TRUE(machine->vmem().read_value(0xfffffff0, byte));
    EXPECT_EQ(byte, 0xea);
    EXPECT_EQ(machine->vmem().find(0xfffc0000)->kind, RegionKind::Rom);
    ASSERT_TRUE(machine->vmem().read_value(kShown, byte));
    EXPECT_EQ(byte, 0x11) << "and its last 128 KiB below 1 MiB";
    ASSERT_TRUE(machine->vmem().read_value(0xffff0, byte));
    EXPECT_EQ(byte, 0xea);
}

TEST_F(Firmware, CanBeStartedAgain) {
    ASSERT_TRUE(boot(128 * 1024));
    machine->cpu().general.rip = 0;
    const auto again = boot(128 * 1024);
    ASSERT_TRUE(again) << again.error().text;
    EXPECT_EQ(machine->cpu().general.rip, 0xfff0u);
}

TEST_F(Firmware, BadFilesAreRefusedWithAReason) {
    const std::pair<std::size_t, const char*> sizes[] = {
        {0, "empty"}, {1000, "multiple of 64 KiB"}, {65535, "multiple of 64 KiB"}, {9 << 20, "at most"}};
    for (const auto& [size, why] : sizes) {
        const auto report = boot(size);
        ASSERT_FALSE(report) << size;
        EXPECT_EQ(report.error().status, ExitStatus::BadImage);
        EXPECT_NE(report.error().text.find(why), std::string::npos) << report.error().text;
        EXPECT_NE(report.error().text.find(path), std::string::npos) << report.error().text;
    }
    for (u8 erased : {u8{0x00}, u8{0xff}}) {
        const auto report = boot(65536, erased);
        ASSERT_FALSE(report);
        EXPECT_NE(report.error().text.find("reset vector"), std::string::npos) << report.error().text;
    }
    EXPECT_EQ(machine->vmem().find(0xfffff000), nullptr);
}

TEST_F(Firmware, AMissingFileIsNamed) {
    const auto report = boot_firmware(*machine, "/nowhere/bios.bin");
    ASSERT_FALSE(report);
    EXPECT_NE(report.error().text.find("/nowhere/bios.bin"), std::string::npos);
}

TEST_F(Firmware, IsToldOfMemoryAndOfAcpiWhereThereIsOne) {
    const auto names = [&](bool serial) {
        std::vector<std::string> all;
        for (const auto& file : firmware_files(*machine, serial)) all.push_back(file.name);
        return all;
    };
    const auto has = [](const std::vector<std::string>& all, const char* name) {
        return std::find(all.begin(), all.end(), name) != all.end();
    };
    EXPECT_TRUE(has(names(false), "etc/e820"));
    EXPECT_FALSE(has(names(false), "etc/acpi/tables"));
    EXPECT_FALSE(has(names(false), "etc/sercon-port"));
    EXPECT_TRUE(has(names(true), "etc/sercon-port"));
    machine->set_platform({});
    for (const char* name : {"etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader"}) {
        EXPECT_TRUE(has(names(false), name)) << name;
    }
}

}  // namespace
}  // namespace dualvm::boot

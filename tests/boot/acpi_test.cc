// The ACPI tables: their structure, and what Debian's iasl makes of their code.
#include "dualvm/boot/acpi.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "dualvm/boot/boot.h"
#include "images.h"

namespace dualvm::boot {
namespace {

constexpr u64 kAt = 0xf0040;

Platform whole_platform() {
    Platform p;
    p.pm1_event = 0x600;
    p.pm1_control = 0x604;
    p.pm_timer = 0x608;
    p.gpe0 = 0x60c;
    p.gpe0_size = 4;
    p.sci = 9;
    p.reset_port = 0xcf9;
    p.reset_value = 6;
    p.local_apic = 0xfee00000;
    p.io_apic = 0xfec00000;
    p.timer_input = 2;
    p.level_inputs = 1 << 9 | 1 << 10;
    p.pci = true;
    p.pci_router_slot = 1;
    p.pci_router_register = 0x60;
    p.pci_interrupts = 1 << 10 | 1 << 11;
    p.pci_memory = 0xc0000000;
    p.pci_memory_size = 0x3ec00000;
    p.keyboard = p.mouse = p.floppy = p.com1 = true;
    return p;
}

u8 sum(const u8* from, std::size_t count) { return static_cast<u8>(std::accumulate(from, from + count, 0)); }

class Tables : public testing::Test {
protected:
    Tables() { relocate(acpi, kAt); }
    template <class T>
    T field(u64 address) {
        T value{};
        EXPECT_TRUE(address >= kAt && address + sizeof(T) <= kAt + acpi.tables.size()) << address;
        std::memcpy(&value, acpi.tables.data() + (address - kAt), sizeof value);
        return value;
    }
    std::string signature(u64 address) {
        const auto four = field<std::array<char, 4>>(address);
        return {four.begin(), four.end()};
    }
    template <class T>
    T rsdp(std::size_t at) {
        T value{};
        std::memcpy(&value, acpi.rsdp.data() + at, sizeof value);
        return value;
    }
    // The address of the table of that signature, by the way over the XSDT.
    u64 find(const std::string& wanted) {
        const auto xsdt = rsdp<u64>(24);
        for (u32 at = 36; at < field<u32>(xsdt + 4); at += 8) {
            if (const auto table = field<u64>(xsdt + at); signature(table) == wanted) return table;
        }
        ADD_FAILURE() << "there is no " << wanted;
        return kAt;
    }
    AcpiTables acpi = make_acpi_tables(whole_platform());
};

TEST_F(Tables, TheRootPointerLeadsToBothRoots) {
    EXPECT_EQ(std::memcmp(acpi.rsdp.data(), "RSD PTR ", 8), 0);
    EXPECT_EQ(sum(acpi.rsdp.data(), 20), 0) << "of the first version's part";
    EXPECT_EQ(sum(acpi.rsdp.data(), 36), 0);
    EXPECT_EQ(signature(rsdp<u32>(16)), "RSDT");
    EXPECT_EQ(signature(rsdp<u64>(24)), "XSDT");
}

TEST_F(Tables, EveryTableAddsUpToZero) {
    for (const u64 table :
         {u64{rsdp<u32>(16)}, rsdp<u64>(24), find("FACP"), find("APIC"), u64{field<u32>(find("FACP") + 40)}}) {
        const auto length = field<u32>(table + 4);
        ASSERT_LE(table - kAt + length, acpi.tables.size());
        EXPECT_EQ(sum(acpi.tables.data() + (table - kAt), length), 0) << signature(table);
    }
}

TEST_F(Tables, TheFixedTableNamesTheRegisters) {
    const u64 fadt = find("FACP");
    EXPECT_EQ(signature(field<u32>(fadt + 36)), "FACS");
    EXPECT_EQ(field<u32>(fadt + 36) % 64, 0u) << "the FACS's alignment";
    EXPECT_EQ(signature(field<u32>(fadt + 40)), "DSDT");
    EXPECT_EQ(field<u64>(fadt + 140), field<u32>(fadt + 40));
    EXPECT_EQ(field<u16>(fadt + 46), 9);
    EXPECT_EQ(field<u32>(fadt + 56), 0x600u);
    EXPECT_EQ(field<u32>(fadt + 64), 0x604u);
    EXPECT_EQ(field<u32>(fadt + 76), 0x608u);
    EXPECT_EQ(field<u64>(fadt + 120), 0xcf9u) << "reset register";
    EXPECT_EQ(field<u8>(fadt + 128), 6);
    EXPECT_EQ(field<u32>(fadt + 48), 0u) << "no SMI command: always in ACPI mode";
}

TEST_F(Tables, TheInterruptTableListsControllersAndOverrides) {
    const u64 madt = find("APIC");
    EXPECT_EQ(field<u32>(madt + 36), 0xfee00000u);
    std::vector<std::string> entries;
    for (u64 at = madt + 44; at < madt + field<u32>(madt + 4); at += field<u8>(at + 1)) {
        std::ostringstream text;
        text << int{field<u8>(at)};
        if (field<u8>(at) == 1) text << ' ' << std::hex << field<u32>(at + 4);
        if (field<u8>(at) == 2) {
            text << ' ' << int{field<u8>(at + 3)} << "->" << field<u32>(at + 4) << " flags " << field<u16>(at + 8);
        }
        entries.push_back(text.str());
        ASSERT_NE(field<u8>(at + 1), 0);
    }
    const std::vector<std::string> expected = {
        "0", "1 fec00000", "2 0->2 flags 0", "2 9->9 flags 13", "2 10->10 flags 13", "4"};
    EXPECT_EQ(entries, expected);
}

// Linux and firmware would see the same tables: the script patches what relocate() does.
TEST_F(Tables, TheLoaderScriptHasACommandForEveryField) {
    const AcpiTables fresh = make_acpi_tables(whole_platform());
    const auto script = loader_script(fresh);
    ASSERT_EQ(script.size() % 128, 0u);
    AcpiTables patched = fresh;
    const auto file = [&](const u8* name) -> std::vector<u8>& {
        return std::string(reinterpret_cast<const char*>(name)) == kAcpiRsdpFile ? patched.rsdp : patched.tables;
    };
    for (std::size_t at = 0; at < script.size(); at += 128) {
        const u8* c = script.data() + at;
        u32 command = 0, offset = 0, start = 0, length = 0;
        std::memcpy(&command, c, 4);
        if (command == 2) {
            ASSERT_STREQ(reinterpret_cast<const char*>(c + 60), kAcpiTablesFile);
            std::memcpy(&offset, c + 116, 4);
            u64 value = 0;
            std::memcpy(&value, file(c + 4).data() + offset, c[120]);
            value += kAt;
            std::memcpy(file(c + 4).data() + offset, &value, c[120]);
        } else if (command == 3) {
            std::memcpy(&offset, c + 60, 4);
            std::memcpy(&start, c + 64, 4);
            std::memcpy(&length, c + 68, 4);
            auto& bytes = file(c + 4);
            bytes[offset] = static_cast<u8>(bytes[offset] - sum(bytes.data() + start, length));
        } else {
            EXPECT_EQ(command, 1u);
        }
    }
    EXPECT_EQ(patched.tables, acpi.tables);
    EXPECT_EQ(patched.rsdp, acpi.rsdp);
}

TEST(AcpiInMemory, AKernelFindsTheRootPointerInTheBiosArea) {
    const auto machine = make_machine(8);
    machine->set_platform(whole_platform());
    const Bytes sector = make_boot_sector();
    ASSERT_TRUE(boot_image(*machine, {.name = "sector", .kernel = sector, .modules = {}, .append = ""}));
    std::array<char, 8> mark{};
    ASSERT_TRUE(machine->vmem().read(0xf0000, mark.data(), mark.size()));
    EXPECT_EQ(std::string(mark.begin(), mark.end()), "RSD PTR ");
}

TEST(AcpiInMemory, WithoutAPlatformThereIsNone) {
    const auto machine = make_machine(8);
    const Bytes sector = make_boot_sector();
    ASSERT_TRUE(boot_image(*machine, {.name = "sector", .kernel = sector, .modules = {}, .append = ""}));
    u64 mark = 1;
    ASSERT_TRUE(machine->vmem().read_value(0xf0000, mark));
    EXPECT_EQ(mark, 0u);
}

// iasl, of acpica-tools, disassembles the code and compiles what it has got without an error or a warning.
class Iasl : public testing::TestWithParam<bool> {};

TEST_P(Iasl, TakesTheDsdt) {
    if (std::system("command -v iasl >/dev/null") != 0) GTEST_SKIP() << "no iasl (package acpica-tools)";
    Platform p = whole_platform();
    p.pci = GetParam();
    AcpiTables acpi = make_acpi_tables(p);
    relocate(acpi, kAt);
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("dualvm-acpi-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    constexpr std::string_view kName = "DSDT";
    const auto at = std::search(acpi.tables.begin(), acpi.tables.end(), kName.begin(), kName.end());
    u32 length = 0;
    std::memcpy(&length, &*at + 4, 4);
    std::ofstream(folder / "dsdt.aml", std::ios::binary).write(reinterpret_cast<const char*>(&*at), length);
    const std::string in_folder = "cd " + folder.string() + " && ";
    EXPECT_EQ(
        std::system((in_folder + "iasl -d dsdt.aml >disassembled 2>&1 && iasl -we dsdt.dsl >compiled 2>&1").c_str()),
        0);
    std::ostringstream text;
    for (const char* name : {"disassembled", "compiled", "dsdt.dsl"}) text << std::ifstream(folder / name).rdbuf();
    EXPECT_NE(text.str().find("0 Errors, 0 Warnings"), std::string::npos) << text.str();
    EXPECT_NE(text.str().find("Name (\\_S5, Package"), std::string::npos) << text.str();
    std::filesystem::remove_all(folder);
}
INSTANTIATE_TEST_SUITE_P(WithAndWithoutPci, Iasl, testing::Bool());

}  // namespace
}  // namespace dualvm::boot

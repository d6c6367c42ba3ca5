// boot_guest(): files, options, reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "images.h"

namespace dualvm::boot {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A directory of this test's own, removed at its end.
class BootGuest : public ::testing::Test {
protected:
    BootGuest() {
        std::string name = std::filesystem::temp_directory_path() / "dualvm-boot-XXXXXX";
        folder_ = mkdtemp(name.data());
    }
    ~BootGuest() override { std::filesystem::remove_all(folder_); }

    std::string write(const std::string& name, const Bytes& bytes) {
        const std::string path = folder_ / name;
        std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
        return path;
    }
    Expected<BootReport> boot(const std::string& kernel, std::vector<std::string> initrd = {}) {
        return boot_guest(*machine_, {.kernel = kernel, .initrd = std::move(initrd), .append = "x"});
    }

    std::filesystem::path folder_;
    std::unique_ptr<Machine> machine_ = make_machine();
};

TEST_F(BootGuest, LoadsKernelAndModulesFromFiles) {
    const std::string kernel = write("kernel", make_multiboot_elf()), module = write("module", {1, 2, 3});
    const auto report = boot(kernel, {module + " with arguments"});
    ASSERT_TRUE(report) << report.error().text;
    const u64 info = machine_->cpu().general.gpr[RBX];
    EXPECT_EQ(string_at(*machine_, value_at<u32>(*machine_, info + 16)), kernel + " x");
    const u64 table = value_at<u32>(*machine_, info + 24);
    EXPECT_EQ(string_at(*machine_, value_at<u32>(*machine_, table + 8)), module + " with arguments");
}

TEST_F(BootGuest, LoadingAgainGivesTheSameGuest) {
    const std::string kernel = write("kernel", make_multiboot_elf());
    const auto first = boot(kernel);
    ASSERT_TRUE(first);
    const CpuFile entry = machine_->cpu();
    Bytes before(0x200000);
    ASSERT_TRUE(machine_->vmem().read(0, before.data(), 0xa0000));
    ASSERT_TRUE(machine_->vmem().read(0x100000, before.data() + 0x100000, 0x2000));
    ASSERT_TRUE(machine_->vmem().fill(0, 0xee, 0x7c00));  // the guest ran and wrote
    ASSERT_TRUE(machine_->vmem().fill(0x100000, 0xee, 0x2000));
    machine_->reset();
    const auto second = boot(kernel);
    ASSERT_TRUE(second);
    EXPECT_EQ(to_text(*first), to_text(*second));
    EXPECT_EQ(differences(entry, machine_->cpu(), Groups::All), "");
    Bytes after(0x2000);
    ASSERT_TRUE(machine_->vmem().read(0x100000, after.data(), after.size()));
    EXPECT_TRUE(std::equal(after.begin(), after.end(), before.begin() + 0x100000));
    after.resize(0x500);
    ASSERT_TRUE(machine_->vmem().read(0, after.data(), after.size()));
    EXPECT_TRUE(std::equal(after.begin(), after.end(), before.begin()));
}

TEST_F(BootGuest, FilesThatCannotBeReadAreNamedWithTheReason) {
    const std::string pipe = folder_ / "pipe";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    const struct {
        std::string path;
        const char* reason;
    } cases[] = {{folder_ / "missing", "No such file or directory"},
                 {folder_, "it is a directory"},
                 {write("empty", {}), "it is empty"},
                 {pipe, "not a regular file"}};
    for (const auto& c : cases) {
        const auto report = boot(c.path);
        ASSERT_FALSE(report);
        EXPECT_EQ(report.error().status, ExitStatus::BadImage);
        EXPECT_THAT(report.error().text, HasSubstr("kernel '" + c.path + "'"));
        EXPECT_THAT(report.error().text, HasSubstr(c.reason));
    }
}

TEST_F(BootGuest, AnUnreadableFileIsNamed) {
    if (geteuid() == 0) GTEST_SKIP() << "root may read every file";
    const std::string path = write("secret", {1});
    ASSERT_EQ(chmod(path.c_str(), 0), 0);
    const auto report = boot(path);
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().text, HasSubstr("Permission denied"));
}

TEST_F(BootGuest, HugeFilesAreRefusedWithoutReadingThem) {
    const std::string kernel = write("kernel", make_multiboot_elf()), huge = write("huge", {0});
    std::filesystem::resize_file(huge, std::uintmax_t{1} << 34);  // sparse
    EXPECT_THAT(boot(huge).error().text, HasSubstr("17179869184 bytes"));
    EXPECT_THAT(boot(kernel, {huge}).error().text, HasSubstr("cannot read initrd"));
}

TEST(SplitInitrd, CommasSeparateAndDoubledCommasDoNot) {
    EXPECT_THAT(split_initrd(""), IsEmpty());
    EXPECT_THAT(split_initrd("a"), ElementsAre("a"));
    EXPECT_THAT(split_initrd("a 1,b,,c 2,d"), ElementsAre("a 1", "b,c 2", "d"));
}

TEST(ProtocolNames, LeadThereAndBack) {
    for (Protocol p :
         {Protocol::Auto, Protocol::Multiboot, Protocol::Linux32, Protocol::Linux64, Protocol::Pvh, Protocol::Sector}) {
        EXPECT_EQ(*protocol_from_name(to_string(p)), p);
    }
    const auto unknown = protocol_from_name("efi");
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().status, ExitStatus::Usage);
    EXPECT_THAT(unknown.error().text, HasSubstr("linux64"));
}

TEST(BootReport, SaysWhatWasPlacedWhere) {
    auto machine = make_machine();
    const auto report = boot_image(*machine, image_of(make_multiboot_elf()));
    ASSERT_TRUE(report);
    EXPECT_THAT(to_text(*report), HasSubstr("boot: 0x00100000-0x00101fff ELF segment 0\n"));
    EXPECT_THAT(to_text(*report), HasSubstr("boot: multiboot entry at 0x00100010\n"));
}

TEST(MemoryMap, IsThatOfAPc) {
    auto machine = make_machine(16);
    ASSERT_TRUE(machine->vmem().punch_hole(0xa0000, 0x20000));
    EXPECT_THAT(memory_map(machine->vmem()), ElementsAre(MemoryMapEntry{0, 0x9fc00, MemoryType::Usable},
                                                         MemoryMapEntry{0x9fc00, 0x400, MemoryType::Reserved},
                                                         MemoryMapEntry{0xf0000, 0x10000, MemoryType::Reserved},
                                                         MemoryMapEntry{0x100000, 0xf00000, MemoryType::Usable}));
    EXPECT_EQ(extended_kibibytes(memory_map(machine->vmem())), 15u * 1024);
}

TEST(MemoryMap, ShowsRomAndMemoryAboveFourGibibytes) {
    auto vmem = VMem::create(3 * 1024 + 2);
    if (!vmem) GTEST_SKIP() << vmem.error().text;
    const Bytes rom(0x1000);
    ASSERT_TRUE((*vmem)->add_rom(0xfffff000, rom));
    const auto map = memory_map(**vmem);
    ASSERT_EQ(map.size(), 6u);
    EXPECT_EQ(map[4], (MemoryMapEntry{0xfffff000, 0x1000, MemoryType::Reserved}));
    EXPECT_EQ(map[5], (MemoryMapEntry{0x100000000, 0x200000, MemoryType::Usable}));
}

}  // namespace
}  // namespace dualvm::boot

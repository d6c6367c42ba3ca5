// QEMU's firmware configuration device, by ports and by DMA.
#include "dualvm/devices/fw_cfg.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

constexpr u32 kError = 1, kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;

class FwCfgTest : public testing::Test {
protected:
    void select(u16 key) { fw_cfg.write(FwCfg::kSelector, 2, key); }
    std::string bytes(unsigned count) {
        std::string text;
        for (unsigned i = 0; i < count; ++i) text += static_cast<char>(fw_cfg.read(FwCfg::kData, 1));
        return text;
    }
    // Runs a DMA descriptor at 1000h; what is left in its control field.
    u32 dma(u32 control, u32 length, u64 address, u64 descriptor = 0x1000) {
        VMem& memory = machine->vmem();
        memory.write_value(descriptor, __builtin_bswap32(control));
        memory.write_value(descriptor + 4, __builtin_bswap32(length));
        memory.write_value(descriptor + 8, __builtin_bswap64(address));
        fw_cfg.write(FwCfg::kDma, 4, __builtin_bswap32(static_cast<u32>(descriptor >> 32)));
        fw_cfg.write(FwCfg::kDma + 4, 4, __builtin_bswap32(static_cast<u32>(descriptor)));
        u32 result = 0xffffffff;
        memory.read_value(descriptor, result);
        return __builtin_bswap32(result);
    }
    std::string memory(u64 address, std::size_t count) {
        std::string text(count, '?');
        EXPECT_TRUE(machine->vmem().read(address, text.data(), count));
        return text;
    }

    std::unique_ptr<Machine> machine = *Machine::create({.memory_mebibytes = 2});
    FwCfg fw_cfg{*machine};
};

TEST_F(FwCfgTest, SaysThatItIsThereAndHasDma) {
    select(FwCfg::Signature);
    EXPECT_EQ(bytes(4), "QEMU");
    select(FwCfg::Id);
    EXPECT_EQ(bytes(4), std::string("\3\0\0\0", 4));
    EXPECT_EQ(fw_cfg.read(FwCfg::kDma, 4), __builtin_bswap32(0x51454d55));
    EXPECT_EQ(fw_cfg.read(FwCfg::kDma + 4, 4), __builtin_bswap32(0x20434647));
}

TEST_F(FwCfgTest, ZerosComeBehindTheEndAndOfUnknownItems) {
    select(FwCfg::Signature);
    EXPECT_EQ(bytes(6), std::string("QEMU\0\0", 6));
    select(0x1234);
    EXPECT_EQ(bytes(2), std::string(2, '\0'));
}

TEST_F(FwCfgTest, NumbersAreLittleEndian) {
    select(FwCfg::RamSize);
    EXPECT_EQ(bytes(8), std::string("\0\0\x20\0\0\0\0\0", 8));
    select(FwCfg::Processors);
    EXPECT_EQ(bytes(2), std::string("\1\0", 2));
}

TEST_F(FwCfgTest, TheDirectoryListsFiles) {
    fw_cfg.add_file("etc/first", {'a', 'b', 'c'});
    fw_cfg.add_file("second", {'d'});
    select(FwCfg::FileDirectory);
    EXPECT_EQ(bytes(4), std::string("\0\0\0\2", 4));
    EXPECT_EQ(bytes(8), std::string("\0\0\0\3\0\x20\0\0", 8));
    EXPECT_EQ(bytes(56), "etc/first" + std::string(47, '\0'));
    EXPECT_EQ(bytes(8), std::string("\0\0\0\1\0\x21\0\0", 8));
    select(0x20);
    EXPECT_EQ(bytes(3), "abc");
    fw_cfg.add_file("etc/first", {'x'});
    select(0x20);
    EXPECT_EQ(bytes(2), std::string("x\0", 2)) << "a file of a known name takes its place";
}

TEST_F(FwCfgTest, DmaSelectsAndReads) {
    fw_cfg.add_file("file", {'a', 'b', 'c', 'd', 'e'});
    machine->vmem().fill(0x2000, '!', 8);
    EXPECT_EQ(dma(kSelect | kRead | 0x20u << 16, 3, 0x2000), 0u);
    EXPECT_EQ(memory(0x2000, 4), "abc!");
    EXPECT_EQ(dma(kRead, 4, 0x2000), 0u);
    EXPECT_EQ(memory(0x2000, 5), std::string("de\0\0!", 5));
}

TEST_F(FwCfgTest, DmaSkips) {
    fw_cfg.add_file("file", {'a', 'b', 'c', 'd', 'e'});
    EXPECT_EQ(dma(kSelect | kSkip | 0x20u << 16, 3, 0), 0u);
    EXPECT_EQ(bytes(2), "de");
}

TEST_F(FwCfgTest, NothingCanBeWritten) { EXPECT_EQ(dma(kSelect | kWrite, 4, 0x2000), kError); }

TEST_F(FwCfgTest, DmaToWhereThereIsNoMemoryIsAnErrorAndMovesNothing) {
    constexpr u64 kEnd = 2 << 20;
    EXPECT_EQ(dma(kSelect | kRead, 4, kEnd - 2), kError);
    EXPECT_EQ(memory(kEnd - 2, 2), std::string(2, '\0'));
    EXPECT_EQ(dma(kSelect | kRead, 0xffffffff, 0x2000), kError);
    EXPECT_EQ(memory(0x2000, 4), std::string(4, '\0'));
    EXPECT_EQ(dma(kSelect | kRead, 4, ~u64{0} - 1), kError);
    EXPECT_EQ(dma(kSelect | kRead, 0x100, ~u64{0} - 3), kError) << "it would wrap around to 0";
    EXPECT_EQ(memory(0, 4), std::string(4, '\0'));
}

TEST_F(FwCfgTest, ADescriptorWithoutMemoryIsNotThere) {
    dma(kSelect | kRead, 4, 0x2000, 2 << 20);
    dma(kSelect | kRead, 4, 0x2000, ~u64{0} - 7);
    EXPECT_EQ(memory(0x2000, 4), std::string(4, '\0'));
}

TEST_F(FwCfgTest, ADescriptorCanBeOverwrittenByItsOwnData) {
    fw_cfg.add_file("file", std::vector<u8>(16, 0xff));
    EXPECT_EQ(dma(kSelect | kRead | 0x20u << 16, 16, 0x1000), 0u);
}

TEST_F(FwCfgTest, SavesWhereTheReadingIs) {
    select(FwCfg::Signature);
    bytes(2);
    FwCfg other{*machine};
    ASSERT_TRUE(load(other, saved(fw_cfg)));
    EXPECT_EQ(other.read(FwCfg::kData, 1), u64{'M'});
}

}  // namespace
}  // namespace dualvm::devices

#include "dualvm/vmem.h"

#include <gtest/gtest.h>

#include <array>

namespace dualvm {
namespace {

TEST(VMem, RefusesNoMemoryAndMoreThanTheHostHas) {
    EXPECT_FALSE(VMem::create(0));
    auto huge = VMem::create(u64{1} << 40);
    ASSERT_FALSE(huge);
    EXPECT_EQ(huge.error().status, ExitStatus::BadImage);
}

TEST(VMem, AccessOutsideIsRefusedWhole) {
    auto m = *VMem::create(1);
    std::array<u8, 16> bytes{};
    bytes.fill(7);
    EXPECT_FALSE(m->write(0xffff8, bytes.data(), 16));
    u8 last = 1;
    EXPECT_TRUE(m->read(0xfffff, &last, 1));
    EXPECT_EQ(last, 0);
    EXPECT_FALSE(m->read(~u64{0}, bytes.data(), 16));
    EXPECT_FALSE(m->fill(0x100000, 1, 1));
}

TEST(VMem, DirtyPagesAreThoseWritten) {
    auto m = *VMem::create(1);
    const u64 generation = m->dirty_generation();
    u64 value = 1;
    ASSERT_TRUE(m->write_value(0x1ffc, value));  // crosses into page 2
    EXPECT_TRUE(m->is_dirty(0x1000));
    EXPECT_TRUE(m->is_dirty(0x2000));
    EXPECT_FALSE(m->is_dirty(0x3000));
    EXPECT_EQ(m->dirty_pages(), 2u);
    m->clear_dirty();
    EXPECT_EQ(m->dirty_pages(), 0u);
    EXPECT_GT(m->dirty_generation(), generation);
}

TEST(VMem, RomIsReadAndNotWritten) {
    auto m = *VMem::create(1);
    const std::array<u8, 3> image = {1, 2, 3};
    ASSERT_TRUE(m->add_rom(0xf0000, image));
    u8 b = 0;
    EXPECT_TRUE(m->read(0xf0001, &b, 1));
    EXPECT_EQ(b, 2);
    EXPECT_FALSE(m->write(0xf0001, &b, 1));
    ASSERT_TRUE(m->add_rom(0xfffff000, image));  // where there was no RAM
    EXPECT_TRUE(m->read(0xfffff002, &b, 1));
    EXPECT_EQ(b, 3);
}

TEST(VMem, AHoleAnswersNothingAndKeepsWhatIsAroundIt) {
    auto m = *VMem::create(1);
    u8 mark = 0x55;
    ASSERT_TRUE(m->write(0x9ffff, &mark, 1));
    ASSERT_TRUE(m->write(0xc0000, &mark, 1));
    ASSERT_TRUE(m->punch_hole(0xa0000, 0x20000));
    EXPECT_FALSE(m->read(0xa0000, &mark, 1));
    mark = 0;
    EXPECT_TRUE(m->read(0xc0000, &mark, 1));
    EXPECT_EQ(mark, 0x55);
    EXPECT_EQ(m->find(0xbffff), nullptr);
    EXPECT_FALSE(m->punch_hole(0xa0001, 0x1000));
}

TEST(VMem, MoreThanThreeGibibytesLiesAboveFour) {
    auto m = *VMem::create(3 * 1024 + 1);
    EXPECT_EQ(m->find(0xc0000000), nullptr);
    ASSERT_NE(m->find(0x100000000), nullptr);
    EXPECT_EQ(m->find(0x100100000), nullptr);
}

TEST(VMem, DeviceMemoryIsRamWhereverItIsPlaced) {
    auto m = *VMem::create(2);
    const std::size_t number = *m->add_device_memory(0x10000);
    m->device_memory(number)[0x1234] = 0x42;
    EXPECT_EQ(m->find(0xd0000000), nullptr);
    const u64 generation = m->map_generation();
    ASSERT_TRUE(m->place_device_memory(number, 0xd0000000));
    EXPECT_GT(m->map_generation(), generation);
    u8 byte = 0;
    EXPECT_TRUE(m->read_value(0xd0001234, byte));
    EXPECT_EQ(byte, 0x42);
    EXPECT_TRUE(m->write_value<u8>(0xd000ffff, 7));
    EXPECT_EQ(m->device_memory(number)[0xffff], 7);
    ASSERT_TRUE(m->place_device_memory(number, std::nullopt));
    EXPECT_FALSE(m->read_value(0xd0001234, byte));
    m->clear_device_memory(number);
    EXPECT_EQ(m->device_memory(number)[0x1234], 0);
}

TEST(VMem, DeviceMemoryLiesOverNothing) {
    auto m = *VMem::create(2);
    const std::size_t first = *m->add_device_memory(0x10000), second = *m->add_device_memory(0x10000);
    EXPECT_FALSE(m->place_device_memory(first, 0x100000)) << "RAM";
    EXPECT_FALSE(m->place_device_memory(first, 0x1f8000)) << "half of it";
    EXPECT_FALSE(m->place_device_memory(first, 0xd0000800)) << "not page-aligned";
    EXPECT_FALSE(m->place_device_memory(first, ~u64{0} & ~kPageMask)) << "around the end";
    EXPECT_TRUE(m->place_device_memory(first, 0xd0000000));
    EXPECT_FALSE(m->place_device_memory(second, 0xd000f000)) << "the other";
    EXPECT_TRUE(m->place_device_memory(second, 0xd0010000));
    EXPECT_FALSE(m->place_device_memory(second, 0)) << "then it is nowhere";
    EXPECT_EQ(m->find(0xd0010000), nullptr);
    EXPECT_FALSE(m->add_device_memory(100));
}

TEST(VMem, DeviceMemoryKeepsItsPagesInTheDirtyAccount) {
    auto m = *VMem::create(2);
    const std::size_t number = *m->add_device_memory(0x10000);
    m->mark_dirty(0x1000);
    ASSERT_TRUE(m->place_device_memory(number, 0xd0000000));
    m->mark_dirty(0xd0003000);
    ASSERT_TRUE(m->place_device_memory(number, 0xe0000000));
    EXPECT_TRUE(m->is_dirty(0xe0003000));
    EXPECT_TRUE(m->is_dirty(0x1000));
    EXPECT_EQ(m->dirty_pages(), 2u);
}

}  // namespace
}  // namespace dualvm

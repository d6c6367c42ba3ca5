#include "dualvm/vio.h"

#include <gtest/gtest.h>

namespace dualvm {
namespace {

class Recorder final : public Device {
public:
    const char* name() const override { return "recorder"; }
    u64 read(u64 offset, unsigned size) override {
        last_offset = offset;
        last_size = size;
        return 0x1122334455667788;
    }
    void write(u64 offset, unsigned size, u64 value) override {
        last_offset = offset;
        last_size = size;
        last_value = value;
        ++writes;
    }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}
    u64 last_offset = 0, last_value = 0;
    unsigned last_size = 0, writes = 0;
};

TEST(IoSpace, RefusesOverlapEmptyRangesAndWrapAround) {
    VIo vio;
    Recorder d;
    ASSERT_TRUE(vio.ports().add(0x10, 8, d));
    EXPECT_FALSE(vio.ports().add(0x17, 1, d));
    EXPECT_FALSE(vio.ports().add(0x0f, 2, d));
    EXPECT_FALSE(vio.ports().add(0x12, 2, d));
    EXPECT_FALSE(vio.ports().add(0x00, 0x100, d));
    EXPECT_FALSE(vio.ports().add(0x20, 0, d));
    EXPECT_FALSE(vio.ports().add(0xffff, 2, d));
    EXPECT_TRUE(vio.ports().add(0xffff, 1, d));
    EXPECT_TRUE(vio.ports().add(0x18, 1, d));
    EXPECT_FALSE(vio.mmio().add(~u64{0} - 10, 20, d));
    EXPECT_NE(vio.ports().add(0x17, 1, d).error().text.find("overlaps 'recorder'"), std::string::npos);
}

TEST(VIo, ADeviceSeesOffsetsAndTruncatedValues) {
    VIo vio;
    Recorder d;
    ASSERT_TRUE(vio.ports().add(0x60, 5, d, 0x100));
    vio.write_port(0x62, 1, 0xabcd);
    EXPECT_EQ(d.last_offset, 0x102u);
    EXPECT_EQ(d.last_value, 0xcdu);
    EXPECT_EQ(vio.read_port(0x60, 2), 0x7788u);
}

TEST(VIo, NobodyAnswersWithAllOnes) {
    VIo vio;
    EXPECT_EQ(vio.read_port(0x1234, 1), 0xffu);
    EXPECT_EQ(vio.read_port(0x1234, 4), 0xffffffffu);
    EXPECT_EQ(vio.read_mmio(0xfee00000, 8), ~u64{0});
    vio.write_port(0xffff, 4, 1);  // wraps: no crash
}

TEST(VIo, AnAccessThatCrossesTheEndOfADeviceIsSplit) {
    VIo vio;
    Recorder d;
    ASSERT_TRUE(vio.ports().add(0x60, 2, d));
    vio.write_port(0x61, 2, 0xaabb);
    EXPECT_EQ(d.writes, 1u);
    EXPECT_EQ(d.last_offset, 1u);
    EXPECT_EQ(d.last_size, 1u);
    EXPECT_EQ(d.last_value, 0xbbu);
    EXPECT_EQ(vio.read_port(0x61, 2), 0xff88u);
}

}  // namespace
}  // namespace dualvm

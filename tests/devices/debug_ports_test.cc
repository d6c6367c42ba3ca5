#include "dualvm/devices/debug_ports.h"

#include "device_test.h"

namespace dualvm::devices {
namespace {

TEST(DebugExit, AsksTheMachineToEndWithTheLowByte) {
    auto machine = *Machine::create({.memory_mebibytes = 1});
    DebugExit port{*machine};
    port.write(0, 4, 0x12345610);
    EXPECT_TRUE(machine->attention());
    const auto request = machine->take_request();
    ASSERT_TRUE(request);
    EXPECT_EQ(request->kind, RequestKind::DebugExit);
    EXPECT_EQ(request->debug_exit_value, 0x10);
}

TEST(DebugConsole, SendsEachByteAndIsFoundByReadingE9) {
    std::string text;
    DebugConsole console{[&](u8 byte) { text += static_cast<char>(byte); }};
    console.write(0, 1, 'h');
    console.write(0, 1, 'i');
    EXPECT_EQ(text, "hi");
    EXPECT_EQ(console.read(0, 1), 0xe9u);
}

TEST(DebugConsole, DropsWhatNobodyWants) {
    DebugConsole console{{}};
    console.write(0, 1, 'x');
    EXPECT_EQ(console.read(0, 1), 0xe9u);
}

TEST(PostCode, KeepsTheLastSixteenInOrder) {
    PostCode port;
    EXPECT_TRUE(port.codes().empty());
    for (unsigned code = 1; code <= 20; ++code) port.write(0, 1, code);
    EXPECT_EQ(port.last(), 20);
    EXPECT_EQ(port.read(0, 1), 20u);
    ASSERT_EQ(port.codes().size(), 16u);
    EXPECT_EQ(port.codes().front(), 5);
    PostCode other;
    ASSERT_TRUE(load(other, saved(port)));
    EXPECT_EQ(other.codes(), port.codes());
    port.reset();
    EXPECT_EQ(port.last(), 0);
}

}  // namespace
}  // namespace dualvm::devices

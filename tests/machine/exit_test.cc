#include <gtest/gtest.h>

#include "dualvm/machine.h"

namespace dualvm {
namespace {

class Latch final : public Device {
public:
    const char* name() const override { return "latch"; }
    u64 read(u64, unsigned) override { return value++; }
    void write(u64, unsigned, u64 v) override { value = v; }
    void reset() override { value = 0; }
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}
    u64 value = 0;
};

struct HandleExit : ::testing::Test {
    std::unique_ptr<Machine> machine = std::move(*Machine::create({.memory_mebibytes = 1}));
    Latch latch;
    void SetUp() override {
        ASSERT_TRUE(machine->vio().ports().add(0x40, 4, latch));
        ASSERT_TRUE(machine->vio().mmio().add(0xd0000000, 8, latch));
    }
};

TEST_F(HandleExit, PortReadFillsEveryElementOfAString) {
    latch.value = 0x10;
    std::array<u8, 3> data{};
    Exit e{.kind = ExitKind::PortRead, .address = 0x40, .size = 1, .count = 3, .data = data.data()};
    EXPECT_EQ(handle_exit(*machine, e), Outcome::Continue);
    EXPECT_EQ(data, (std::array<u8, 3>{0x10, 0x11, 0x12}));
}

TEST_F(HandleExit, MmioGoesToTheMmioSpace) {
    std::array<u8, 8> data = {1, 2};
    Exit w{.kind = ExitKind::MmioWrite, .address = 0xd0000000, .size = 2, .data = data.data()};
    EXPECT_EQ(handle_exit(*machine, w), Outcome::Continue);
    EXPECT_EQ(latch.value, 0x201u);
    Exit r{.kind = ExitKind::MmioRead, .address = 0xd0000000, .size = 8, .data = data.data()};
    EXPECT_EQ(handle_exit(*machine, r), Outcome::Continue);
    EXPECT_EQ(data[0], 1);
}

TEST_F(HandleExit, EndsAndWaitsAreTold) {
    Exit halt{.kind = ExitKind::Halt};
    EXPECT_EQ(handle_exit(*machine, halt), Outcome::Halted);
    for (ExitKind k : {ExitKind::Shutdown, ExitKind::Failure, ExitKind::Breakpoint}) {
        Exit e{.kind = k};
        EXPECT_EQ(handle_exit(*machine, e), Outcome::Stop) << to_string(k);
    }
    for (ExitKind k : {ExitKind::BudgetUsed, ExitKind::Kicked, ExitKind::Attention, ExitKind::InterruptWindow,
                       ExitKind::UserMode, ExitKind::KernelMode}) {
        Exit e{.kind = k};
        EXPECT_EQ(handle_exit(*machine, e), Outcome::Continue) << to_string(k);
    }
}

TEST_F(HandleExit, ObserversSeeAnAccessOnceItHasItsValue) {
    latch.value = 0x7b;
    u64 seen = 0;
    machine->observe_exits([&](const Exit& exit) { seen = exit.data[0]; });
    std::array<u8, 1> data{};
    Exit read{.kind = ExitKind::MmioRead, .address = 0xd0000000, .size = 1, .data = data.data()};
    handle_exit(*machine, read);
    EXPECT_EQ(seen, 0x7bu);
}

TEST(Machine, TheFirstRequestWins) {
    auto m = std::move(*Machine::create({.memory_mebibytes = 1}));
    m->request({.kind = RequestKind::DebugExit, .debug_exit_value = 3});
    m->request({.kind = RequestKind::Reset});
    EXPECT_TRUE(m->attention());
    EXPECT_EQ(m->take_request()->kind, RequestKind::DebugExit);
    EXPECT_FALSE(m->take_request().has_value());
}

}  // namespace
}  // namespace dualvm

// Writes to devices that allow it are gathered by KVM, and the guest cannot tell.
#include "small_guest.h"

namespace dualvm {
namespace {

class CoalescedWrites : public SmallGuest {
protected:
    void SetUp() override {
        SmallGuest::SetUp();
        ASSERT_TRUE(machine->vio().ports().add(kPosted, 4, posted));
        posted.posted = mmio.posted = true;
    }
    u64 gathered() const {
        const auto named = engine->statistics().named;
        const auto found = named.find("writes gathered by KVM");
        return found == named.end() ? 0 : found->second;
    }

    static constexpr u16 kPosted = 0x600;
    Recorder posted;
};

TEST_F(CoalescedWrites, ArriveBeforeTheNextAccessThatIsNot) {
    // mov cx, 3;  out 600h, al;  inc ax;  loop;  mov dx, 500h;  in al, dx;  hlt
    real_mode({0xb9, 3, 0, 0xee, 0x40, 0xe2, 0xfc, 0xba, 0x00, 0x05, 0xec, 0xf4});
    cpu().general.gpr[RDX] = kPosted;
    cpu().general.gpr[RAX] = 0x10;
    START_ENGINE();
    Exit exit = engine->run({.host_time = 1'000'000'000});
    while (exit.kind == ExitKind::PortWrite) {  // a host that does not gather
        handle_exit(*machine, exit);
        exit = engine->run({.host_time = 1'000'000'000});
    }
    ASSERT_EQ(exit.kind, ExitKind::PortRead);
    const std::vector<Recorder::Access> expected = {{true, 0, 1, 0x10}, {true, 0, 1, 0x11}, {true, 0, 1, 0x12}};
    EXPECT_EQ(posted.accesses, expected);
    EXPECT_EQ(engine->statistics().exits[static_cast<std::size_t>(ExitKind::PortWrite)], 3u);
    if (gathered() == 0) GTEST_SKIP() << "this host's KVM does not gather port writes";
    EXPECT_EQ(gathered(), 2u);  // the first has only told that there is something to gather
}

// The write to the device that allows it would be gathered if KVM had been asked before.
TEST_F(CoalescedWrites, AreNotAskedForByWritesToOtherDevices) {
    real_mode({0xee, 0xee, 0xba, 0x00, 0x06, 0xee, 0xf4});  // out dx, al, twice;  mov dx, 600h;  out dx, al;  hlt
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    EXPECT_EQ(posted.accesses.size(), 1u);
    EXPECT_EQ(gathered(), 0u);
}

TEST_F(CoalescedWrites, KeepTheirOrderAcrossMemoryAndPorts) {
    // mov [0], al;  out 600h, al;  mov [2], al;  hlt   (DS at the device)
    real_mode({0xa2, 0, 0, 0xee, 0xa2, 2, 0, 0xf4});
    cpu().segments.seg[DS].base = kMmio;
    cpu().general.gpr[RDX] = kPosted;
    cpu().general.gpr[RAX] = 0x55;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    const std::vector<Recorder::Access> memory = {{true, 0, 1, 0x55}, {true, 2, 1, 0x55}};
    EXPECT_EQ(mmio.accesses, memory);
    EXPECT_EQ(posted.accesses.size(), 1u);
}

TEST_F(CoalescedWrites, MoreThanTheRingHoldsAllArrive) {
    real_mode({0xee, 0x49, 0x75, 0xfc, 0xf4});  // out dx, al;  dec cx;  jnz;  hlt
    cpu().general.gpr[RDX] = kPosted;
    cpu().general.gpr[RCX] = 1000;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    EXPECT_EQ(posted.accesses.size(), 1000u);
}

TEST_F(CoalescedWrites, ADeviceThatGoesIsNotWrittenAnyMore) {
    real_mode({0xee, 0xf4, 0xee, 0xf4});  // out dx, al;  hlt;  out dx, al;  hlt
    cpu().general.gpr[RDX] = kPosted;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    machine->vio().ports().remove(kPosted);
    engine->pull(Groups::All);
    cpu().events.halted = false;
    engine->push(Groups::All);
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    EXPECT_EQ(posted.accesses.size(), 1u);
}

}  // namespace
}  // namespace dualvm

// A port or MMIO access that has been handled, and is not complete until KVM is entered again.
#include "small_guest.h"

namespace dualvm {
namespace {

class Access : public SmallGuest {};

TEST_F(Access, APullCompletesIt) {
    real_mode({0xec, 0xeb, 0xfe});  // in al, dx;  jmp to itself
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    Exit exit = engine->run({.host_time = 1'000'000'000});
    ASSERT_EQ(exit.kind, ExitKind::PortRead);
    handle_exit(*machine, exit);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.gpr[RAX], 0x44u);
    EXPECT_EQ(cpu().general.rip, kCode + 1);
    EXPECT_EQ(ports.accesses.size(), 1u);
}

TEST_F(Access, APushAfterItIsNotOverwrittenByItsCompletion) {
    real_mode({0xec, 0xf4});  // in al, dx;  hlt
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    Exit exit = engine->run({.host_time = 1'000'000'000});
    handle_exit(*machine, exit);
    engine->pull(Groups::General);
    cpu().general.gpr[RAX] = 0xabcd;
    engine->push(Groups::General);
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.gpr[RAX], 0xabcdu);
}

TEST_F(Access, FinishingAMemoryAccessThatIsSplitHandlesAllItsParts) {
    // mov eax, [ffeh] (32 bits across a page of the device's into the next);  hlt
    real_mode({0x66, 0xa1, 0xfe, 0x0f, 0xf4});
    ASSERT_TRUE(machine->vio().mmio().add(kMmio + 0x1000, 0x1000, mmio, 0x1000));
    cpu().segments.seg[DS].base = kMmio;
    cpu().segments.seg[DS].selector = kMmio >> 4;
    START_ENGINE();
    Exit exit = engine->run({.host_time = 1'000'000'000});
    ASSERT_EQ(exit.kind, ExitKind::MmioRead);
    handle_exit(*machine, exit);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.rip, kCode + 4);
    EXPECT_EQ(cpu().general.gpr[RAX] & 0xffff, 0x3344u);
    unsigned bytes = 0;
    for (const auto& a : mmio.accesses) bytes += a.size;
    EXPECT_EQ(bytes, 4u);
}

TEST_F(Access, AKickWhileItIsPendingIsNotLost) {
    real_mode({0xee, 0xeb, 0xfe});  // out dx, al;  jmp to itself
    cpu().general.gpr[RDX] = kPort;
    START_ENGINE();
    Exit exit = engine->run({.host_time = 1'000'000'000});
    handle_exit(*machine, exit);
    engine->kick();
    engine->pull(Groups::General);
    EXPECT_EQ(engine->run({.host_time = 1'000'000'000}).kind, ExitKind::Kicked);
}

}  // namespace
}  // namespace dualvm

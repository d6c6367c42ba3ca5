// Regions and A20 gate to memory slots; and what the guest then sees.
#include "memory_slots.h"

#include "small_guest.h"

namespace dualvm {
namespace {

constexpr u64 kMiB = u64{1} << 20;
// Host addresses are never looked at here, only compared.
u8* host(u64 offset) { return reinterpret_cast<u8*>(u64{1} << 40 | offset); }

TEST(WantedSlots, AreTheRegionsWhileA20IsOpen) {
    const std::vector<MemoryRegion> regions = {
        {.base = 0, .size = 0xa0000, .host = host(0)},
        {.base = 0xc0000, .size = 0x1000, .kind = RegionKind::Rom, .host = host(0x77000)}};
    const auto slots = kvm::wanted_slots(regions, true);
    ASSERT_EQ(slots.size(), 2u);
    EXPECT_EQ(slots[0], (kvm::Slot{0, 0xa0000, host(0), RegionKind::Ram}));
    EXPECT_EQ(slots[1], (kvm::Slot{0xc0000, 0x1000, host(0x77000), RegionKind::Rom}));
}

TEST(WantedSlots, OddMegabytesShowTheEvenOnesWhileA20IsClosed) {
    const std::vector<MemoryRegion> regions = {{.base = 0, .size = 4 * kMiB, .host = host(0)}};
    const auto slots = kvm::wanted_slots(regions, false);
    ASSERT_EQ(slots.size(), 4u);
    for (u64 i = 0; i < 4; ++i) {
        EXPECT_EQ(slots[i].base, i * kMiB);
        EXPECT_EQ(slots[i].size, kMiB);
        EXPECT_EQ(slots[i].host, host((i & ~u64{1}) * kMiB));
    }
}

TEST(WantedSlots, HolesAreAliasedToo) {
    const std::vector<MemoryRegion> regions = {{.base = 0, .size = 0xa0000, .host = host(0)},
                                               {.base = 0xc0000, .size = 2 * kMiB - 0xc0000, .host = host(0xc0000)}};
    for (const kvm::Slot& s : kvm::wanted_slots(regions, false)) {
        for (u64 hole : {u64{0xa0000}, kMiB + 0xa0000}) EXPECT_TRUE(s.base + s.size <= hole || s.base > hole);
    }
}

TEST(WantedSlots, MemoryAboveTheAliasesShowsItself) {
    const u64 size = kvm::kAliasedBelow + 8 * kMiB;
    const auto slots = kvm::wanted_slots({{.base = 0, .size = size, .host = host(0)}}, false);
    EXPECT_EQ(slots.back().base, kvm::kAliasedBelow);
    EXPECT_EQ(slots.back().size, 8 * kMiB);
    EXPECT_EQ(slots.back().host, host(kvm::kAliasedBelow));
}

class Memory : public SmallGuest {};

// mov byte [bx + 10h], 55h with DS at FFFF0h: 100000h + what is in BX;  hlt
const std::vector<u8> kStoreAboveOneMiB = {0xc6, 0x47, 0x10, 0x55, 0xf4};

TEST_F(Memory, WithA20OpenTheSecondMegabyteIsItself) {
    real_mode(kStoreAboveOneMiB);
    cpu().segments.seg[DS] = {0xffff0, 0xffff, cpu().segments.seg[DS].access, 0xffff};
    cpu().general.gpr[RBX] = 0x4000;
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    u8 low = 0, high = 0;
    machine->vmem().read_value(0x4000, low);
    machine->vmem().read_value(0x104000, high);
    EXPECT_EQ(low, 0);
    EXPECT_EQ(high, 0x55);
}

TEST_F(Memory, WithA20ClosedTheSecondMegabyteShowsTheFirst) {
    real_mode(kStoreAboveOneMiB);
    cpu().segments.seg[DS] = {0xffff0, 0xffff, cpu().segments.seg[DS].access, 0xffff};
    cpu().general.gpr[RBX] = 0x4000;
    START_ENGINE();
    machine->vmem().set_a20(false);  // while the engine is there
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    u8 low = 0, high = 0;
    machine->vmem().read_value(0x4000, low);
    machine->vmem().read_value(0x104000, high);
    EXPECT_EQ(low, 0x55);
    EXPECT_EQ(high, 0);
    machine->vmem().clear_dirty();
    engine->collect_dirty();
    EXPECT_TRUE(machine->vmem().is_dirty(0x4000));
    EXPECT_FALSE(machine->vmem().is_dirty(0x104000));
}

TEST_F(Memory, WithA20ClosedMmioIsAliasedToo) {
    real_mode(kStoreAboveOneMiB);
    cpu().segments.seg[DS] = {kMmio + kMiB - 0x10, 0xffff, cpu().segments.seg[DS].access, 0};
    machine->vmem().set_a20(false);
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    ASSERT_EQ(mmio.accesses.size(), 1u);
    EXPECT_EQ(mmio.accesses[0], (Recorder::Access{true, 0, 1, 0x55}));
}

TEST_F(Memory, WithoutTheDirtyLogTheEngineSaysSoAndTheAccountIsLeftAlone) {
    real_mode({0xc6, 0x06, 0x00, 0x40, 0x55, 0xf4});  // mov byte [4000h], 55h;  hlt
    KvmOptions options;
    options.dirty_log = false;
    auto made = make_kvm_engine(*machine, std::move(options));
    if (!made && made.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << made.error().text;
    ASSERT_TRUE(made) << made.error().text;
    engine = std::move(*made);
    EXPECT_FALSE(engine->capabilities().dirty_log);
    machine->vmem().clear_dirty();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->collect_dirty();
    EXPECT_EQ(machine->vmem().dirty_pages(), 0u);
    u8 written = 0;
    machine->vmem().read_value(0x4000, written);
    EXPECT_EQ(written, 0x55);
}

TEST_F(Memory, WritesOfTheGuestAreInTheDirtyAccountAndNoOthers) {
    real_mode({0xc6, 0x06, 0x00, 0x40, 0x55, 0xf4});  // mov byte [4000h], 55h;  hlt
    START_ENGINE();
    EXPECT_TRUE(engine->capabilities().dirty_log);
    engine->collect_dirty();
    machine->vmem().clear_dirty();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    EXPECT_EQ(machine->vmem().dirty_pages(), 0u);
    engine->collect_dirty();
    EXPECT_TRUE(machine->vmem().is_dirty(0x4000));
    EXPECT_EQ(machine->vmem().dirty_pages(), 1u);
    machine->vmem().clear_dirty();
    engine->collect_dirty();
    EXPECT_EQ(machine->vmem().dirty_pages(), 0u);
}

TEST_F(Memory, RomCanBeReadAndNotWritten) {
    const u8 rom[] = {0xaa, 0xbb};
    ASSERT_TRUE(machine->vmem().add_rom(0xd0000, rom));
    // mov al, [10h];  mov byte [10h], 55h;  mov ah, [10h];  hlt -- with DS just below the ROM
    real_mode({0xa0, 0x10, 0x00, 0xc6, 0x06, 0x10, 0x00, 0x55, 0x8a, 0x26, 0x10, 0x00, 0xf4});
    cpu().segments.seg[DS] = {0xd0000 - 0x10, 0xffff, cpu().segments.seg[DS].access, 0xcfff};
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    engine->pull(Groups::General);
    EXPECT_EQ(cpu().general.gpr[RAX] & 0xffff, 0xaaaau);
}

TEST_F(Memory, AHolePunchedBetweenRunsIsMmioFromThenOn) {
    real_mode({0xa0, 0x00, 0x40, 0xf4, 0xa0, 0x00, 0x40, 0xf4});  // mov al, [4000h];  hlt;  the same again
    START_ENGINE();
    EXPECT_EQ(run_on().kind, ExitKind::Halt);
    ASSERT_TRUE(machine->vmem().punch_hole(0x4000, 0x1000));
    engine->pull(Groups::All);
    cpu().events.halted = false;
    engine->push(Groups::Events);
    const Exit exit = engine->run({.host_time = 1'000'000'000});
    EXPECT_EQ(exit.kind, ExitKind::MmioRead);
    EXPECT_EQ(exit.address, 0x4000u);
}

}  // namespace
}  // namespace dualvm

// Instructions of ring 0 that no oracle at ring 3 can be asked about, and no other test executes where they are
// allowed.
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "scene.h"

namespace dualvm::scene {

namespace {

// Keeps what is written, and reads as a counter.
class PortRecorder final : public Device {
public:
    const char* name() const override { return "recorder"; }
    u64 read(u64, unsigned) override { return next_++; }
    void write(u64, unsigned size, u64 value) override {
        for (unsigned i = 0; i < size; ++i) written.push_back(static_cast<u8>(value >> (8 * i)));
    }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}

    std::vector<u8> written;

private:
    u64 next_ = 1;
};

constexpr u16 kPort = 0x300;

class Ring0 : public ::testing::TestWithParam<Scene> {
protected:
    Ring0() : machine_(std::move(*Machine::create({.memory_mebibytes = kMemoryMebibytes}))) {
        lay_out(machine_->vmem(), GetParam());
        machine_->cpu() = first_state(GetParam());
        EXPECT_TRUE(machine_->vio().ports().add(kPort, 4, recorder_));
        engine_ = make_interpreter(*machine_);
    }
    void run(const std::vector<u8>& code, u64 instructions) {
        EXPECT_TRUE(machine_->vmem().write(kCode, code.data(), code.size()));
        const u64 begin = cpu().general.rip;
        engine_->push(Groups::All);
        (void)engine_->run({.instructions = instructions});
        engine_->pull(Groups::All);
        EXPECT_EQ(cpu().general.rip, begin + code.size()) << "a fault";
    }
    CpuFile& cpu() { return machine_->cpu(); }
    u64& reg(Gpr r) { return cpu().general.gpr[r]; }
    // What [RBX] (in 16-bit code [BX]) means is `place`.
    u64 offset(u64 place) { return place - cpu().segments.seg[DS].base; }

    PortRecorder recorder_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
};

TEST_P(Ring0, CltsClearsTaskSwitched) {
    cpu().control.cr0 |= cr0::TS;
    run({0x0f, 0x06}, 1);
    EXPECT_EQ(cpu().control.cr0 & cr0::TS, 0u);
}

// The interpreter has no caches that a guest could see: memory is what was written last.
TEST_P(Ring0, InvdAndWbinvdLeaveMemoryAlone) {
    ASSERT_TRUE(machine_->vmem().write_value(kData, u32{0x12345678}));
    const CpuFile before = cpu();
    run({0x0f, 0x08, 0x0f, 0x09}, 2);
    u32 after = 0;
    EXPECT_TRUE(machine_->vmem().read_value(kData, after));
    EXPECT_EQ(after, 0x12345678u);
    EXPECT_EQ(differences(before, cpu(), Groups::Segments | Groups::Control), "");
}

TEST_P(Ring0, OutsWritesAndInsReadsThePort) {
    const std::vector<u8> text = {'d', 'u', 'a', 'l', 'v', 'm', '!', '!'};
    ASSERT_TRUE(machine_->vmem().write(kData, text.data(), text.size()));
    reg(RSI) = offset(kData);
    reg(RDI) = offset(kData) + 0x100;
    reg(RDX) = kPort;
    run({0x6e, 0x66, 0x6f, 0x6f, 0x6c, 0x66, 0x6d, 0x6d},
        6);  // OUTSB, OUTSW, OUTSD (in either order), INSB, INSW, INSD
    EXPECT_EQ(recorder_.written, std::vector<u8>({'d', 'u', 'a', 'l', 'v', 'm', '!'}));
    std::vector<u8> read(7);
    EXPECT_TRUE(machine_->vmem().read(kData + 0x100, read.data(), read.size()));
    const bool words_first = GetParam().mode != CpuMode::Protected16;
    EXPECT_EQ(read, words_first ? std::vector<u8>({1, 2, 0, 3, 0, 0, 0}) : std::vector<u8>({1, 2, 0, 0, 0, 3, 0}));
}

INSTANTIATE_TEST_SUITE_P(Modes, Ring0,
                         ::testing::Values(Scene{CpuMode::Protected16, 0, Paging::Off, Handlers::Halt},
                                           Scene{CpuMode::Protected32, 0, Paging::Off, Handlers::Halt},
                                           Scene{CpuMode::Long64, 0, Paging::FourLevel, Handlers::Halt}));

// INVLPG: from then on the page table is asked again.
class Invlpg : public Ring0 {};
TEST_P(Invlpg, NextAccessSeesTheNewEntry) {
    const bool wide = GetParam().paging != Paging::TwoLevel;
    // Where scene.cc has the entry of the data's first page.
    const u64 table = 0x13000, entry = table + kData / kPageSize * (wide ? 8 : 4);
    u32 old = 0;
    ASSERT_TRUE(machine_->vmem().read_value(entry, old));
    ASSERT_EQ(old & ~0xfffu, kData);
    ASSERT_TRUE(machine_->vmem().write_value(kData, u32{1}));
    ASSERT_TRUE(machine_->vmem().write_value(kData + kPageSize, u32{2}));
    // MOV EAX, [EBX] fills the TLB; the entry is changed by MOV [EDX], ECX; INVLPG [EBX]; MOV ESI, [EBX]
    reg(RBX) = kData;
    reg(RDX) = entry;
    reg(RCX) = old + kPageSize;
    run({0x8b, 0x03, 0x89, 0x0a, 0x0f, 0x01, 0x3b, 0x8b, 0x33}, 4);
    EXPECT_EQ(reg(RAX), 1u);
    EXPECT_EQ(reg(RSI), 2u);
}
INSTANTIATE_TEST_SUITE_P(Modes, Invlpg,
                         ::testing::Values(Scene{CpuMode::Protected32, 0, Paging::TwoLevel, Handlers::Halt},
                                           Scene{CpuMode::Protected32, 0, Paging::Pae, Handlers::Halt},
                                           Scene{CpuMode::Long64, 0, Paging::FourLevel, Handlers::Halt}));

}  // namespace

}  // namespace dualvm::scene

// A machine of 4 MiB under the KVM engine, with a few bytes of code in it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/machine.h"

namespace dualvm {

// What was written to it, and what it answers.
class Recorder final : public Device {
public:
    struct Access {
        bool write;
        u64 offset;
        unsigned size;
        u64 value;
        bool operator==(const Access&) const = default;
    };
    const char* name() const override { return "recorder"; }
    u64 read(u64 offset, unsigned size) override {
        accesses.push_back({false, offset, size, answer});
        return answer++;
    }
    void write(u64 offset, unsigned size, u64 value) override { accesses.push_back({true, offset, size, value}); }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}

    bool posted_writes() const override { return posted; }

    bool posted = false;
    std::vector<Access> accesses;
    u64 answer = 0x11223344;
};

// Requests one interrupt after the other.
class FakePic final : public InterruptSource {
public:
    bool pending() const override { return wanted != 0; }
    u8 acknowledge() override {
        --wanted;
        return vector;
    }
    unsigned wanted = 0;
    u8 vector = 0x20;
};

class SmallGuest : public testing::Test {
protected:
    static constexpr u64 kCode = 0x8000, kStack = 0x7000, kMmio = 0xa0000;
    static constexpr u16 kPort = 0x500;

    // Makes the machine, before the engine: its memory can still be changed.
    // May be called again, for another one.
    void SetUp() override {
        engine.reset();  // it refers to the machine
        auto made = Machine::create({.memory_mebibytes = 4, .clock = ClockKind::Host});
        ASSERT_TRUE(made) << made.error().text;
        machine = std::move(*made);
        ASSERT_TRUE(machine->vio().ports().add(kPort, 8, ports));
        ASSERT_TRUE(machine->vio().mmio().add(kMmio, 0x1000, mmio));
        ASSERT_TRUE(machine->vmem().punch_hole(kMmio, 0x20000));
        machine->set_interrupt_source(&pic);
    }

    CpuFile& cpu() { return machine->cpu(); }

    // Real mode, all segments at 0.
    void real_mode(const std::vector<u8>& code) {
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        cpu().reset();
        for (Segment& s : cpu().segments.seg) s.base = 0, s.selector = 0;
        cpu().general.rip = kCode;
        cpu().general.gpr[RSP] = kStack;
    }

    // 64-bit mode at ring 3, with a page of 2 MiB at 0 for everybody and I/O allowed.
    void user_mode(const std::vector<u8>& code) {
        constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kForAll = 7, kLarge = 0x80;
        ASSERT_TRUE(machine->vmem().write(kCode, code.data(), code.size()));
        machine->vmem().write_value(kPml4, kPdpt | kForAll);
        machine->vmem().write_value(kPdpt, kPd | kForAll);
        machine->vmem().write_value(kPd, kForAll | kLarge);
        cpu().reset();
        constexpr u32 kAll = Segment::P | Segment::S | Segment::DplMask | Segment::G;
        for (Segment& s : cpu().segments.seg) s = {0, 0xffffffff, kAll | Segment::DB | 3, 0x2b};
        cpu().segments.seg[CS] = {0, 0xffffffff, kAll | Segment::L | 11, 0x33};
        cpu().control.cr0 = cr0::PE | cr0::MP | cr0::ET | cr0::NE | cr0::PG;
        cpu().control.cr3 = kPml4;
        cpu().control.cr4 = cr4::PAE;
        cpu().control.efer = efer::LME | efer::LMA;
        cpu().general.rip = kCode;
        cpu().general.gpr[RSP] = kStack;
        cpu().general.rflags |= rflags::IOPL;
    }

    // The engine, with the state that the CpuFile holds; skips the test where there is none.
    void start(std::unique_ptr<Engine> rescue = nullptr) {
        KvmOptions options;
        options.rescue = std::move(rescue);
        auto made = make_kvm_engine(*machine, std::move(options));
        if (!made && made.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << made.error().text;
        ASSERT_TRUE(made) << made.error().text;
        engine = std::move(*made);
    }

    // Runs until an exit that is not a port or MMIO access, or for a second.
    Exit run_on() {
        for (unsigned turns = 0; turns < 100'000; ++turns) {
            Exit exit = engine->run({.host_time = 1'000'000'000});
            if (handle_exit(*machine, exit) != Outcome::Continue || exit.kind == ExitKind::BudgetUsed) return exit;
            machine->clear_attention();
        }
        return {};
    }

    FakePic pic;
    Recorder ports, mmio;
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Engine> engine;
};

// start(), and leave the test if it has skipped or failed.
#define START_ENGINE(...) \
    start(__VA_ARGS__);   \
    if (testing::Test::IsSkipped() || HasFatalFailure()) return

}  // namespace dualvm

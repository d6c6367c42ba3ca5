// The property test can fail: an error in one transferred field does not escape it.
#include <gtest/gtest.h>

#include "guest_run.h"

namespace dualvm {
namespace {

using Kind = study::SwitchCondition::Kind;

// Another engine, to which one thing comes through wrong.
class Corrupting final : public Engine {
public:
    using Corrupt = void (*)(CpuFile&);
    Corrupting(Machine& machine, std::unique_ptr<Engine> engine, Corrupt corrupt)
        : machine_(machine), engine_(std::move(engine)), corrupt_(corrupt) {}

    const char* name() const override { return engine_->name(); }
    Capabilities capabilities() const override { return engine_->capabilities(); }
    TriedCapabilities tried_capabilities() const override { return engine_->tried_capabilities(); }
    Exit run(const Budget& budget) override { return engine_->run(budget); }
    void kick() override { engine_->kick(); }
    void pull(Groups groups) override { engine_->pull(groups); }
    void push(Groups groups) override {
        const CpuFile as_it_is = machine_.cpu();
        corrupt_(machine_.cpu());
        engine_->push(groups);
        machine_.cpu() = as_it_is;
    }
    void finish_access() override { engine_->finish_access(); }
    u64 instructions() const override { return engine_->instructions(); }
    void collect_dirty() override { engine_->collect_dirty(); }
    EngineStatistics statistics() const override { return engine_->statistics(); }

private:
    Machine& machine_;
    std::unique_ptr<Engine> engine_;
    Corrupt corrupt_;
};

struct Planted {
    const char* what;
    Corrupting::Corrupt corrupt;
    const char* found;  // in what the property test says
};

const Planted kPlanted[] = {
    {"GeneralRegister", [](CpuFile& c) { c.general.gpr[R15] ^= u64{1} << 63; }, "r15: "},
    {"SegmentAttribute", [](CpuFile& c) { c.segments.seg[ES].access ^= Segment::AVL; }, "es.access: "},
    {"SegmentLimit", [](CpuFile& c) { c.segments.seg[FS].limit ^= 0x1000; }, "fs.limit: "},
    {"DescriptorTable", [](CpuFile& c) { c.segments.gdtr.limit ^= 8; }, "gdtr.limit: "},
    {"ControlRegister", [](CpuFile& c) { c.control.cr2 ^= 1; }, "cr2: "},
    {"DebugRegister", [](CpuFile& c) { c.debug.dr[3] ^= 1; }, "dr3: "},
    {"Msr", [](CpuFile& c) { c.msrs.sysenter_esp ^= 0x10; }, "sysenter_esp: "},
    {"TscAux", [](CpuFile& c) { c.msrs.tsc_aux ^= 1; }, "tsc_aux: "},
    {"Mxcsr", [](CpuFile& c) { c.fpu.mxcsr ^= 0x20; }, "mxcsr: "},
    {"X87ControlWord", [](CpuFile& c) { c.fpu.fcw ^= 0x400; }, "fcw: "},
    {"VectorRegister", [](CpuFile& c) { c.fpu.vector[15].bytes[15] ^= 1; }, "ymm15: "},
    {"NmiMask", [](CpuFile& c) { c.events.nmi_masked = !c.events.nmi_masked; }, "events in flight differ"},
};

class PlantedError : public testing::TestWithParam<Planted> {
protected:
    void is_found(Other other, const study::SwitchCondition& back) {
        const GuestOfManifest& guest = guest_of_manifest("hello64");
        const auto alone = run_guest(guest, other, {});
        ASSERT_TRUE(alone) << alone.error().text;
        // Near the end, where the guest has set up all that it sets up.
        const study::SwitchPlan plan{
            .rules = {{{Kind::Instructions, alone->instructions - 20}, "other"}, {back, "interp"}}};
        const auto run = [&](Corrupting::Corrupt corrupt) {
            return run_guest(guest, other, plan, [&](Machine& machine, std::unique_ptr<Engine> engine) {
                return std::make_unique<Corrupting>(machine, std::move(engine), corrupt);
            });
        };
        const auto sound = run([](CpuFile&) {});
        if (!sound && sound.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << sound.error().text;
        ASSERT_TRUE(sound) << sound.error().text;
        EXPECT_EQ(differences(*alone, *sound), "");
        const auto spoilt = run(GetParam().corrupt);
        ASSERT_TRUE(spoilt) << spoilt.error().text;
        EXPECT_NE(differences(*alone, *spoilt).find(GetParam().found), std::string::npos)
            << differences(*alone, *spoilt);
    }
};

TEST_P(PlantedError, OnTheWayToAnotherInterpreterIsFound) { is_found(Other::Interp, {Kind::Instructions, 5}); }
TEST_P(PlantedError, OnTheWayToKvmIsFound) { is_found(Other::Kvm, {Kind::Time, 1'000}); }

INSTANTIATE_TEST_SUITE_P(Fields, PlantedError, testing::ValuesIn(kPlanted),
                         [](const auto& planted) { return planted.param.what; });

}  // namespace
}  // namespace dualvm

// What an engine is given it gives back: the state of guests at any point, those that this host's KVM cannot run too.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dualvm/interp/interpreter.h"
#include "dualvm/kvm/kvm_engine.h"
#include "guest_run.h"

namespace dualvm {
namespace {

class RoundTrip : public testing::TestWithParam<GuestOfManifest> {};

TEST_P(RoundTrip, KvmGivesBackWhatTheInterpreterHas) {
    auto guest = load_guest(GetParam());
    ASSERT_TRUE(guest) << guest.error().text;
    Machine& machine = *guest->machine;
    fit_cpu_to_kvm(machine);
    const auto interp = make_interpreter(machine, {.without = {}, .host_tsc = true});
    const CpuFile at_first = machine.cpu();
    auto kvm = make_kvm_engine(machine, {});
    if (!kvm && kvm.error().status == ExitStatus::EngineUnavailable) GTEST_SKIP() << kvm.error().text;
    ASSERT_TRUE(kvm) << kvm.error().text;
    machine.cpu() = at_first;
    interp->push(Groups::All);
    // Steps that grow: a guest's beginning is where it changes modes.
    u64 point = 0;
    for (u64 step = 1; !machine.pending_request() && point < 10'000'000; step += step / 8 + 1) {
        machine.clear_attention();
        machine.clock().fire_due();
        const u64 before = interp->instructions();
        const Exit end = interp->run({.instructions = step});
        ASSERT_TRUE(end.kind == ExitKind::BudgetUsed || end.kind == ExitKind::SingleStep ||
                    end.kind == ExitKind::Attention)
            << to_string(end.kind);
        point += interp->instructions() - before;
        interp->pull(Groups::All);
        const CpuFile given = machine.cpu();
        (*kvm)->push(Groups::All);
        const Exit exit = (*kvm)->run({.instructions = 0});
        if (exit.kind == ExitKind::Failure && exit.text.find("which this host's KVM lacks") != std::string::npos) {
            GTEST_SKIP() << exit.text;  // told, and not just different
        }
        ASSERT_EQ(exit.kind, ExitKind::BudgetUsed) << exit.text;
        machine.cpu() = CpuFile{};
        (*kvm)->pull(Groups::All);
        // What this KVM does not know it does not touch: those stay as they are in a hand-over, too.
        machine.cpu().msrs.misc_enable = given.msrs.misc_enable;
        ASSERT_EQ(differences(given, machine.cpu(), Groups::All), "")
            << GetParam().name << " after " << point << " instructions\n"
            << to_text(given);
        machine.cpu() = given;
    }
}

INSTANTIATE_TEST_SUITE_P(Guests, RoundTrip, testing::ValuesIn(guests_to_switch()), [](const auto& guest) {
    std::string name = guest.param.name;
    for (char& c : name) c = c == '-' ? '_' : c;
    return name;
});

}  // namespace
}  // namespace dualvm

// An engine that does as a test says, on a machine of its own.
#pragma once

#include <functional>

#include "dualvm/machine.h"

namespace dualvm {

class ScriptedEngine final : public Engine {
public:
    using Step = std::function<Exit(const Budget&)>;
    ScriptedEngine(Step step, Capabilities capabilities) : step_(std::move(step)), capabilities_(capabilities) {}

    const char* name() const override { return "scripted"; }
    Capabilities capabilities() const override { return capabilities_; }
    TriedCapabilities tried_capabilities() const override { return {.single_step = true}; }
    Exit run(const Budget& budget) override {
        Exit exit = step_(budget);
        ++statistics_.exits[static_cast<std::size_t>(exit.kind)];
        return exit;
    }
    void kick() override {}
    void pull(Groups) override { ++statistics_.pulls; }
    void push(Groups) override { ++statistics_.pushes; }
    void finish_access() override {
        if (on_finish) on_finish();
    }
    u64 instructions() const override { return executed; }
    EngineStatistics statistics() const override { return statistics_; }

    u64 executed = 0;
    std::function<void()> on_finish;

private:
    Step step_;
    Capabilities capabilities_;
    EngineStatistics statistics_;
};

}  // namespace dualvm

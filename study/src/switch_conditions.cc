#include "switch_conditions.h"

#include <fmt/format.h>

#include <algorithm>

namespace dualvm::study {

using Kind = SwitchCondition::Kind;

std::string to_text(const SwitchCondition& condition) {
    const u64 value = condition.value.value_or(0);
    switch (condition.kind) {
        case Kind::Instructions: return fmt::format("insn:{}", value);
        case Kind::Rip: return fmt::format("rip:{:#x}", value);
        case Kind::Cr3: return condition.value ? fmt::format("cr3:{:#x}", value) : "cr3";
        case Kind::Ring: return fmt::format("ring:{}", value);
        case Kind::Program: return "program";
        case Kind::Kernel: return "kernel";
        case Kind::Port: return fmt::format("port:{:#x}", value);
        case Kind::Time: return fmt::format("time:{}us", value / 1'000);
    }
    return "?";
}

bool is_state(Kind kind) { return kind != Kind::Instructions && kind != Kind::Port && kind != Kind::Time; }

Groups groups_of(Kind kind) {
    if (kind == Kind::Rip) return Groups::General;
    if (kind == Kind::Cr3) return Groups::Control;
    return Groups::General | Groups::Segments | Groups::Control;  // the mode, the CPL
}

bool has_port_rule(const SwitchPlan& plan) {
    return std::any_of(plan.rules.begin(), plan.rules.end(),
                       [](const SwitchRule& rule) { return rule.when.kind == Kind::Port; });
}

std::string why_not_watched(const SwitchCondition& when, const Engine& engine) {
    if (when.kind == Kind::Port || when.kind == Kind::Time) return {};
    const Capabilities can = engine.capabilities();
    if (can.exact_instruction_counts) return {};
    if (can.stops_at_modes && (when.kind == Kind::Program || when.kind == Kind::Kernel)) return {};
    if (engine.tried_capabilities().single_step) return {};
    return fmt::format(
        "can {} on this host; let it wait for port:P or time:T, or hand the guest to an engine that counts (interp) "
        "before",
        when.kind == Kind::Instructions ? "neither count instructions nor execute them one by one"
                                        : "not execute instructions one by one, which watching for this takes");
}

}  // namespace dualvm::study

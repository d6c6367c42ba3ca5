// What a switch's rules may wait for, and who can watch for it.
#pragma once

#include "dualvm/study/switching.h"

namespace dualvm::study {

// Conditions of the guest's registers, which are looked at between instructions.
bool is_state(SwitchCondition::Kind kind);
// The groups of CpuFile that one of these looks at.
Groups groups_of(SwitchCondition::Kind kind);

bool has_port_rule(const SwitchPlan& plan);

// Why an engine that has the guest cannot tell when this happens, as the end of a sentence that says what to do; empty
// if it can.
std::string why_not_watched(const SwitchCondition& when, const Engine& engine);

}  // namespace dualvm::study

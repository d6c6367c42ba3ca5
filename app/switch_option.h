// --switch, as it is written on the command line.
#pragma once

#include <string>
#include <string_view>

#include "dualvm/study/switching.h"
#include "values.h"

namespace dualvm::app {

// "insn:1000000,to=kvm", "port:0x80,to=interp"; "repeat" makes the plan start over. What is wrong with it otherwise, or
// with its place behind what the plan has already.
Parsed<void> add_switch(study::SwitchPlan& plan, std::string_view text);

// What is wrong with a plan that is complete, empty if nothing is.
std::string what_is_wrong_with(const study::SwitchPlan& plan);

}  // namespace dualvm::app

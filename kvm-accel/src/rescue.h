// Another engine on the same machine executes one instruction that KVM cannot.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "dualvm/machine.h"

namespace dualvm::kvm {

// In which groups two files differ; the time stamp counter, which is time, does not count.
Groups changed_groups(const CpuFile& before, const CpuFile& after);

class Rescuer {
public:
    Rescuer(Machine& machine, std::unique_ptr<Engine> engine) : machine_(machine), engine_(std::move(engine)) {}

    bool available() const { return engine_ != nullptr; }

    struct Result {
        bool executed = false;  // false: it is beyond that engine, too, or changes nothing and would go on for ever
        Exit exit;              // Halt and Shutdown are for the caller to hand on
        Groups changed = Groups::None;
        bool wrote_memory = false;
        u64 length = 0;  // of the instruction if it went on to the next one, else 0
    };
    // Executes the instruction at machine.cpu(), which must be up to date in all groups, and is again afterwards.
    Result execute_one();

private:
    Machine& machine_;
    std::unique_ptr<Engine> engine_;
};

// "rescued 9b", "rescued 48 0f c7 0b": at most kNames different ones, so that a hostile guest cannot fill the host's
// memory with names; then "rescued others".
inline constexpr std::size_t kRescueNames = 64;
void count_rescue(std::map<std::string, u64>& named, const Exit& failure, u64 length);

}  // namespace dualvm::kvm

#include "optimisations.h"

#include <algorithm>
#ifdef DUALVM_WITHOUT_BY_ENVIRONMENT
#include <cstdlib>
#include <string_view>
#endif

#include "dualvm/interp/interpreter.h"

namespace dualvm {

namespace interp {

namespace {

struct Switch {
    InterpreterOptimisation described;
    bool Optimisations::*in_use;
};

// In the order in which the book explains them.
constexpr Switch kSwitches[] = {
    {{"fast", "threaded handlers made for one form of an instruction; without: the reference implementation of each"},
     &Optimisations::fast},
    {{"flags", "no arithmetic flags where the next instruction that sets them can be seen"}, &Optimisations::flags},
    {{"fuse", "one handler for two instructions that often follow each other"}, &Optimisations::fuse},
    {{"links", "a branch remembers the block it goes to"}, &Optimisations::links},
    {{"indirect", "a table of lately used blocks by address, for returns and indirect jumps"},
     &Optimisations::indirect},
    {{"tlb", "host addresses of lately used guest pages; without: a page walk for every access"}, &Optimisations::tlb},
    {{"sse",
      "SSE and x87 instructions on the host's units; without: with a load and a save of all of their state for each"},
     &Optimisations::sse},
    {{"walks", "page walks begin at the table where the last one nearby ended"}, &Optimisations::walks},
    {{"spaces", "translations of several address spaces are kept where the guest uses PCIDs"}, &Optimisations::spaces},
    {{"strings", "REP MOVS and REP STOS move blocks, REP SCAS and CMPS compare them"}, &Optimisations::strings},
};

#ifdef DUALVM_WITHOUT_BY_ENVIRONMENT
// So that all tests, whatever they run and however they start it, can be run without one of these.
bool test_is_without(const char* name) {
    const char* without = std::getenv("DUALVM_WITHOUT");
    return without != nullptr && std::string_view(without) == name;
}
#else
constexpr bool test_is_without(const char*) { return false; }
#endif

}  // namespace

Optimisations all_optimisations_but(const std::vector<std::string>& names) {
    Optimisations optimisations;
    for (const Switch& each : kSwitches) {
        const char* name = each.described.name;
        if (std::find(names.begin(), names.end(), name) != names.end() || test_is_without(name)) {
            optimisations.*each.in_use = false;
        }
    }
    return optimisations;
}

}  // namespace interp

const std::vector<InterpreterOptimisation>& interpreter_optimisations() {
    static const std::vector<InterpreterOptimisation> all = [] {
        std::vector<InterpreterOptimisation> list;
        for (const interp::Switch& each : interp::kSwitches) list.push_back(each.described);
        return list;
    }();
    return all;
}

}  // namespace dualvm

// What makes the interpreter fast, each part of it with a switch: --no-opt=NAME leaves it out, to see what it gives.
#pragma once

#include <string>
#include <vector>

namespace dualvm::interp {

// True: in use. The names are those of the command line; optimisations.cc says what each is.
struct Optimisations {
    bool fast = true, flags = true, fuse = true, links = true, indirect = true, tlb = true, walks = true,
         strings = true, sse = true, spaces = true;
};

Optimisations all_optimisations_but(const std::vector<std::string>& names);

}  // namespace dualvm::interp

// One life of a guest of nothing but chance: a scene, registers, memory and code, run for a number of instructions by
// the interpreter with all of its optimisations and with few. Both must come to the same end.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dualvm/interp/interpreter.h"
#include "scene.h"

namespace dualvm::scene {

struct Life {
    std::size_t scene = 0;  // index in all_scenes()
    CpuFile cpu;
    std::vector<u8> code, data;              // to kCode and kData
    std::vector<std::pair<u64, u64>> pokes;  // eight bytes each, to an address: page tables, descriptors
    u64 instructions = 1;                    // at most
};

class Lives {
public:
    Lives();
    ~Lives();

    // Empty if all went well; otherwise what did not.
    std::string live(const Life& life);

    // How the last life ended, with few optimisations.
    const CpuFile& plain_cpu() const;
    const VMem& memory() const;

    u64 instructions() const { return instructions_; }  // of all lives so far, of one of the two

private:
    struct Machinery;
    std::vector<std::array<std::unique_ptr<Machinery>, 2>> both_;  // by scene
    std::size_t last_ = 0;
    u64 instructions_ = 0;
};

}  // namespace dualvm::scene

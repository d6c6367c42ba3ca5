// One life of a guest of nothing but chance: a scene, registers, memory and code, run for a number of instructions by
// the interpreter with all of its optimisations and with few. Both must come to the same end.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dualvm/interp/interpreter.h"
#include "scene.h"

namespace dualvm::scene {

struct Life {
    Scene scene;
    CpuFile cpu;
    std::vector<u8> code, data;  // to kCode and kData
    u64 instructions = 1;        // at most
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

    u64 instructions() const;  // of all lives so far, of one of the two
    u64 faults() const;        // exceptions delivered

private:
    struct Machinery;  // a machine with its engine
    std::vector<std::unique_ptr<Machinery>> both_;
};

}  // namespace dualvm::scene

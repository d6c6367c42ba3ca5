// One instruction, executed once by the interpreter in ring 0 of its mode: does it raise #UD?
#pragma once

#include <memory>
#include <span>

#include "dualvm/interp/interpreter.h"
#include "scene.h"

namespace dualvm::scene {

class ExecuteOnce {
public:
    explicit ExecuteOnce(unsigned code_bits);  // 16, 32 (protected mode) or 64

    bool undefined(std::span<const u8> instruction);

private:
    Scene scene_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace dualvm::scene

// A scene: a machine in one mode, ring and kind of paging, with descriptor tables, handlers and a task state in its
// memory, ready to run any bytes as code.
#pragma once

#include <string>
#include <vector>

#include "dualvm/machine.h"

namespace dualvm::scene {

enum class Paging : u8 { Off, TwoLevel, Pae, FourLevel };  // SDM vol. 3A, 4.1.1

// What the gates for exceptions and interrupts lead to.
enum class Handlers : u8 {
    Halt,  // HLT: the first fault ends the run
    Code,  // ring 0, at a place in the code under test: a fault goes on there
};

struct Scene {
    CpuMode mode = CpuMode::Real;
    u32 ring = 0;
    Paging paging = Paging::Off;
    Handlers handlers = Handlers::Halt;
};

// Every mode with every ring and kind of paging that it has.
const std::vector<Scene>& all_scenes();
std::string to_text(const Scene& scene);

// Guest-physical places, which are the linear ones as well. CS:0 is kCode, DS:0 kData and SS:0 kStack where segments
// have a base of their own (real, virtual-8086 and 16-bit protected mode); elsewhere they are flat.
inline constexpr u64 kMemoryMebibytes = 1;
inline constexpr u64 kHandlers = 0x4000, kHandlerBytes = 16, kInnerStack = 0x8000;
inline constexpr u64 kCode = 0x20000, kCodeBytes = 0x2000;  // behind it the next page is not mapped
inline constexpr u64 kData = 0x30000, kDataBytes = 0x4000;  // its last page is read-only
inline constexpr u64 kStack = 0x40000, kStackBytes = 0x2000;

// Zeros all memory and writes the scene's tables.
void lay_out(VMem& memory, const Scene& scene);

// Registers to begin with: RIP at kCode, RSP in the stack, other general registers 0.
CpuFile first_state(const Scene& scene);

}  // namespace dualvm::scene

#include "execute_once.h"

#include <algorithm>
#include <array>

namespace dualvm::scene {

namespace {

constexpr u8 kHlt = 0xf4;
constexpr unsigned kUd = 6;

Scene scene_of(unsigned code_bits) {
    switch (code_bits) {
        case 16: return {CpuMode::Protected16, 0, Paging::Off, Handlers::Halt};
        case 32: return {CpuMode::Protected32, 0, Paging::Off, Handlers::Halt};
        default: return {CpuMode::Long64, 0, Paging::FourLevel, Handlers::Halt};
    }
}

}  // namespace

ExecuteOnce::ExecuteOnce(unsigned code_bits)
    : scene_(scene_of(code_bits)),
      machine_(std::move(*Machine::create({.memory_mebibytes = kMemoryMebibytes}))),
      engine_(make_interpreter(*machine_)) {
    lay_out(machine_->vmem(), scene_);
}

bool ExecuteOnce::undefined(std::span<const u8> instruction) {
    VMem& memory = machine_->vmem();
    std::array<u8, 16> code;
    code.fill(kHlt);
    std::copy(instruction.begin(), instruction.end(), code.begin());
    (void)memory.write(kCode, code.data(), code.size());
    (void)memory.fill(kData, kHlt, kPageSize);  // a jump there ends as well

    machine_->cpu() = first_state(scene_);
    const CpuFile& cpu = machine_->cpu();
    GeneralGroup& general = machine_->cpu().general;
    // Memory operands with RAX, or with BX and SI, point at aligned data.
    const u64 data = kData - cpu.segments.seg[DS].base;
    for (Gpr r : {RAX, RBX, RDI}) general.gpr[r] = data;
    general.gpr[RCX] = 1;
    const u64 begin = general.rip;
    engine_->push(Groups::All);
    (void)engine_->run({.instructions = 2});  // the instruction, and the HLT behind it or of a handler
    (void)machine_->take_request();
    engine_->pull(Groups::General | Groups::Segments);

    // #UD is a fault: the saved instruction pointer, on top of the stack, is that of the instruction.
    const Segment& stack = cpu.segments.seg[SS];
    const u64 offset_mask = stack.has(Segment::DB) ? ~u64{0} : 0xffff;
    u16 saved = 0;
    return general.rip == kHandlers + kUd * kHandlerBytes + 1 &&
           memory.read_value(stack.base + (general.gpr[RSP] & offset_mask), saved) && saved == (begin & 0xffff);
}

}  // namespace dualvm::scene

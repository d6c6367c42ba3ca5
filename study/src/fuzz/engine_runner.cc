#include "dualvm/study/engine_runner.h"

#include <time.h>

#include "ring3_world.h"

namespace dualvm::study {

namespace {

// More than any case needs; elements of a string instruction count, and the window has no more than this many.
constexpr u64 kMostInstructions = 100'000;
constexpr Nanoseconds kLook = 100'000'000;
constexpr double kMostSeconds = 0.2;  // of the CPU's time, where instructions are not counted
constexpr u8 kPageFault = 14;

constexpr bool has_error_code(u64 vector) {
    constexpr u32 kThose = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
    return (kThose >> vector & 1) != 0;
}

double cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

Expected<std::unique_ptr<EngineRunner>> EngineRunner::create(std::string name, const MakeEngine& make) {
    auto machine = Machine::create({.memory_mebibytes = world::kMebibytes});
    if (!machine) return tl::unexpected(machine.error());
    std::unique_ptr<EngineRunner> runner(new EngineRunner);
    runner->name_ = std::move(name);
    runner->machine_ = std::move(*machine);
    world::build(*runner->machine_, runner->kernel_);
    runner->machine_->cpu() = runner->kernel_;
    auto engine = make(*runner->machine_);
    if (!engine) return tl::unexpected(engine.error());
    runner->engine_ = std::move(*engine);
    runner->direct_ = !runner->engine_->capabilities().exact_instruction_counts;
    Case nop;
    nop.code = {0x90};
    CaseResult result;
    runner->run(nop, result);
    if (!result.reached_filler(nop)) {
        return fail(ExitStatus::EngineUnavailable,
                    "the engine " + runner->name_ + " cannot run a NOP at ring 3 and come back: " + result.text);
    }
    if (runner->direct_) runner->find_distrust();
    return runner;
}

// What the CPU itself does with these few is known.
void EngineRunner::find_distrust() {
    constexpr u8 kInvalidOpcode = 6, kStackFault = 12, kGeneralProtection = 13;
    distrust_ = common_distrust(*this);
    CaseResult result;
    Case selector;
    selector.code = {0x8c, 0xd8};  // mov eax, ds
    run(selector, result);
    distrust_.selectors = result.general.gpr[RAX] != ring3::kData;

    // Where KVM emulates what raised #GP at ring 3, its emulator may not know the instruction, or not know that it
    // faults.
    Case misaligned;
    misaligned.code = {0x0f, 0x59, 0x00};  // mulps xmm0, [rax]
    misaligned.gpr[RAX] = ring3::kWindow + 1;
    run(misaligned, result);
    if (result.vector != kGeneralProtection || result.general.rip != misaligned.code_begin()) {
        distrust_.vectors = 1u << kInvalidOpcode | 1u << kStackFault | 1u << kGeneralProtection;
    }
}

bool EngineRunner::can_run(CpuMode mode) const {
    if (mode != CpuMode::Long64 && mode != CpuMode::Compatibility32) return false;
    if (!direct_) return true;
    return (engine_->tried_capabilities().direct_modes_ring3 >> static_cast<unsigned>(mode) & 1) != 0;
}

// Puts the case into memory and the CPU in front of the kernel's IRETQ. Only what differs from what is there is moved.
void EngineRunner::enter(const Case& c) {
    VMem& vmem = machine_->vmem();
    const Window& window = c.window;
    vmem.fill(world::kCodePage + code_offset_, ring3::kFiller, code_bytes_);
    vmem.write(world::kCodePage + c.code_offset, c.code.data(), c.code.size());
    code_offset_ = c.code_offset;
    code_bytes_ = c.code.size();
    vmem.write(world::kWindowPages, window.data(), window.size());
    const world::Frame frame{.rip = c.code_begin(),
                             .cs = c.long_mode() ? ring3::kCode64 : ring3::kCode32,
                             .rflags = c.rflags,
                             .rsp = c.gpr[RSP],
                             .ss = ring3::kData};
    vmem.write_value(world::kStackPage + world::kEntryFrame - world::kStack, frame);

    CpuFile& cpu = machine_->cpu();
    cpu.general = kernel_.general;
    cpu.general.gpr = c.gpr;
    cpu.general.gpr[RSP] = world::kEntryFrame;
    cpu.events = {};
    Groups groups = Groups::General | Groups::Events;
    if (must_restore_) {
        cpu.segments = kernel_.segments;
        cpu.control = kernel_.control;
        groups = groups | Groups::Segments | Groups::Control;
    }
    if (must_restore_ || c.fpu != fpu_) {
        cpu.fpu = c.fpu;
        groups = groups | Groups::Fpu;
    }
    must_restore_ = false;
    engine_->push(groups);
}

void EngineRunner::lost(CaseResult& result, std::string text) {
    result.ending = Ending::Lost;
    result.text = std::move(text);
    must_restore_ = true;
}

void EngineRunner::read_result(CaseResult& result) {
    CpuFile& cpu = machine_->cpu();
    engine_->pull(Groups::General | Groups::Fpu);
    // HLT leaves RIP behind itself.
    const u64 vector = (cpu.general.rip - world::kHandlers) / world::kVectorStride;
    if (cpu.general.rip < world::kHandlers || vector >= world::kVectors) {
        return lost(result, "the kernel halted elsewhere than in an exception's handler");
    }
    const bool error_code = has_error_code(vector);
    const u64 size = sizeof(world::Frame) + (error_code ? 8 : 0);
    const u64 at = world::kStackPage + kPageSize - size;
    result.ending = Ending::Exception;
    result.vector = static_cast<u8>(vector);
    result.error_code = 0;
    if (error_code) machine_->vmem().read_value(at, result.error_code);
    world::Frame frame{};
    machine_->vmem().read_value(at + (error_code ? 8 : 0), frame);
    result.cr2 = 0;
    if (vector == kPageFault) {
        engine_->pull(Groups::Control);
        result.cr2 = cpu.control.cr2;
    }
    result.general = cpu.general;
    result.general.gpr[RSP] = frame.rsp;
    result.general.rip = frame.rip;
    result.general.rflags = frame.rflags;
    result.fpu = fpu_ = cpu.fpu;
    machine_->vmem().read(world::kWindowPages, result.window.data(), result.window.size());
}

void EngineRunner::run(const Case& c, CaseResult& result) {
    result.text.clear();
    enter(c);
    Exit exit;
    if (direct_) {
        const double begin = cpu_seconds();
        do {
            exit = engine_->run({.host_time = kLook});
        } while (exit.kind == ExitKind::BudgetUsed && cpu_seconds() - begin < kMostSeconds);
    } else {
        exit = engine_->run({.instructions = kMostInstructions});
    }
    switch (exit.kind) {
        case ExitKind::Halt: return read_result(result);
        case ExitKind::BudgetUsed:
            result.ending = Ending::NoEnd;
            must_restore_ = true;
            return;
        case ExitKind::Shutdown: return lost(result, "triple fault");
        case ExitKind::Failure: return lost(result, exit.text);
        default: return lost(result, std::string("it ended with ") + to_string(exit.kind));
    }
}

}  // namespace dualvm::study

#include "dualvm/machine.h"

#include <fmt/format.h>

#include <cstring>

namespace dualvm {

Expected<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config) {
    if (config.cpus == 0) return fail(ExitStatus::BadImage, "cannot make a machine without a CPU");
    auto vmem = VMem::create(config.memory_mebibytes);
    if (!vmem) return tl::unexpected(vmem.error());
    auto machine = std::unique_ptr<Machine>(new Machine);
    machine->config_ = config;
    machine->vmem_ = std::move(*vmem);
    if (config.clock == ClockKind::Virtual) {
        auto clock = std::make_unique<VirtualClock>();
        machine->virtual_clock_ = clock.get();
        machine->clock_ = std::move(clock);
    } else {
        machine->clock_ = std::make_unique<HostClock>();
    }
    machine->clock_->on_earlier_deadline([m = machine.get()] { m->set_attention(); });
    machine->cpus_.resize(config.cpus);
    for (CpuFile& cpu : machine->cpus_) cpu.reset();
    return machine;
}

void Machine::reset() {
    for (CpuFile& cpu : cpus_) cpu.reset();
    for (const auto& device : devices_) device->reset();
    vmem_->set_a20(true);
    request_.reset();
    attention_ = nmi_raised_ = fpu_error_ignored_ = false;
}

void Machine::request(Request request) {
    if (!request_) request_ = request;  // the first one wins: the guest should have ended there
    attention_ = true;
}

std::optional<Request> Machine::take_request() {
    auto taken = request_;
    request_.reset();
    return taken;
}

namespace {

u64 load(const u8* from, unsigned size) {
    u64 value = 0;
    std::memcpy(&value, from, size);
    return value;
}

// The bus is slow, and a timer may be due when it has answered: before the instructions that the engine was given for
// the way there are used up.
void port_cycle(Machine& machine) {
    VirtualClock* clock = machine.virtual_clock();
    if (clock == nullptr) return;
    clock->wait_for_bus();
    if (clock->next_deadline() <= clock->now()) machine.set_attention();
}

Outcome dispatch(Machine& machine, Exit& exit) {
    VIo& vio = machine.vio();
    switch (exit.kind) {
        case ExitKind::PortRead:
            for (u32 i = 0; i < exit.count; ++i) {
                port_cycle(machine);
                const u64 value = vio.read_port(static_cast<u16>(exit.address), exit.size);
                std::memcpy(exit.data + u64{i} * exit.size, &value, exit.size);
            }
            return Outcome::Continue;
        case ExitKind::PortWrite:
            for (u32 i = 0; i < exit.count; ++i) {
                port_cycle(machine);
                vio.write_port(static_cast<u16>(exit.address), exit.size,
                               load(exit.data + u64{i} * exit.size, exit.size));
            }
            return Outcome::Continue;
        case ExitKind::MmioRead: {
            const u64 value = vio.read_mmio(exit.address, exit.size);
            std::memcpy(exit.data, &value, exit.size);
            return Outcome::Continue;
        }
        case ExitKind::MmioWrite:
            vio.write_mmio(exit.address, exit.size, load(exit.data, exit.size));
            return Outcome::Continue;
        case ExitKind::Halt: return Outcome::Halted;
        case ExitKind::BudgetUsed:
        case ExitKind::SingleStep:
        case ExitKind::Kicked:
        case ExitKind::Attention:
        case ExitKind::InterruptWindow:
        case ExitKind::UserMode:
        case ExitKind::KernelMode: return Outcome::Continue;
        case ExitKind::Shutdown:
        case ExitKind::Breakpoint:
        case ExitKind::Failure: return Outcome::Stop;
    }
    return Outcome::Stop;
}

}  // namespace

Outcome handle_exit(Machine& machine, Exit& exit) {
    const Outcome outcome = dispatch(machine, exit);
    if (machine.exit_observer()) machine.exit_observer()(exit);
    return outcome;
}

}  // namespace dualvm

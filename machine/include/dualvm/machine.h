// Machine: CPUs, memory, I/O and time put together; and what happens after an engine's exit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dualvm/clock.h"
#include "dualvm/cpu_file.h"
#include "dualvm/cpu_model.h"
#include "dualvm/engine.h"
#include "dualvm/exit.h"
#include "dualvm/irq_line.h"
#include "dualvm/platform.h"
#include "dualvm/vio.h"
#include "dualvm/vmem.h"

namespace dualvm {

enum class ClockKind : u8 { Virtual, Host };

struct MachineConfig {
    u64 memory_mebibytes = 128;
    ClockKind clock = ClockKind::Virtual;
    unsigned cpus = 1;
};

// What a device (or the run loop) asks the machine to do at the next instruction boundary.
enum class RequestKind : u8 { DebugExit, PowerOff, Reset };
struct Request {
    RequestKind kind = RequestKind::PowerOff;
    u8 debug_exit_value = 0;  // DebugExit: v; the process ends with (v << 1) | 1
};

class Machine {
public:
    static Expected<std::unique_ptr<Machine>> create(const MachineConfig& config);

    const MachineConfig& config() const { return config_; }
    VMem& vmem() { return *vmem_; }
    const VMem& vmem() const { return *vmem_; }
    VIo& vio() { return vio_; }
    Clock& clock() { return *clock_; }
    // The clock if it is one that counts instructions, else nullptr.
    VirtualClock* virtual_clock() { return virtual_clock_; }
    const CpuModel& cpu_model() const { return cpu_model_; }
    // Another CPU than the standard model; before any engine is made.
    void set_cpu_model(CpuModel model) { cpu_model_ = std::move(model); }

    CpuFile& cpu(unsigned index = 0) { return cpus_[index]; }
    unsigned cpu_count() const { return static_cast<unsigned>(cpus_.size()); }

    // The interrupt controller; a machine without one never interrupts.
    void set_interrupt_source(InterruptSource* source) { interrupts_ = source; }
    InterruptSource* interrupt_source() const { return interrupts_; }
    bool may_raise_nmi() const { return interrupts_ != nullptr && interrupts_->may_raise_nmi(); }
    bool interrupt_pending() const { return interrupts_ != nullptr && interrupts_->pending(); }
    u8 acknowledge_interrupt() { return interrupts_->acknowledge(); }

    // CR8 lives in the local APIC, where the guest can reach it as the TPR too: engines ask for it, and tell of a new
    // one. Without a local APIC it is what CpuFile says.
    std::optional<u8> cr8() const { return interrupts_ != nullptr ? interrupts_->task_priority_class() : std::nullopt; }
    void cr8_changed(u64 value) {
        if (interrupts_ != nullptr) interrupts_->set_task_priority_class(static_cast<u8>(value));
    }
    void apic_base_changed(u64 value) {
        if (interrupts_ != nullptr) interrupts_->set_apic_base(value);
    }
    // A device pulls the CPU's NMI pin; the run loop hands it to the engine.
    void raise_nmi() { nmi_raised_ = attention_ = true; }
    bool nmi_raised() const { return nmi_raised_; }
    bool take_nmi() { return std::exchange(nmi_raised_, false); }

    // FERR#: with CR0.NE clear an x87 error is no exception. It leaves the CPU by this pin, and comes back as an
    // interrupt (SDM vol. 1, 8.7.2). False: nothing is connected to the pin.
    void connect_fpu_error(std::function<void()> listener) { fpu_error_ = std::move(listener); }
    bool report_fpu_error() const {
        if (fpu_error_) fpu_error_();
        return fpu_error_ != nullptr;
    }
    // IGNNE#: the error that was reported is in hand, and instructions do not wait for it any more.
    void ignore_fpu_error(bool ignored) { fpu_error_ignored_ = ignored; }
    bool ignores_fpu_error() const { return fpu_error_ignored_; }

    // What firmware tables say of this machine; nothing if it is one that tells nothing (-no-acpi).
    void set_platform(const Platform& platform) { platform_ = platform; }
    const std::optional<Platform>& platform() const { return platform_; }

    // Keeps a device alive for as long as the machine, resets it with it, saves it with it.
    template <class D>
    D& own(std::unique_ptr<D> device) {
        D& reference = *device;
        devices_.push_back(std::move(device));
        return reference;
    }
    const std::vector<std::unique_ptr<Device>>& devices() const { return devices_; }
    // CPUs and devices to their power-on state; memory stays.
    void reset();

    // Called with every exit that handle_exit() has handled, whichever engine it came from: `-d exits` prints them.
    void observe_exits(std::function<void(const Exit&)> observer) { exit_observer_ = std::move(observer); }
    const std::function<void(const Exit&)>& exit_observer() const { return exit_observer_; }

    // --- attention: what makes an engine come back to the run loop after the current instruction ------------------
    void request(Request request);
    const std::optional<Request>& pending_request() const { return request_; }
    std::optional<Request> take_request();
    bool attention() const { return attention_; }
    void set_attention() { attention_ = true; }
    void clear_attention() { attention_ = false; }

private:
    Machine() = default;

    MachineConfig config_;
    CpuModel cpu_model_ = CpuModel::standard();
    std::unique_ptr<VMem> vmem_;
    VIo vio_;
    std::unique_ptr<Clock> clock_;
    VirtualClock* virtual_clock_ = nullptr;
    std::vector<CpuFile> cpus_;
    std::vector<std::unique_ptr<Device>> devices_;
    InterruptSource* interrupts_ = nullptr;
    std::optional<Platform> platform_;
    std::function<void(const Exit&)> exit_observer_;
    std::function<void()> fpu_error_;
    std::optional<Request> request_;
    bool attention_ = false, nmi_raised_ = false, fpu_error_ignored_ = false;
};

// What the run loop does after an exit has been handled.
enum class Outcome : u8 {
    Continue,  // run on
    Halted,    // wait for an interrupt
    Stop,      // the run is over, or its owner must decide (limits, requests, failure, triple fault, breakpoints)
};

// The one place where an exit turns into what the machine does. Port and MMIO accesses reach vIO here, whichever engine
// ran: an engine that comes back for each of them has the run loop call it; one that can call a function in the middle
// of an instruction (the interpreter) calls it itself.
Outcome handle_exit(Machine& machine, Exit& exit);

}  // namespace dualvm

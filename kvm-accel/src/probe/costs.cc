// What the ways between guest, kernel and user space cost.
#include <sys/ioctl.h>

#include <algorithm>
#include <functional>

#include "probe/measures.h"

namespace dualvm::kvm {

namespace {

constexpr const char* kUnit = "us";
constexpr Nanoseconds kMost = 40'000'000;  // for one measurement

// Calls `step` until it fails, `times` times at most and not for much longer than kMost: microseconds a call. Negative
// if the first one failed.
double cost_of(unsigned times, const std::function<bool()>& step) {
    const Nanoseconds start = monotonic_now();
    unsigned done = 0;
    while (done < times && step()) {
        if (++done % 16 == 0 && monotonic_now() - start > kMost) break;
    }
    return done == 0 ? -1 : static_cast<double>(monotonic_now() - start) / 1e3 / done;
}

class Costs {
public:
    Costs(Report& report, const KvmDevice& device) : report_(report), device_(device) {}

    void ioctls() {
        auto lab = ready(0, piece::nops, "cost_get_regs", "one vCPU ioctl, KVM_GET_REGS");
        if (!lab) return;
        kvm_regs regs{};
        row("cost_get_regs", "one vCPU ioctl, KVM_GET_REGS",
            cost_of(1000, [&] { return ioctl(lab->vcpu().fd(), KVM_GET_REGS, &regs) == 0; }));
        lab->vcpu().run().immediate_exit = 1;
        row("cost_immediate_exit", "a KVM_RUN that returns at once",
            cost_of(1000, [&] { return ioctl(lab->vcpu().fd(), KVM_RUN, 0) < 0 && errno == EINTR; }));
        lab->vcpu().run().immediate_exit = 0;
    }

    void port_exit(const char* id, const char* what, unsigned ring, bool get_regs, u64 shared_registers) {
        auto lab = ready(ring, piece::out_loop, id, what);
        if (!lab) return;
        lab->vcpu().run().kvm_valid_regs = shared_registers;
        kvm_regs regs{};
        LabEnd end = lab->run();  // the first one builds KVM's shadows
        const double cost = cost_of(1000, [&] {
            end = lab->run(kMost);
            return end.done() && (!get_regs || ioctl(lab->vcpu().fd(), KVM_GET_REGS, &regs) == 0);
        });
        row(id, what, cost, end);
    }

    // A piece that does something ESI times, without leaving the guest but where it has to.
    void in_guest(const char* id, const char* what, unsigned ring, Piece body, bool ud_returns = false) {
        constexpr u64 kTimes = 500;
        auto lab = ready(ring, body, id, what);
        if (!lab) return;
        if (ud_returns) lab->set_handler(6, piece::ud2_handler);
        LabEnd end;
        double best = -1;
        for (unsigned attempt = 0; attempt < 2; ++attempt) {
            if (!lab->enter(LabMode::Long64, ring, body)) break;
            lab->cpu().general.gpr[RSI] = kTimes;
            if (!lab->push(Groups::General)) break;
            const Nanoseconds start = monotonic_now();
            end = lab->run(kMost * 2);
            const double cost = static_cast<double>(monotonic_now() - start) / 1e3 / kTimes;
            if (!end.done()) break;
            best = best < 0 ? cost : std::min(best, cost);
        }
        row(id, what, best, end);
    }

    // Any small slot that comes and goes makes KVM forget its shadows.
    void slot_pair() {
        const char* what = "a memory slot made and deleted";
        auto lab = ready(0, piece::nops, "cost_slot_pair", what);
        if (!lab) return;
        kvm_userspace_memory_region region{};
        region.slot = 1;
        region.guest_phys_addr = lab::kMemory;
        region.userspace_addr = reinterpret_cast<u64>(&lab->word(0));
        row("cost_slot_pair", what, cost_of(100, [&] {
                region.memory_size = kPageSize;
                const bool made = ioctl(lab->vm().fd(), KVM_SET_USER_MEMORY_REGION, &region) == 0;
                region.memory_size = 0;
                return made && ioctl(lab->vm().fd(), KVM_SET_USER_MEMORY_REGION, &region) == 0;
            }));
    }

private:
    std::unique_ptr<Lab> ready(unsigned ring, Piece code, const char* id, const char* what) {
        auto lab = Lab::create(device_);
        if (!lab) {
            report_.failed(id, what, lab.error().text);
            return nullptr;
        }
        if (auto entered = (*lab)->enter(LabMode::Long64, ring, code); !entered) {
            report_.failed(id, what, entered.error().text);
            return nullptr;
        }
        return std::move(*lab);
    }
    void row(const char* id, const char* what, double cost, const LabEnd& end = {}) {
        if (cost < 0) {
            report_.failed(id, what, end.text());
        } else {
            report_.number(id, what, cost, kUnit);
        }
    }

    Report& report_;
    const KvmDevice& device_;
};

}  // namespace

void report_costs(Report& report, const KvmDevice& device) {
    Costs costs(report, device);
    costs.ioctls();
    costs.slot_pair();
    costs.port_exit("cost_out_ring0", "OUT at ring 0, to user space and back", 0, false, 0);
    costs.port_exit("cost_out_ring0_get_regs", "the same with KVM_GET_REGS each time", 0, true, 0);
    costs.port_exit("cost_out_ring0_sync_regs", "the same with the registers in kvm_run", 0, false, KVM_SYNC_X86_REGS);
    costs.port_exit("cost_out_ring3", "OUT at ring 3 with IOPL 3", 3, false, 0);
    costs.in_guest("cost_cpuid_ring0", "CPUID at ring 0", 0, piece::cpuid_loop);
    costs.in_guest("cost_cpuid_ring3", "CPUID at ring 3", 3, piece::cpuid_loop);
    costs.in_guest("cost_exception", "an exception at ring 3, its handler at ring 0, and back", 3, piece::ud2_loop,
                   true);
}

}  // namespace dualvm::kvm

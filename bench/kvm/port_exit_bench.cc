// What a port exit costs: a bare loop of KVM_RUN, written with ioctls, against the same guest under the engine.
//
// The variants take turns, many times each, and the ratio is that of their best times: on a host that does other things
// as well, what comes between makes things slower, never faster.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <vector>

#include "dualvm/kvm/kvm_engine.h"
#include "dualvm/run_loop.h"

namespace {

using namespace dualvm;

constexpr u64 kCode = 0x8000;
constexpr u16 kPort = 0xe9;
// again: out E9h, al;  jmp again -- in real mode
constexpr u8 kGuest[] = {0xe6, kPort, 0xeb, 0xfc};

// The least that a program must do: no error handling, no state, no devices.
class BareVm {
public:
    BareVm() {
        device_ = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        if (device_ < 0) return;
        vm_ = ioctl(device_, KVM_CREATE_VM, 0);
        vcpu_ = ioctl(vm_, KVM_CREATE_VCPU, 0);
        size_ = static_cast<std::size_t>(ioctl(device_, KVM_GET_VCPU_MMAP_SIZE, 0));
        memory_ = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        void* run = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_, 0);
        if (memory_ == MAP_FAILED || run == MAP_FAILED) return;
        std::memcpy(static_cast<u8*>(memory_) + kCode, kGuest, sizeof kGuest);
        kvm_userspace_memory_region region{};
        region.memory_size = kMemory;
        region.userspace_addr = reinterpret_cast<u64>(memory_);
        ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region);
        kvm_sregs sregs{};
        ioctl(vcpu_, KVM_GET_SREGS, &sregs);
        sregs.cs.base = sregs.cs.selector = 0;
        ioctl(vcpu_, KVM_SET_SREGS, &sregs);
        kvm_regs regs{};
        regs.rip = kCode;
        regs.rflags = 2;
        ioctl(vcpu_, KVM_SET_REGS, &regs);
        run_ = static_cast<kvm_run*>(run);
    }
    ~BareVm() {
        if (run_ != nullptr) munmap(run_, size_);
        if (memory_ != nullptr && memory_ != MAP_FAILED) munmap(memory_, kMemory);
        for (int fd : {vcpu_, vm_, device_}) {
            if (fd >= 0) close(fd);
        }
    }
    BareVm(const BareVm&) = delete;
    BareVm& operator=(const BareVm&) = delete;

    bool usable() const { return run_ != nullptr; }
    bool exit_once() { return ioctl(vcpu_, KVM_RUN, 0) == 0 && run_->exit_reason == KVM_EXIT_IO; }

private:
    static constexpr std::size_t kMemory = 1 << 20;
    int device_ = -1, vm_ = -1, vcpu_ = -1;
    std::size_t size_ = 0;
    void* memory_ = nullptr;
    kvm_run* run_ = nullptr;
};

// Takes the guest's writes, and asks the run loop to stop after as many as it was told.
class Sink final : public Device {
public:
    explicit Sink(Machine& machine) : machine_(machine) {}
    const char* name() const override { return "sink"; }
    bool posted_writes() const override { return posted; }
    u64 read(u64, unsigned) override { return 0xff; }
    void write(u64, unsigned, u64 value) override {
        sum_ += value;
        ++written;
        if (--left == 0) machine_.request({.kind = RequestKind::PowerOff});
    }
    void reset() override {}
    void save(ArchiveWriter&) const override {}
    void load(ArchiveReader&) override {}
    u64 left = 0, written = 0;
    bool posted = false;

private:
    Machine& machine_;
    u64 sum_ = 0;
};

struct EngineVm {
    EngineVm()
        : machine(std::move(*Machine::create({.memory_mebibytes = 1, .clock = ClockKind::Host}))), sink(*machine) {
        machine->vmem().write(kCode, kGuest, sizeof kGuest);
        machine->vio().ports().add(kPort, 1, sink);
        CpuFile& cpu = machine->cpu();
        cpu.segments.seg[CS].base = cpu.segments.seg[CS].selector = 0;
        cpu.general.rip = kCode;
        auto made = make_kvm_engine(*machine, {});
        if (made) engine = std::move(*made);
    }
    std::unique_ptr<Machine> machine;
    Sink sink;
    std::unique_ptr<Engine> engine;
};

// Exits timed together: enough that looking at the clock costs nothing beside them.
constexpr u64 kBatch = 500;

void bare(benchmark::State& state) {
    BareVm vm;
    if (!vm.usable()) state.SkipWithError("no usable /dev/kvm");
    for (auto _ : state) {
        for (u64 i = 0; i < kBatch; ++i) {
            if (!vm.exit_once()) state.SkipWithError("KVM_RUN did something else");
        }
    }
}

void engine_and_handler(benchmark::State& state) {
    EngineVm vm;
    if (!vm.engine) {
        state.SkipWithError("no usable /dev/kvm");
        return;
    }
    for (auto _ : state) {
        for (u64 i = 0; i < kBatch; ++i) {
            Exit exit = vm.engine->run({.host_time = 10'000'000});
            benchmark::DoNotOptimize(handle_exit(*vm.machine, exit));
        }
    }
}

void whole_run_loop(benchmark::State& state) {
    EngineVm vm;
    if (!vm.engine) {
        state.SkipWithError("no usable /dev/kvm");
        return;
    }
    for (auto _ : state) {
        vm.sink.left = kBatch;
        benchmark::DoNotOptimize(run_loop(*vm.machine, *vm.engine, {}, {}).status);
        vm.machine->clear_attention();
    }
}

// The same guest and loop, when the device lets KVM gather its writes. A full ring of them comes at a time.
void gathered_by_kvm(benchmark::State& state) {
    EngineVm vm;
    if (!vm.engine) {
        state.SkipWithError("no usable /dev/kvm");
        return;
    }
    vm.sink.posted = true;
    for (auto _ : state) {
        vm.sink.left = kBatch;
        benchmark::DoNotOptimize(run_loop(*vm.machine, *vm.engine, {}, {}).status);
        vm.machine->clear_attention();
    }
    state.counters["writes"] = static_cast<double>(vm.sink.written);
}

BENCHMARK(bare)->Unit(benchmark::kMicrosecond);
BENCHMARK(engine_and_handler)->Unit(benchmark::kMicrosecond);
BENCHMARK(whole_run_loop)->Unit(benchmark::kMicrosecond);
BENCHMARK(gathered_by_kvm)->Unit(benchmark::kMicrosecond);

// Keeps the best time of each variant. On a terminal each repetition is shown as it comes.
class Reporter final : public benchmark::ConsoleReporter {
public:
    Reporter() : ConsoleReporter(isatty(STDOUT_FILENO) != 0 ? OO_Defaults : OO_None) {}
    void ReportRuns(const std::vector<Run>& runs) override {
        for (const Run& run : runs) {
            if (run.error_occurred || run.run_type != Run::RT_Iteration) continue;
            const auto counted = run.counters.find("writes");
            const double writes =
                counted != run.counters.end() ? double{counted->second} : static_cast<double>(run.iterations) * kBatch;
            const double each = run.real_accumulated_time / writes * 1e6;
            auto [best, first] = best_.try_emplace(run.run_name.function_name, each);
            if (!first) best->second = std::min(best->second, each);
        }
        if (isatty(STDOUT_FILENO) != 0) benchmark::ConsoleReporter::ReportRuns(runs);
    }
    void ratios() const {
        const auto base = best_.find("bare");
        if (base == best_.end()) return;
        for (const auto& [name, microseconds] : best_) {
            std::printf("%-20s %8.2f us a write, %.3f x bare\n", name.c_str(), microseconds,
                        microseconds / base->second);
        }
    }

private:
    std::map<std::string, double> best_;
};

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> arguments = {argv[0], "--benchmark_repetitions=20", "--benchmark_min_time=0.02",
                                          "--benchmark_enable_random_interleaving=true",
                                          "--benchmark_report_aggregates_only=false"};
    arguments.insert(arguments.end(), argv + 1, argv + argc);
    std::vector<char*> pointers;
    for (std::string& a : arguments) pointers.push_back(a.data());
    int count = static_cast<int>(pointers.size());
    benchmark::Initialize(&count, pointers.data());
    Reporter reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    reporter.ratios();
    return 0;
}

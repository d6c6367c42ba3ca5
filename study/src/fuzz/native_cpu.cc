#include "dualvm/study/native_cpu.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "native_child.h"

namespace dualvm::study {

struct NativeCpu::Shared : NativeExchange {};

namespace {

constexpr int kLookMilliseconds = 100;
constexpr double kMostSeconds = 0.2;  // of the CPU's time, however busy the machine is: more than any case needs

double cpu_seconds(pid_t process) {
    clockid_t clock{};
    timespec time{};
    if (clock_getcpuclockid(process, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

tl::unexpected<Error> unavailable(const char* what) {
    return fail(ExitStatus::EngineUnavailable,
                fmt::format("the oracle 'native' needs {}: {}; try --oracle=kvm", what, std::strerror(errno)));
}

}  // namespace

Expected<std::unique_ptr<NativeCpu>> NativeCpu::create() {
    std::unique_ptr<NativeCpu> cpu(new NativeCpu);
    cpu->memory_ = memfd_create("dualvm native cpu", MFD_CLOEXEC);
    if (cpu->memory_ < 0 || ftruncate(cpu->memory_, sizeof(Shared)) != 0) return unavailable("memory to share");
    void* shared = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, cpu->memory_, 0);
    if (shared == MAP_FAILED) return unavailable("memory to share");
    cpu->shared_ = static_cast<Shared*>(shared);
    cpu->shared_->code.fill(ring3::kFiller);
    if (auto started = cpu->start(); !started) return tl::unexpected(started.error());

    Case nop;
    nop.code = {0x90};
    CaseResult result;
    cpu->run(nop, result);
    if (!result.reached_filler(nop)) {
        return fail(ExitStatus::EngineUnavailable,
                    fmt::format("the oracle 'native' cannot run a NOP in a child process here ({}); try --oracle=kvm",
                                result.text.empty() ? fmt::format("vector {}", result.vector) : result.text));
    }
    // 40h is INC EAX in 32-bit code; 64-bit code reads it as a REX prefix of the NOP behind it.
    Case increment;
    increment.mode = CpuMode::Compatibility32;
    increment.code = {0x40, 0x90};
    cpu->run(increment, result);
    cpu->runs32_ = result.reached_filler(increment) && result.general.gpr[RAX] == 1;
    cpu->find_distrust();
    return cpu;
}

// A kernel that is itself a guest may return to programs by way of its hypervisor, which looks at what it loads: under
// PVM, NT is gone and RSP must be canonical, though IRET minds neither (SDM vol. 2A, "IRET").
void NativeCpu::find_distrust() {
    distrust_ = common_distrust(*this);
    CaseResult result;
    Case wild;
    wild.code = {0x90};
    wild.gpr[RSP] = u64{1} << 47;
    run(wild, result);
    distrust_.wild_stack = !result.reached_filler(wild);
}

NativeCpu::~NativeCpu() {
    stop();
    if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
    if (memory_ >= 0) close(memory_);
}

bool NativeCpu::can_run(CpuMode mode) const {
    return mode == CpuMode::Long64 || (mode == CpuMode::Compatibility32 && runs32_);
}

Expected<void> NativeCpu::start() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return unavailable("a pair of sockets");
    child_ = fork();
    if (child_ == 0) native_child(shared_, memory_, ends[1]);
    close(ends[1]);
    socket_ = ends[0];
    if (child_ < 0) {
        stop();
        return unavailable("a child process");
    }
    ++children_;
    return {};
}

void NativeCpu::stop() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
    if (child_ > 0) {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
    }
    child_ = -1;
}

// Has the child run what is in the shared memory. False if it did not come back; errno is ETIMEDOUT if it hangs.
bool NativeCpu::exchange() {
    u8 word = 0;
    if (send(socket_, &word, 1, MSG_NOSIGNAL) != 1) return false;
    pollfd answer{.fd = socket_, .events = POLLIN, .revents = 0};
    std::optional<double> begin;  // asked for only if it takes long
    int ready = 0;
    while (true) {
        ready = poll(&answer, 1, kLookMilliseconds);
        if (ready > 0 || (ready < 0 && errno != EINTR)) break;
        const double now = cpu_seconds(child_);
        if (!begin) begin = now;
        if (now - *begin >= kMostSeconds) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    if (ready != 1) return false;
    return read(socket_, &word, 1) == 1;
}

void NativeCpu::run(const Case& c, CaseResult& result) {
    Shared& x = *shared_;
    result.text.clear();
    if (child_ < 0) {
        if (auto started = start(); !started) {
            result.ending = Ending::Lost;
            result.text = started.error().text;
            return;
        }
    }
    std::memcpy(x.code.data() + c.code_offset, c.code.data(), c.code.size());
    x.window = c.window;
    x.gpr = c.gpr;
    x.rip = c.code_begin();
    x.rflags = c.rflags;
    x.selector = c.long_mode() ? ring3::kCode64 : ring3::kCode32;
    to_fx_image(c.fpu, x.fx);
    const bool answered = exchange();
    const bool hangs = !answered && errno == ETIMEDOUT;
    std::memset(x.code.data() + c.code_offset, ring3::kFiller, c.code.size());
    if (!answered) {
        stop();
        result.ending = hangs ? Ending::NoEnd : Ending::Lost;
        result.text = hangs ? "" : "the child process died of it";
        return;
    }
    result.ending = x.signal == SIGSYS ? Ending::SystemCall : Ending::Exception;
    result.vector = static_cast<u8>(x.vector);
    result.general.gpr = x.gpr;
    result.general.rip = x.rip;
    result.general.rflags = x.rflags;
    // The kernel keeps the last error code and CR2 of any kind; only these vectors have them (SDM vol. 3A, 6.13).
    constexpr u32 kWithErrorCode = 1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
    constexpr u8 kPageFault = 14;
    const bool has_error_code = x.vector < 32 && (kWithErrorCode >> x.vector & 1) != 0;
    result.error_code = has_error_code ? static_cast<u32>(x.error_code) : 0;
    result.cr2 = x.vector == kPageFault ? x.cr2 : 0;
    result.fpu = c.fpu;  // the upper halves of vector registers are not ours to look at
    from_fx_image(x.fx, result.fpu);
    result.window = x.window;
}

}  // namespace dualvm::study

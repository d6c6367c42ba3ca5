#include "native_ldt.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "native_child.h"

namespace dualvm::segments {

namespace {

// The child ends a case by itself long before; this is for a child that is stopped, or never runs.
constexpr int kMostMilliseconds = 20'000;

tl::unexpected<Error> refused(const std::string& what) { return fail(ExitStatus::EngineUnavailable, what); }

// Wild accesses of 32-bit code must not meet anything of this program's own.
bool mapped_below_4gib() {
    std::ifstream maps("/proc/self/maps");
    u64 begin = 0;
    maps >> std::hex >> begin;
    return begin < u64{1} << 32;
}

}  // namespace

Expected<std::unique_ptr<NativeLdt>> NativeLdt::create() {
    if (mapped_below_4gib())
        return refused("something of this program lies below 4 GiB: it is not position-independent, or a sanitizer's");
    std::unique_ptr<NativeLdt> cpu(new NativeLdt);
    cpu->memory_ = memfd_create("dualvm native segments", MFD_CLOEXEC);
    if (cpu->memory_ < 0 || ftruncate(cpu->memory_, sizeof(NativeExchange)) != 0) return refused("no memory to share");
    void* shared = mmap(nullptr, sizeof(NativeExchange), PROT_READ | PROT_WRITE, MAP_SHARED, cpu->memory_, 0);
    if (shared == MAP_FAILED) return refused("no memory to share");
    cpu->shared_ = static_cast<NativeExchange*>(shared);
    cpu->shared_->code.fill(kFiller);
    if (auto started = cpu->start(); !started) return tl::unexpected(started.error());
    if (auto tried = cpu->try_stack(); !tried) return tl::unexpected(tried.error());
    return cpu;
}

// IRET to a 16-bit stack loads no more than SP: kernels without "espfix" hand programs their own upper half of ESP,
// others do not let 16-bit stacks be.
Expected<void> NativeLdt::try_stack() {
    const auto c = std::make_unique<SegmentCase>();
    const auto result = std::make_unique<Result>();
    c->code = {0x90};
    c->state.cs = selector_of(Code16);
    c->state.ss = selector_of(Data64K);
    c->state.rip = 0x1000;
    c->state.rflags = rflags::Fixed1 | rflags::IF;
    c->state.gpr[RSP] = 0x12345678;
    run(*c, *result);
    if (shared_->failed_step != nullptr) {
        return refused(fmt::format("{}: {}", shared_->failed_step, std::strerror(shared_->failed_errno)));
    }
    if (result->ending == Ending::Lost) {
        return refused("a child process that makes itself an LDT, and runs a NOP in a 16-bit segment of it, dies");
    }
    constexpr u8 kGeneralProtection = 13;
    if (result->ending != Ending::Exception || result->vector != kGeneralProtection || result->state.rip != 0x1001 ||
        result->state.cs != c->state.cs || result->state.ss != c->state.ss) {
        return refused(
            fmt::format("a NOP in a 16-bit code segment does not come back as it should: vector {}, "
                        "{:04x}:{:x}, SS {:04x}",
                        result->vector, result->state.cs, result->state.rip, result->state.ss));
    }
    if (result->state.gpr[RSP] != c->state.gpr[RSP]) {
        return refused(fmt::format("ESP {:x} on a 16-bit stack comes back as {:x}: this kernel has no espfix",
                                   c->state.gpr[RSP], result->state.gpr[RSP]));
    }
    return {};
}

NativeLdt::~NativeLdt() {
    stop();
    if (shared_ != nullptr) munmap(shared_, sizeof(NativeExchange));
    if (memory_ >= 0) close(memory_);
}

Expected<void> NativeLdt::start() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return refused("no pair of sockets");
    child_ = fork();
    if (child_ == 0) native_child(shared_, memory_, ends[1]);
    close(ends[1]);
    socket_ = ends[0];
    if (child_ < 0) {
        stop();
        return refused("no child process");
    }
    return {};
}

void NativeLdt::stop() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
    if (child_ > 0) {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
    }
    child_ = -1;
}

// Has the child run what is in the shared memory. False if it did not come back.
bool NativeLdt::exchange() {
    u8 word = 0;
    if (send(socket_, &word, 1, MSG_NOSIGNAL) != 1) return false;
    pollfd answer{.fd = socket_, .events = POLLIN, .revents = 0};
    int ready = 0;
    do {
        ready = poll(&answer, 1, kMostMilliseconds);
    } while (ready < 0 && errno == EINTR);
    return ready == 1 && read(socket_, &word, 1) == 1;
}

void NativeLdt::run(const SegmentCase& c, Result& result) {
    result.ending = Ending::Lost;
    if (child_ < 0 && !start()) return;
    NativeExchange& x = *shared_;
    u8* code = x.code.data() + c.state.rip;
    std::memcpy(code, c.code.data(), c.code.size());
    x.data = c.data;
    x.gpr = c.state.gpr;
    x.rip = c.state.rip;
    x.rflags = c.state.rflags;
    x.cs = c.state.cs;
    x.ss = c.state.ss;
    x.ds = c.state.ds;
    x.es = c.state.es;
    study::to_fx_image(c.state.fpu, x.fx);
    const bool answered = exchange();
    std::memset(code, kFiller, c.code.size());
    if (!answered) {
        stop();
        return;
    }
    result.ending = x.endless ? Ending::NoEnd : x.signal == SIGSYS ? Ending::SystemCall : Ending::Exception;
    result.vector = static_cast<u8>(x.vector);
    // The kernel keeps the last error code and CR2 of any kind.
    constexpr u64 kPageFault = 14;
    result.error_code = has_error_code(x.vector) ? static_cast<u32>(x.error_code) : 0;
    result.cr2 = x.vector == kPageFault ? x.cr2 : 0;
    // Bits 32 to 63 of RSP are the kernel's (espfix64), and 32-bit code sees none of them.
    for (std::size_t i = 0; i < x.gpr.size(); ++i) result.state.gpr[i] = x.gpr[i] & 0xffffffff;
    result.state.rip = x.rip;
    result.state.rflags = x.rflags;
    result.state.cs = static_cast<u16>(x.cs);
    result.state.ss = static_cast<u16>(x.ss);
    result.state.ds = static_cast<u16>(x.ds);
    result.state.es = static_cast<u16>(x.es);
    result.state.fpu = c.state.fpu;  // the upper halves of vector registers are not ours to look at
    study::from_fx_image(x.fx, result.state.fpu);
    result.data = x.data;
}

}  // namespace dualvm::segments

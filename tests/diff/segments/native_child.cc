// As study/src/fuzz/native_child.cc: a case is entered by the return from a signal handler and left by a signal. Here
// CS and SS come from the frame as well, and DS and ES, which frames do not have, are loaded by the handler: a 64-bit
// handler does not use them.
#include "native_child.h"

#include <asm/ldt.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "fuzz/without_libc.h"

namespace dualvm::segments {

namespace {

using study::copy, study::set_flags, study::system_call;

NativeExchange* the_exchange = nullptr;
int the_parent = -1;
bool began = false;
unsigned ticks = 0;  // of this case

alignas(64) std::array<u8, std::size_t{1} << 16> handler_stack;

// An endless case is told by two ticks of the time that the process itself has used.
constexpr suseconds_t kTickMicroseconds = 10'000;

// In the order of GeneralGroup::gpr.
constexpr int kRegisters[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};
constexpr std::size_t kXstateBv = 512;  // of the XSAVE area: which components it holds
constexpr u64 kX87AndSse = 3;
// A signal handler begins with NT, AC and ID as they were, and sigreturn leaves NT and ID alone.
constexpr u64 kQuietFlags = rflags::Fixed1 | rflags::IF, kFlagsNotInFrame = rflags::NT | rflags::ID;
// uc_flags (Linux, arch/x86/include/uapi/asm/ucontext.h): the frame has SS, and sigreturn loads it as it is.
constexpr unsigned long kFrameHasSs = 2, kLoadThatSs = 4;

DUALVM_BARE void on_signal(int signal, siginfo_t*, void* context) {
    set_flags(kQuietFlags);
    auto* frame = static_cast<ucontext_t*>(context);
    auto& machine = frame->uc_mcontext;
    auto* fx = reinterpret_cast<u8*>(machine.fpregs);
    const auto selectors = static_cast<u64>(machine.gregs[REG_CSGSFS]);
    const auto flags = static_cast<u64>(machine.gregs[REG_EFL]);
    NativeExchange& x = *the_exchange;
    u8 word = 0;
    if (signal == SIGVTALRM && (!began || (selectors & 4) == 0 || ++ticks < 2)) {
        set_flags(kQuietFlags | (flags & kFlagsNotInFrame));
        return;
    }
    if (began) {
        u16 ds = 0, es = 0;
        asm volatile("mov %%ds, %0\n\tmov %%es, %1" : "=r"(ds), "=r"(es));
        for (int i = 0; i < 8; ++i) x.gpr[static_cast<std::size_t>(i)] = static_cast<u64>(machine.gregs[kRegisters[i]]);
        x.rip = static_cast<u64>(machine.gregs[REG_RIP]);
        x.rflags = flags;
        x.cs = selectors & 0xffff;
        x.ss = selectors >> 48;
        x.ds = ds;
        x.es = es;
        x.signal = static_cast<u64>(signal);
        x.vector = static_cast<u64>(machine.gregs[REG_TRAPNO]);
        x.error_code = static_cast<u64>(machine.gregs[REG_ERR]);
        x.cr2 = static_cast<u64>(machine.gregs[REG_CR2]);
        x.endless = signal == SIGVTALRM;
        copy(x.fx.data(), fx, sizeof x.fx);
        if (system_call(SYS_write, the_parent, reinterpret_cast<long>(&word), 1) != 1) {
            system_call(SYS_exit_group, 1, 0, 0);
        }
    }
    began = true;
    if (system_call(SYS_read, the_parent, reinterpret_cast<long>(&word), 1) != 1) system_call(SYS_exit_group, 0, 0, 0);

    for (int i = 0; i < 8; ++i) machine.gregs[kRegisters[i]] = static_cast<greg_t>(x.gpr[static_cast<std::size_t>(i)]);
    for (int i = REG_R8; i <= REG_R15; ++i) machine.gregs[i] = 0;
    machine.gregs[REG_RIP] = static_cast<greg_t>(x.rip);
    machine.gregs[REG_EFL] = static_cast<greg_t>(x.rflags);
    machine.gregs[REG_CSGSFS] = static_cast<greg_t>((selectors & 0x0000ffffffff0000) | x.cs | x.ss << 48);
    frame->uc_flags |= kFrameHasSs | kLoadThatSs;
    copy(fx, x.fx.data(), sizeof x.fx);
    *reinterpret_cast<u64*>(fx + kXstateBv) |= kX87AndSse;
    ticks = 0;
    asm volatile("mov %0, %%ds\n\tmov %1, %%es" : : "r"(static_cast<u32>(x.ds)), "r"(static_cast<u32>(x.es)));
    set_flags(kQuietFlags | (x.rflags & kFlagsNotInFrame));
}

bool map(int memory, u64 address, int protection, std::size_t offset) {
    void* at = reinterpret_cast<void*>(address);
    if (mmap(at, kBytes, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, memory, static_cast<off_t>(offset)) != at) {
        return false;
    }
    // Fault them in: the first access must not look different from the second.
    for (u64 page = 0; page < kBytes; page += kPageSize) *reinterpret_cast<volatile u8*>(address + page);
    return true;
}

bool set_ldt() {
    for (unsigned i = 0; i < kSegments.size(); ++i) {
        const SegmentKind& s = kSegments[i];
        user_desc d{};
        d.entry_number = i;
        d.base_addr = static_cast<unsigned>(s.base);
        d.limit = s.limit;
        d.seg_32bit = s.wide;
        d.contents = static_cast<unsigned>(s.kind) & 3;
        d.read_exec_only = s.restricted;
        d.limit_in_pages = s.pages;
        d.seg_not_present = s.absent;
        constexpr int kWrite = 0x11;
        // It gives an error back as 32 bits, which the C library does not take for one.
        const long failed = syscall(SYS_modify_ldt, kWrite, &d, sizeof d);
        if (failed > 0) errno = -static_cast<int>(failed);
        if (failed != 0) return false;
    }
    return true;
}

bool set_handlers() {
    const stack_t stack{.ss_sp = handler_stack.data(), .ss_flags = 0, .ss_size = handler_stack.size()};
    if (sigaltstack(&stack, nullptr) != 0) return false;
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaddset(&action.sa_mask, SIGVTALRM);
    for (int signal : {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP, SIGSYS, SIGVTALRM}) {
        if (sigaction(signal, &action, nullptr) != 0) return false;
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const timeval tick{.tv_sec = 0, .tv_usec = kTickMicroseconds};
    const itimerval timer{.it_interval = tick, .it_value = tick};
    return setitimer(ITIMER_VIRTUAL, &timer, nullptr) == 0;
}

// 32-bit system calls, and those that the handler does not need, raise SIGSYS.
bool allow_only_what_is_needed() {
    const auto load = [](std::size_t at) {
        return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<u32>(at));
    };
    const auto allow = [](long number, u8 to) {
        return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<u32>(number), to, 0);
    };
    std::array<sock_filter, 9> program = {{
        load(offsetof(seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
        load(offsetof(seccomp_data, nr)),
        allow(SYS_rt_sigreturn, 4),
        allow(SYS_read, 3),
        allow(SYS_write, 2),
        allow(SYS_exit_group, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{.len = static_cast<u16>(program.size()), .filter = program.data()};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// What failed, or nullptr.
const char* prepare(int memory, int parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!map(memory, kCode, PROT_READ | PROT_EXEC, offsetof(NativeExchange, code)) ||
        !map(memory, kData, PROT_READ | PROT_WRITE, offsetof(NativeExchange, data))) {
        return "mapping memory below 4 GiB";
    }
    if (!set_ldt()) return "modify_ldt";
    if (!set_handlers()) return "signal handlers";
    const auto keep = static_cast<unsigned>(parent);
    if (keep > 0) close_range(0, keep - 1, 0);
    close_range(keep + 1, ~0u, 0);
    return allow_only_what_is_needed() ? nullptr : "a seccomp filter";
}

}  // namespace

DUALVM_BARE void native_child(NativeExchange* exchange, int memory, int parent) {
    the_exchange = exchange;
    the_parent = parent;
    exchange->failed_step = prepare(memory, parent);
    if (exchange->failed_step != nullptr) {
        exchange->failed_errno = errno;
        _exit(1);
    }
    asm volatile("ud2");
    __builtin_unreachable();
}

}  // namespace dualvm::segments

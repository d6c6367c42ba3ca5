// A case is entered by the return from a signal handler and left by a signal.
//
// That way the kernel loads and stores all registers, x87 and vector registers among them: it takes them from the
// signal's frame and puts them there. So this is all that a case costs: one exception, one signal, one sigreturn. The
// handler puts the result where the parent looks for it, waits for the next case, writes that into the frame, returns.
//
// FS.base is the case's own, and so thread-local storage is gone: no function of the C library is called behind
// prepare(), and no sanitizer may look at the handler.
#include "native_child.h"

#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <cstddef>

#include "without_libc.h"

namespace dualvm::study {

namespace {

NativeExchange* the_exchange = nullptr;
int the_parent = -1;
bool began = false;

alignas(64) std::array<u8, std::size_t{1} << 18> handler_stack;

// --- without the C library -----------------------------------------------------------------------------------------

inline __attribute__((always_inline)) void set_data_segments() {
    asm volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(u32{ring3::kData}));
}

inline __attribute__((always_inline)) void set_segment_bases() {
    system_call(SYS_arch_prctl, ARCH_SET_FS, static_cast<long>(ring3::kFsBase), 0);
    system_call(SYS_arch_prctl, ARCH_SET_GS, static_cast<long>(ring3::kGsBase), 0);
}

// --- the handler -----------------------------------------------------------------------------------------------------

// In the order of GeneralGroup::gpr.
constexpr int kRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
constexpr std::size_t kXstateBv = 512;  // of the XSAVE area: which components it holds
constexpr u64 kX87AndSse = 3;
// RF lives in the saved flags of a fault; a signal handler begins with NT, AC and ID as they were.
constexpr u64 kQuietFlags = rflags::Fixed1 | rflags::IF, kFlagsNotInFrame = rflags::NT | rflags::ID;

DUALVM_BARE void on_signal(int signal, siginfo_t*, void* context) {
    set_flags(kQuietFlags);
    auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    auto* fx = reinterpret_cast<u8*>(machine.fpregs);
    NativeExchange& x = *the_exchange;
    u8 word = 0;
    if (began) {
        for (int i = 0; i < 16; ++i) x.gpr[i] = static_cast<u64>(machine.gregs[kRegisters[i]]);
        x.rip = static_cast<u64>(machine.gregs[REG_RIP]);
        x.rflags = static_cast<u64>(machine.gregs[REG_EFL]);
        x.signal = static_cast<u64>(signal);
        x.vector = static_cast<u64>(machine.gregs[REG_TRAPNO]);
        x.error_code = static_cast<u64>(machine.gregs[REG_ERR]);
        x.cr2 = static_cast<u64>(machine.gregs[REG_CR2]);
        copy(x.fx.data(), fx, sizeof x.fx);
        if (system_call(SYS_write, the_parent, reinterpret_cast<long>(&word), 1) != 1) {
            system_call(SYS_exit_group, 1, 0, 0);
        }
    }
    began = true;
    if (system_call(SYS_read, the_parent, reinterpret_cast<long>(&word), 1) != 1) system_call(SYS_exit_group, 0, 0, 0);

    for (int i = 0; i < 16; ++i) machine.gregs[kRegisters[i]] = static_cast<greg_t>(x.gpr[i]);
    machine.gregs[REG_RIP] = static_cast<greg_t>(x.rip);
    machine.gregs[REG_EFL] = static_cast<greg_t>(x.rflags);
    machine.gregs[REG_CSGSFS] =
        static_cast<greg_t>((static_cast<u64>(machine.gregs[REG_CSGSFS]) & ~u64{0xffff}) | x.selector);
    copy(fx, x.fx.data(), sizeof x.fx);
    *reinterpret_cast<u64*>(fx + kXstateBv) |= kX87AndSse;
    set_data_segments();
    set_segment_bases();
    set_flags(kQuietFlags | (x.rflags & kFlagsNotInFrame));  // sigreturn leaves these as they are
}

// --- before ----------------------------------------------------------------------------------------------------------

bool map(int memory, u64 address, u64 bytes, int protection, std::size_t offset) {
    void* at = reinterpret_cast<void*>(address);
    return mmap(at, bytes, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, memory, static_cast<off_t>(offset)) == at;
}

// System calls from the case's code and 32-bit ones raise SIGSYS; those that the handler needs are allowed; others end
// the process.
bool allow_only_what_is_needed() {
    constexpr auto kNumber = offsetof(seccomp_data, nr), kArch = offsetof(seccomp_data, arch),
                   kPointer = offsetof(seccomp_data, instruction_pointer);
    constexpr u32 kPastCode = static_cast<u32>(ring3::kCode + ring3::kCodeBytes + 16);
    const auto load = [](std::size_t at) {
        return sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<u32>(at));
    };
    const auto allow = [](long number, u8 to) {
        return sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<u32>(number), to, 0);
    };
    std::array<sock_filter, 16> program = {{
        load(kArch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 12),
        load(kPointer + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        load(kPointer),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, static_cast<u32>(ring3::kCode), 0, 1),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kPastCode, 0, 7),
        load(kNumber),
        allow(SYS_rt_sigreturn, 6),
        allow(SYS_read, 5),
        allow(SYS_write, 4),
        allow(SYS_arch_prctl, 3),
        allow(SYS_exit_group, 2),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{.len = static_cast<u16>(program.size()), .filter = program.data()};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool prepare(int memory, int parent) {
    constexpr std::size_t kCodeAt = offsetof(NativeExchange, code), kWindowAt = offsetof(NativeExchange, window);
    constexpr u64 kReadOnly = ring3::kWindowBytes - ring3::kWritableBytes;
    if (!map(memory, ring3::kCode, ring3::kCodeBytes, PROT_READ | PROT_EXEC, kCodeAt) ||
        !map(memory, ring3::kWindow, ring3::kWritableBytes, PROT_READ | PROT_WRITE, kWindowAt) ||
        !map(memory, ring3::kWindow + ring3::kWritableBytes, kReadOnly, PROT_READ, kWindowAt + ring3::kWritableBytes)) {
        return false;
    }
    // Fault them in: the first access must not look different from the second.
    for (u64 page = 0; page < ring3::kReadablePages; ++page) {
        *reinterpret_cast<volatile u8*>(ring3::kWindow + page * kPageSize);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const stack_t stack{.ss_sp = handler_stack.data(), .ss_flags = 0, .ss_size = handler_stack.size()};
    if (sigaltstack(&stack, nullptr) != 0) return false;
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int signal : {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP, SIGSYS}) {
        if (sigaction(signal, &action, nullptr) != 0) return false;
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const auto keep = static_cast<unsigned>(parent);
    if (keep > 0) close_range(0, keep - 1, 0);
    close_range(keep + 1, ~0u, 0);
    return allow_only_what_is_needed();
}

}  // namespace

DUALVM_BARE void native_child(NativeExchange* exchange, int memory, int parent) {
    the_exchange = exchange;
    the_parent = parent;
    if (!prepare(memory, parent)) _exit(1);
    asm volatile("ud2");
    __builtin_unreachable();
}

}  // namespace dualvm::study

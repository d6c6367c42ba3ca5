#include "host_cpu.h"

#include <csignal>
#include <cstring>
#include <random>

#include <sys/mman.h>
#include <ucontext.h>

namespace {

// What the assembly below loads and stores; the numbers in it are these offsets.
struct HostContext {
    dualvm::u64 gpr[16];
    dualvm::u64 rflags;      // 128
    dualvm::u64 host_rsp;    // 136
    dualvm::u64 jumped;      // 144
    dualvm::u32 far_offset;  // 152: far pointer to 32-bit code
    dualvm::u16 far_selector;
};
static_assert(offsetof(HostContext, rflags) == 128 && offsetof(HostContext, jumped) == 144 &&
              offsetof(HostContext, far_offset) == 152);

}  // namespace

extern "C" {
[[gnu::visibility("hidden")]] HostContext dualvm_host_context;
[[gnu::visibility("hidden")]] void dualvm_host_enter64();
[[gnu::visibility("hidden")]] void dualvm_host_enter32();
[[gnu::visibility("hidden")]] void dualvm_host_jumped();
[[gnu::visibility("hidden")]] void dualvm_host_back();
}

// Enters the code page with the context's registers; the code page jumps to dualvm_host_back, which stores them. Only
// moves touch registers and flags in between. All but RSP are loaded from and stored to fixed addresses.
// 10000000h is kCodeAddress; 2bh is Linux's flat data segment for user programs.
asm(R"(
.text
.macro load_registers
    pushq dualvm_host_context+128(%rip)
    popfq
    mov dualvm_host_context+0(%rip), %rax
    mov dualvm_host_context+8(%rip), %rcx
    mov dualvm_host_context+16(%rip), %rdx
    mov dualvm_host_context+24(%rip), %rbx
    mov dualvm_host_context+32(%rip), %rsp
    mov dualvm_host_context+40(%rip), %rbp
    mov dualvm_host_context+48(%rip), %rsi
    mov dualvm_host_context+56(%rip), %rdi
    mov dualvm_host_context+64(%rip), %r8
    mov dualvm_host_context+72(%rip), %r9
    mov dualvm_host_context+80(%rip), %r10
    mov dualvm_host_context+88(%rip), %r11
    mov dualvm_host_context+96(%rip), %r12
    mov dualvm_host_context+104(%rip), %r13
    mov dualvm_host_context+112(%rip), %r14
    mov dualvm_host_context+120(%rip), %r15
.endm
.macro keep_host
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, dualvm_host_context+136(%rip)
.endm
dualvm_host_enter64:
    keep_host
    load_registers
    jmp *code_address(%rip)
dualvm_host_enter32:
    keep_host
    mov $0x2b, %eax
    mov %eax, %ds
    mov %eax, %es
    load_registers
    ljmpl *dualvm_host_context+152(%rip)
dualvm_host_jumped:
    movq $1, dualvm_host_context+144(%rip)
dualvm_host_back:
    mov %rax, dualvm_host_context+0(%rip)
    mov %rcx, dualvm_host_context+8(%rip)
    mov %rdx, dualvm_host_context+16(%rip)
    mov %rbx, dualvm_host_context+24(%rip)
    mov %rsp, dualvm_host_context+32(%rip)
    mov %rbp, dualvm_host_context+40(%rip)
    mov %rsi, dualvm_host_context+48(%rip)
    mov %rdi, dualvm_host_context+56(%rip)
    mov %r8, dualvm_host_context+64(%rip)
    mov %r9, dualvm_host_context+72(%rip)
    mov %r10, dualvm_host_context+80(%rip)
    mov %r11, dualvm_host_context+88(%rip)
    mov %r12, dualvm_host_context+96(%rip)
    mov %r13, dualvm_host_context+104(%rip)
    mov %r14, dualvm_host_context+112(%rip)
    mov %r15, dualvm_host_context+120(%rip)
    mov dualvm_host_context+136(%rip), %rsp
    pushfq
    popq dualvm_host_context+128(%rip)
    mov $0, %eax
    mov %eax, %ds
    mov %eax, %es
    push $0x202
    popfq
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
.p2align 3
code_address:
    .quad 0x10000000
)");

namespace dualvm::interp {

namespace {

constexpr u64 kCodeBytes = kPageSize, kGuard = u64{1} << 20;
constexpr u64 kReturnFrom32 = kCodeAddress + 0x200;
constexpr u16 kCode32Selector = 0x23, kCode64Selector = 0x33;  // Linux's, for user programs

std::optional<CaughtFault> caught;
u64 resume_at = 0;  // where a faulting instruction goes on: behind itself
bool running = false;

void on_fault(int signal, siginfo_t*, void* context) {
    auto& gregs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
    const auto rip = static_cast<u64>(gregs[REG_RIP]);
    if (!running || rip < kCodeAddress || rip >= kCodeAddress + kCodeBytes) {
        std::signal(signal, SIG_DFL);  // not the instruction under test: a bug of ours
        return;
    }
    caught = CaughtFault{.vector = static_cast<unsigned>(gregs[REG_TRAPNO]),
                         .error_code = static_cast<u32>(gregs[REG_ERR]),
                         .cr2 = static_cast<u64>(gregs[REG_CR2])};
    gregs[REG_RIP] = static_cast<greg_t>(resume_at);
}

void catch_faults() {
    static std::array<u8, 1u << 16> handler_stack;
    const stack_t stack{.ss_sp = handler_stack.data(), .ss_flags = 0, .ss_size = handler_stack.size()};
    sigaltstack(&stack, nullptr);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int signal : {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP}) sigaction(signal, &action, nullptr);
}

bool map_at(u64 address, u64 bytes, int protection) {
    void* wanted = reinterpret_cast<void*>(address);
    return mmap(wanted, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == wanted;
}

}  // namespace

HostCpu* HostCpu::get() {
    static HostCpu cpu;
    static const bool mapped = cpu.map();
    return mapped ? &cpu : nullptr;
}

bool HostCpu::map() {
    if (!map_at(kCodeAddress, kCodeBytes, PROT_READ | PROT_WRITE | PROT_EXEC)) return false;
    if (!map_at(kWindow - kGuard, 2 * kGuard, PROT_NONE)) return false;
    if (mprotect(window(), kWindowBytes, PROT_READ | PROT_WRITE) != 0) return false;
    std::mt19937_64 random(1);
    for (u64 i = 0; i < kWindowBytes; ++i) window()[i] = static_cast<u8>(random());
    const u64 read_only = kWritablePages * kPageSize;
    if (mprotect(window() + read_only, kWindowBytes - read_only, PROT_READ) != 0) return false;
    catch_faults();
    return true;
}

void HostCpu::put(u64 address, std::span<const u8> bytes) {
    std::memcpy(reinterpret_cast<void*>(address), bytes.data(), bytes.size());
}

// 64-bit code: JMP [RIP+0], and the address behind it.
void HostCpu::put_jump(u64 address, const void* target) {
    constexpr std::array<u8, 6> kJump = {0xff, 0x25, 0, 0, 0, 0};
    put(address, kJump);
    std::memcpy(reinterpret_cast<void*>(address + kJump.size()), &target, sizeof target);
}

HostResult HostCpu::run64(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags) {
    put(kCodeAddress, insn);
    resume_at = kCodeAddress + insn.size();
    put_jump(resume_at, reinterpret_cast<const void*>(&dualvm_host_back));
    put_jump(kBranchTarget, reinterpret_cast<const void*>(&dualvm_host_jumped));
    std::memcpy(dualvm_host_context.gpr, gpr.data(), sizeof gpr);
    dualvm_host_context.rflags = rflags;
    return finish(dualvm_host_enter64);
}

HostResult HostCpu::run32(std::span<const u8> insn, const std::array<u64, 16>& gpr, u64 rflags) {
    put(kCodeAddress, insn);
    resume_at = kCodeAddress + insn.size();
    // JMP ptr16:32, back to 64-bit code.
    std::array<u8, 7> far_jump = {0xea, 0, 0, 0, 0, kCode64Selector, 0};
    const auto offset = static_cast<u32>(kReturnFrom32);
    std::memcpy(&far_jump[1], &offset, sizeof offset);
    put(resume_at, far_jump);
    put_jump(kReturnFrom32, reinterpret_cast<const void*>(&dualvm_host_back));
    std::memcpy(dualvm_host_context.gpr, gpr.data(), sizeof gpr);
    dualvm_host_context.rflags = rflags;
    dualvm_host_context.far_offset = static_cast<u32>(kCodeAddress);
    dualvm_host_context.far_selector = kCode32Selector;
    return finish(dualvm_host_enter32);
}

HostResult HostCpu::finish(void (*enter)()) {
    caught.reset();
    dualvm_host_context.jumped = 0;
    running = true;
    enter();
    running = false;
    HostResult result;
    std::memcpy(result.gpr.data(), dualvm_host_context.gpr, sizeof result.gpr);
    result.rflags = dualvm_host_context.rflags;
    result.jumped = dualvm_host_context.jumped != 0;
    result.fault = caught;
    return result;
}

bool HostCpu::can_run32() {
    // 40h is INC EAX in 32-bit code; 64-bit code reads it as a REX prefix of the NOP behind it.
    constexpr std::array<u8, 2> kIncNop = {0x40, 0x90};
    std::array<u64, 16> gpr{};
    gpr[RSP] = kWindow + kPageSize;
    const HostResult result = run32(kIncNop, gpr, rflags::Fixed1);
    return !result.fault && (result.gpr[RAX] & 0xffffffff) == 1;
}

}  // namespace dualvm::interp

#include "probe/lab.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "cpuid.h"

namespace dualvm::kvm {

using namespace lab;

namespace {

constexpr const char* kExceptionNames[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",  "#TS",
                                           "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM", "#VE"};

constexpr u64 kPresentWritable = 3, kUser = 4;

constexpr u32 kDataAccess = Segment::P | Segment::S | 3, kCodeAccess = Segment::P | Segment::S | 11;

// The descriptor (SDM vol. 3A, 3.4.5) of a flat segment with these access rights.
u64 flat_descriptor(u32 access) { return 0x000f'0000'0000'ffff | (u64{access} << 40 & 0x00f0'ff00'0000'0000); }

Segment flat(u16 selector, u32 access) {
    return {.base = 0,
            .limit = 0xffff'ffff,
            .access = access | u32{selector & 3u} << Segment::DplShift,
            .selector = selector};
}

}  // namespace

bool LabEnd::done() const { return reason == KVM_EXIT_IO && port == kDonePort && error == 0 && !out_of_time; }

int LabEnd::exception() const {
    const bool from_handler = reason == KVM_EXIT_IO && port >= kExceptionPorts && port < kExceptionPorts + kVectors;
    return from_handler && error == 0 && !out_of_time ? port - kExceptionPorts : -1;
}

std::string LabEnd::text() const {
    if (out_of_time) return "no end within the time given";
    if (error != 0) return fmt::format("KVM_RUN failed: {}", std::strerror(error));
    if (done()) return "finished";
    if (const int vector = exception(); vector >= 0) {
        const bool named = static_cast<std::size_t>(vector) < std::size(kExceptionNames);
        return fmt::format("exception {} ({})", vector, named ? kExceptionNames[vector] : "no name");
    }
    if (emulation_failed) return "KVM cannot emulate it (internal error 1)";
    switch (reason) {
        case KVM_EXIT_SHUTDOWN: return "triple fault";
        case KVM_EXIT_HLT: return "halted";
        case KVM_EXIT_DEBUG: return "debug exit";
        case KVM_EXIT_MMIO: return "access outside memory";
        case KVM_EXIT_IRQ_WINDOW_OPEN: return "interrupt window";
        default: return fmt::format("KVM exit {}", reason);
    }
}

Expected<std::unique_ptr<Lab>> Lab::create(const KvmDevice& device, CpuidList* cpuid) {
    auto vm = KvmVm::create(device);
    if (!vm) return tl::unexpected(vm.error());
    auto vcpu = KvmVcpu::create(device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    if (cpuid == nullptr) {
        auto supported = supported_cpuid(device);
        if (!supported) return tl::unexpected(supported.error());
        if (ioctl(vcpu->fd(), kSetCpuid2, supported->data()) < 0) return ioctl_error("KVM_SET_CPUID2");
    } else if (ioctl(vcpu->fd(), kSetCpuid2, cpuid->data()) < 0) {
        return ioctl_error("KVM_SET_CPUID2");
    }
    std::unique_ptr<Lab> lab(new Lab(std::move(*vm), std::move(*vcpu)));
    void* p = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return ioctl_error("mmap of 2 MiB");
    lab->memory_ = static_cast<u8*>(p);
    kvm_userspace_memory_region region{};
    region.memory_size = kMemory;
    region.userspace_addr = reinterpret_cast<u64>(p);
    if (ioctl(lab->vm_.fd(), KVM_SET_USER_MEMORY_REGION, &region) < 0) {
        return ioctl_error("KVM_SET_USER_MEMORY_REGION");
    }
    auto transfer = StateTransfer::create(device, lab->vm_, lab->vcpu_);
    if (!transfer) return tl::unexpected(transfer.error());
    lab->transfer_ = std::make_unique<StateTransfer>(std::move(*transfer));
    lab->build_tables();
    return lab;
}

Lab::~Lab() {
    if (memory_ != nullptr) munmap(memory_, kMemory);
}

void Lab::write(u64 address, Piece bytes) { std::memcpy(memory_ + address, bytes.data(), bytes.size()); }

void Lab::build_tables() {
    word(kPml4) = kPdpt | kPresentWritable | kUser;
    word(kPdpt) = kPd | kPresentWritable | kUser;
    word(kPd) = kPageTable | kPresentWritable | kUser;
    for (u64 page = 0; page < kMemory; page += kPageSize) {
        const bool kernels_own = page == kHandlers || page == kKernelStack - kPageSize;
        word(kPageTable + page / kPageSize * 8) = page | kPresentWritable | (kernels_own ? 0 : kUser);
    }

    constexpr u32 k64 = Segment::L | Segment::G, k32 = Segment::DB | Segment::G, kRing3 = 3u << Segment::DplShift;
    word(kGdt + kKernelCode64) = flat_descriptor(kCodeAccess | k64);
    word(kGdt + kKernelData) = flat_descriptor(kDataAccess | k32);
    word(kGdt + kKernelCode32) = flat_descriptor(kCodeAccess | k32);
    word(kGdt + (kUserCode32 & ~3u)) = flat_descriptor(kCodeAccess | k32 | kRing3);
    word(kGdt + (kUserData & ~3u)) = flat_descriptor(kDataAccess | k32 | kRing3);
    word(kGdt + (kUserCode64 & ~3u)) = flat_descriptor(kCodeAccess | k64 | kRing3);
    word(kGdt + kTssSelector) = 0x67 | kTss << 16 | u64{Segment::P | 11} << 40;
    std::memcpy(memory_ + kTss + 4, &kKernelStack, sizeof kKernelStack);  // RSP0

    write(kHandlers, piece::handlers);
    const u64 handler_size = piece::handlers.size() / kVectors;
    for (unsigned vector = 0; vector < kVectors; ++vector) {
        set_gate(static_cast<u8>(vector), kHandlers + vector * handler_size);
    }
}

// A 64-bit interrupt gate (SDM vol. 3A, 7.14.1), open to INT from ring 3.
void Lab::set_gate(u8 vector, u64 target) {
    const u64 gate = kIdt + u64{vector} * 16;
    word(gate) = (target & 0xffff) | u64{kKernelCode64} << 16 | u64{Segment::P | 3u << Segment::DplShift | 14} << 40 |
                 (target >> 16 & 0xffff) << 48;
    word(gate + 8) = target >> 32;
}

void Lab::set_handler(u8 vector, Piece code) {
    write(kHandlers + kFreeForHandlers, code);
    set_gate(vector, kHandlers + kFreeForHandlers);
}

Expected<void> Lab::enter(LabMode mode, unsigned ring, Piece code) {
    finish_access();
    write(kCode, code);
    const u64 tsc = cpu_.msrs.tsc;
    cpu_.reset();
    cpu_.msrs.tsc = tsc;
    cpu_.general.gpr = {};
    cpu_.general.rip = kCode;
    cpu_.general.rflags = rflags::Fixed1 | rflags::IOPL;
    cpu_.general.gpr[RSP] = ring == 3 ? kUserStack : kKernelStack;
    cpu_.msrs.star = u64{kKernelCode64} << 32 | u64{kUserCode32} << 48;
    auto& seg = cpu_.segments.seg;
    if (mode == LabMode::Real) {
        for (Segment& s : seg) s.base = 0, s.selector = 0;
        cpu_.general.rflags = rflags::Fixed1;
        cpu_.control.cr0 = cr0::ET;
        return push(Groups::All);
    }
    constexpr u32 k64 = Segment::L | Segment::G, k32 = Segment::DB | Segment::G;
    const bool user = ring == 3;
    for (Segment& s : seg) s = flat(user ? kUserData : kKernelData, kDataAccess | k32);
    if (mode == LabMode::Long64) {
        seg[CS] = flat(user ? kUserCode64 : kKernelCode64, kCodeAccess | k64);
    } else {
        seg[CS] = flat(user ? kUserCode32 : kKernelCode32, kCodeAccess | k32);
    }
    cpu_.segments.tr = {.base = kTss, .limit = 0x67, .access = Segment::P | 11, .selector = kTssSelector};
    cpu_.segments.gdtr = {.base = kGdt, .limit = kTssSelector + 15};
    cpu_.control.cr0 = cr0::PE | cr0::MP | cr0::ET | cr0::NE;
    cpu_.control.cr4 = cr4::OSFXSR | cr4::OSXMMEXCPT;
    if (mode != LabMode::Protected32) {
        cpu_.segments.idtr = {.base = kIdt, .limit = kVectors * 16 - 1};
        cpu_.control.cr0 |= cr0::PG | cr0::WP;
        cpu_.control.cr3 = kPml4;
        cpu_.control.cr4 |= cr4::PAE;
        cpu_.control.efer = efer::LME | efer::LMA | efer::SCE | efer::NXE;
    } else {
        cpu_.segments.idtr = {.base = 0, .limit = 0};  // any exception is a triple fault
    }
    return push(Groups::All);
}

LabEnd Lab::run(Nanoseconds within) {
    LabEnd end;
    Deadline deadline = Deadline::after(within);
    kvm_run& run = vcpu_.run();
    while (true) {
        kicker_.take_kick();
        int result = -1;
        if (kicker_.enter(deadline)) result = ioctl(vcpu_.fd(), KVM_RUN, 0);
        end.error = result < 0 ? errno : 0;
        kicker_.leave();
        if (end.error != EINTR && end.error != EAGAIN) break;
        end.error = 0;
        if (deadline.passed()) {
            end.out_of_time = true;
            return end;
        }
    }
    end.reason = run.exit_reason;
    if (end.reason == KVM_EXIT_IO) end.port = run.io.port;
    end.emulation_failed =
        end.reason == KVM_EXIT_INTERNAL_ERROR && run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
    return end;
}

void Lab::finish_access() {
    vcpu_.run().immediate_exit = 1;
    ioctl(vcpu_.fd(), KVM_RUN, 0);
    vcpu_.run().immediate_exit = 0;
}

}  // namespace dualvm::kvm

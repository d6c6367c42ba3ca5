#include "probe_guest.h"

#include <sys/ioctl.h>

#include <cerrno>

#include "cpuid.h"
#include "exits.h"

namespace dualvm::kvm {

using namespace probe_layout;

namespace {

constexpr u64 kPresentWritableUser = 7, kLargePage = 0x80;
constexpr u32 kFlat = Segment::P | Segment::S | Segment::G;

Segment code_segment(u16 selector, u32 size_bits) {
    const u32 dpl = (selector & 3u) << Segment::DplShift;
    return {.base = 0, .limit = 0xffffffff, .access = kFlat | dpl | size_bits | 11, .selector = selector};
}
Segment data_segment(u16 selector) {
    const u32 dpl = (selector & 3u) << Segment::DplShift;
    return {.base = 0, .limit = 0xffffffff, .access = kFlat | dpl | Segment::DB | 3, .selector = selector};
}
// The eight bytes of a descriptor with base 0 (SDM vol. 3A, figure 3-8).
u64 descriptor(const Segment& s) {
    const u64 pages = s.limit >> 12;
    return (pages & 0xffff) | (pages & 0xf0000) << 32 | u64{s.access & 0xf0ff} << 40;
}

}  // namespace

Expected<std::unique_ptr<ProbeGuest>> ProbeGuest::create(const std::string& device_path) {
    auto device = KvmDevice::open(device_path);
    if (!device) return tl::unexpected(device.error());
    auto machine = Machine::create({.memory_mebibytes = 4, .clock = ClockKind::Host});
    if (!machine) return tl::unexpected(machine.error());
    auto vm = KvmVm::create(*device);
    if (!vm) return tl::unexpected(vm.error());
    auto vcpu = KvmVcpu::create(*device, *vm);
    if (!vcpu) return tl::unexpected(vcpu.error());
    if (auto set = set_cpuid(*device, *vcpu, CpuModel::standard(), nullptr); !set) return tl::unexpected(set.error());
    auto transfer = StateTransfer::create(*device, *vm, *vcpu);
    if (!transfer) return tl::unexpected(transfer.error());
    auto guest = std::unique_ptr<ProbeGuest>(new ProbeGuest(std::move(*transfer)));
    guest->machine_ = std::move(*machine);
    guest->vm_ = std::make_unique<KvmVm>(std::move(*vm));
    guest->vcpu_ = std::make_unique<KvmVcpu>(std::move(*vcpu));
    guest->slots_ = std::make_unique<MemorySlots>(*guest->vm_, guest->machine_->vmem(), true);
    guest->kicker_ = std::make_unique<Kicker>(guest->vcpu_->run());
    if (auto built = guest->slots_->rebuild(); !built) return tl::unexpected(built.error());
    return guest;
}

void ProbeGuest::write_descriptor(u16 selector, u64 value) { vmem().write_value(kGdt + (selector & ~7u), value); }

// Identity: the first 2 MiB by 4 KiB pages, the second as one large page; all of it for ring 3 too.
void ProbeGuest::write_tables() {
    vmem().write_value(kPml4, kPdpt | kPresentWritableUser);
    vmem().write_value(kPdpt, kDirectory | kPresentWritableUser);
    vmem().write_value(kDirectory, kTable | kPresentWritableUser);
    vmem().write_value(kDirectory + 8, (u64{2} << 20) | kPresentWritableUser | kLargePage);
    for (u64 i = 0; i < 512; ++i) vmem().write_value(kTable + 8 * i, (i * kPageSize) | kPresentWritableUser);
    vmem().write_value(kDirectory32, u32{kPresentWritableUser | kLargePage});

    for (u16 selector : {kCode64, kUserCode64})
        write_descriptor(selector, descriptor(code_segment(selector, Segment::L)));
    for (u16 selector : {kCode32, kUserCode32})
        write_descriptor(selector, descriptor(code_segment(selector, Segment::DB)));
    for (u16 selector : {kData, kUserData}) write_descriptor(selector, descriptor(data_segment(selector)));
    // A 64-bit TSS: busy, limit 67h; RSP0 at offset 4.
    write_descriptor(kTssSelector, 0x67 | kTss << 16 | u64{0x8b} << 40);
    write_descriptor(kTssSelector + 8, 0);
    vmem().write_value(kTss + 4, kStackTop - 0x1000);

    // Every vector has a stub that tells its number: MOV AL, v; OUT F1h, AL; HLT.
    for (unsigned v = 0; v < 256; ++v) {
        const std::array<u8, 5> stub = {0xb0, static_cast<u8>(v), 0xe6, 0xf1, 0xf4};
        const u64 address = kStubs + 16 * v;
        vmem().write(address, stub.data(), stub.size());
        const u64 low = (address & 0xffff) | u64{kCode64} << 16 | (v == 0x80 ? u64{0xee00} : u64{0x8e00}) << 32;
        vmem().write_value(kIdt + 16 * v, low);
        vmem().write_value(kIdt + 16 * v + 8, u64{0});
    }
}

void ProbeGuest::set_handler(u8 vector, std::span<const u8> code, unsigned dpl) {
    vmem().write(kHandler, code.data(), code.size());
    vmem().write_value(kIdt + 16 * vector, kHandler | u64{kCode64} << 16 | u64{0x8e00 | dpl << 13} << 32);
}

void ProbeGuest::prepare(ProbeMode mode, std::span<const u8> code) {
    write_tables();
    vmem().write(kCode, code.data(), code.size());
    CpuFile& c = cpu();
    c.reset();
    c.general.rip = kCode;
    c.general.gpr[RSP] = kStackTop;
    c.general.gpr[RBX] = 3;
    c.control.cr0 = cr0::ET;
    if (mode == ProbeMode::Real) {
        c.segments.seg[CS].base = 0;
        c.segments.seg[CS].selector = 0;
        c.general.gpr[RSP] = 0x7000;
        return;
    }
    c.control.cr0 |= cr0::PE | cr0::NE;
    c.segments.gdtr = {.base = kGdt, .limit = 0x47};
    c.segments.idtr = {.base = kIdt, .limit = 0xfff};
    c.segments.tr = {.base = kTss, .limit = 0x67, .access = Segment::P | 11, .selector = kTssSelector};
    const bool user = mode == ProbeMode::Ring3Long || mode == ProbeMode::Ring3Compatibility;
    for (Segment& s : c.segments.seg) s = data_segment(user ? kUserData : kData);
    switch (mode) {
        case ProbeMode::Ring3Long: c.segments.seg[CS] = code_segment(kUserCode64, Segment::L); break;
        case ProbeMode::Ring0Long: c.segments.seg[CS] = code_segment(kCode64, Segment::L); break;
        case ProbeMode::Ring3Compatibility: c.segments.seg[CS] = code_segment(kUserCode32, Segment::DB); break;
        default: c.segments.seg[CS] = code_segment(kCode32, Segment::DB); break;
    }
    if (user) c.general.rflags |= rflags::IOPL;  // so that ring 3 may write the ports
    if (mode == ProbeMode::Ring0Protected32) return;
    c.control.cr3 = kPml4;
    c.control.cr4 = cr4::PAE | cr4::OSFXSR;
    c.control.efer = efer::LME | efer::LMA | efer::SCE;
    c.control.cr0 |= cr0::PG;
}

bool ProbeGuest::begin() {
    // A port access that the guest before this one was in the middle of is completed first, not in this one's
    // registers.
    run().immediate_exit = 1;
    ioctl(vcpu_->fd(), KVM_RUN, 0);
    run().immediate_exit = 0;
    return transfer_.push(*vcpu_, cpu(), Groups::All) == nullptr;
}

ProbeGuest::Event ProbeGuest::next(Nanoseconds limit) {
    using Kind = Event::Kind;
    kicker_->take_kick();
    kicker_->enter(limit);
    const int result = ioctl(vcpu_->fd(), KVM_RUN, 0);
    kicker_->leave();
    if (result < 0) {
        kicker_->take_timeout();
        kicker_->take_kick();
        return {.kind = errno == EINTR ? Kind::TimedOut : Kind::Failure};
    }
    const Exit exit = translate_exit(run());
    switch (exit.kind) {
        case ExitKind::PortWrite:
            return {.kind = exit.address == 0xf1 ? Kind::Exception : Kind::Port, .value = *exit.data};
        case ExitKind::Halt: return {.kind = Kind::Halt};
        case ExitKind::Failure: return {.kind = Kind::Failure};
        default: return {.kind = Kind::Other};
    }
}

}  // namespace dualvm::kvm

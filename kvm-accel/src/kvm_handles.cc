#include "kvm_handles.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace dualvm::kvm {

namespace {

tl::unexpected<Error> unavailable(std::string text) { return fail(ExitStatus::EngineUnavailable, std::move(text)); }

constexpr std::string_view kUsualDevice = "/dev/kvm";
constexpr int kApiVersion = 12;  // the only one there ever was since 2.6.22

bool driver_is_there() {
    const auto modules = {"/sys/module/kvm_intel", "/sys/module/kvm_amd", "/sys/module/kvm_pvm"};
    return std::any_of(modules.begin(), modules.end(), [](const char* path) { return access(path, F_OK) == 0; });
}

// What can be done about a device that did not open. To go on without KVM is for those to say who know how.
std::string remedy(const std::string& path, int error) {
    switch (error) {
        case ENOENT:
        case ENXIO:
        case ENODEV:
            if (path != kUsualDevice) return "; check --kvm-device";
            if (driver_is_there()) {
                return "; KVM is in this kernel and made no device: the CPU, the firmware's settings or, in a virtual "
                       "machine, its host do not let it, or this is a container that was not given the device";
            }
            return "; load the module (modprobe kvm_intel or kvm_amd; in a virtual machine, nested virtualization "
                   "must be on)";
        case EACCES: return "; join the group that owns it (usually: sudo usermod -aG kvm $USER, then log in again)";
        case EPERM: return "; in a container, it must be given the device";
        default: return "";
    }
}

}  // namespace

FileDescriptor::~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
}

tl::unexpected<Error> ioctl_error(const char* what) {
    return unavailable(fmt::format("KVM refused: {} failed: {}", what, std::strerror(errno)));
}

Expected<KvmDevice> KvmDevice::open(const std::string& path) {
    KvmDevice device;
    device.fd_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (device.fd() < 0) {
        const int error = errno;
        return unavailable(fmt::format("cannot open {}: {}{}", path, std::strerror(error), remedy(path, error)));
    }
    const int version = ioctl(device.fd(), KVM_GET_API_VERSION, 0);
    if (version < 0) {
        return unavailable(fmt::format("{} is not a KVM device (KVM_GET_API_VERSION: {})", path, std::strerror(errno)));
    }
    if (version != kApiVersion) {
        return unavailable(
            fmt::format("{} speaks version {} of the KVM API, dualvm version {}", path, version, kApiVersion));
    }
    return device;
}

int KvmDevice::capability(u64 number) const {
    const int value = ioctl(fd(), KVM_CHECK_EXTENSION, number);
    return value < 0 ? 0 : value;
}

Expected<KvmVm> KvmVm::create(const KvmDevice& device) {
    KvmVm vm;
    // A signal that is there already ends it: whoever is meant by that hears of it, and the VM is made all the same.
    int fd = -1;
    do fd = ioctl(device.fd(), KVM_CREATE_VM, 0);
    while (fd < 0 && errno == EINTR);
    vm.fd_ = FileDescriptor(fd);
    if (vm.fd() < 0) return ioctl_error("KVM_CREATE_VM");
    // Intel CPUs without unrestricted guest mode run real mode by help of four pages that no guest memory may overlap:
    // above the APICs, and below firmware of whatever size, as QEMU has them.
    u64 identity_map = 0xfeffc000;
    constexpr u64 kTssAddress = 0xfeffd000;
    if (vm.capability(KVM_CAP_SET_IDENTITY_MAP_ADDR) != 0 &&
        ioctl(vm.fd(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0) {
        return ioctl_error("KVM_SET_IDENTITY_MAP_ADDR");
    }
    if (vm.capability(KVM_CAP_SET_TSS_ADDR) != 0 && ioctl(vm.fd(), KVM_SET_TSS_ADDR, kTssAddress) < 0) {
        return ioctl_error("KVM_SET_TSS_ADDR");
    }
    return vm;
}

int KvmVm::capability(u64 number) const {
    const int value = ioctl(fd(), KVM_CHECK_EXTENSION, number);
    return value < 0 ? 0 : value;
}

bool KvmVm::exit_on_emulation_failure() {
    kvm_enable_cap enable{};
    enable.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE;
    enable.args[0] = 1;
    return ioctl(fd(), KVM_ENABLE_CAP, &enable) == 0;
}

Expected<KvmVcpu> KvmVcpu::create(const KvmDevice& device, const KvmVm& vm) {
    KvmVcpu vcpu;
    vcpu.fd_ = FileDescriptor(ioctl(vm.fd(), KVM_CREATE_VCPU, 0));
    if (vcpu.fd() < 0) return ioctl_error("KVM_CREATE_VCPU");
    const int size = ioctl(device.fd(), KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < static_cast<int>(sizeof(kvm_run))) return ioctl_error("KVM_GET_VCPU_MMAP_SIZE");
    void* p = mmap(nullptr, static_cast<std::size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd(), 0);
    if (p == MAP_FAILED) return ioctl_error("mmap of the vCPU's kvm_run");
    vcpu.run_ = static_cast<kvm_run*>(p);
    vcpu.run_size_ = static_cast<std::size_t>(size);
    return vcpu;
}

void KvmVcpu::hide_paravirtual_msrs() {
    kvm_enable_cap enable{};
    enable.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID;
    enable.args[0] = 1;
    ioctl(fd(), KVM_ENABLE_CAP, &enable);
}

KvmVcpu::KvmVcpu(KvmVcpu&& other) noexcept
    : fd_(std::move(other.fd_)), run_(std::exchange(other.run_, nullptr)), run_size_(other.run_size_) {}

KvmVcpu::~KvmVcpu() {
    if (run_ != nullptr) munmap(run_, run_size_);
}

}  // namespace dualvm::kvm

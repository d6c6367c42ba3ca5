// The three kinds of file descriptor of the KVM API, owned: /dev/kvm, a virtual machine, a virtual CPU.
// Source: Documentation/virt/kvm/api.rst of the Linux kernel.
#pragma once

#include <linux/kvm.h>

#include <memory>
#include <string>

#include "dualvm/types.h"

namespace dualvm::kvm {

class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor();
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    int get() const { return fd_; }

private:
    int fd_ = -1;
};

// "KVM_SET_SREGS failed: Invalid argument": an error that makes the engine unavailable.
tl::unexpected<Error> ioctl_error(const char* what);

class KvmDevice {
public:
    // Opens `path` and checks that it is KVM of API version 12.
    static Expected<KvmDevice> open(const std::string& path);
    int fd() const { return fd_.get(); }
    // KVM_CHECK_EXTENSION: 0 if the capability is absent.
    int capability(u64 number) const;

private:
    FileDescriptor fd_;
};

class KvmVm {
public:
    static Expected<KvmVm> create(const KvmDevice& device);
    int fd() const { return fd_.get(); }
    int capability(u64 number) const;
    // KVM_CAP_EXIT_ON_EMULATION_FAILURE, from Linux 5.14 on; false where there is no such thing.
    bool exit_on_emulation_failure();

private:
    FileDescriptor fd_;
};

class KvmVcpu {
public:
    static Expected<KvmVcpu> create(const KvmDevice& device, const KvmVm& vm);
    ~KvmVcpu();
    KvmVcpu(KvmVcpu&& other) noexcept;
    KvmVcpu& operator=(KvmVcpu&&) = delete;
    int fd() const { return fd_.get(); }
    kvm_run& run() { return *run_; }
    // KVM's own MSRs (11h, 12h, 4B564D00h and up), which it lets guests write that were never told of them: #GP, where
    // KVM_CAP_ENFORCE_PV_FEATURE_CPUID (Linux 5.10) can make them so. Before CPUID is set.
    void hide_paravirtual_msrs();

private:
    KvmVcpu() = default;
    FileDescriptor fd_;
    kvm_run* run_ = nullptr;
    std::size_t run_size_ = 0;
};

}  // namespace dualvm::kvm

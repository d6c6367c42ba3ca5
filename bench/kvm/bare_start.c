// The least that starts a guest under KVM: one slot of memory, one vCPU, one HLT. What dualvm takes beyond it is
// dualvm's.
//
//     bench_bare_start [MIB]        status 0 once the guest has halted
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { CODE = 0x1000, HLT = 0xf4 };

static int request(int fd, unsigned long number, void* data, const char* name) {
    const int result = ioctl(fd, number, data);
    if (result < 0) err(1, "%s", name);
    return result;
}

int main(int argc, char** argv) {
    const unsigned long size = strtoul(argc > 1 ? argv[1] : "128", NULL, 10) << 20;
    const int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (device < 0) err(1, "/dev/kvm");
    const int vm = request(device, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
    unsigned char* memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) err(1, "%lu bytes of guest memory", size);
    memory[CODE] = HLT;
    struct kvm_userspace_memory_region slot = {.memory_size = size, .userspace_addr = (unsigned long)memory};
    request(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
    const int vcpu = request(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
    const int run_size = request(device, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
    const struct kvm_run* run = mmap(NULL, (unsigned long)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED) err(1, "kvm_run");
    struct kvm_sregs sregs;
    request(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
    sregs.cs.base = sregs.cs.selector = 0;
    request(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
    struct kvm_regs regs = {.rip = CODE, .rflags = 2};
    request(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
    request(vcpu, KVM_RUN, NULL, "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_HLT) errx(1, "the guest did not halt: exit %u", run->exit_reason);
    return 0;
}

#include "host_kind.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace dualvm::kvm {

namespace {

bool module_loaded(const char* name) { return access((std::string("/sys/module/") + name).c_str(), F_OK) == 0; }

bool parameter_is_on(const char* path) {
    std::ifstream file(path);
    char value = 'Y';  // a kernel without the parameter has it on
    file >> value;
    return value == 'Y' || value == '1';
}

bool cpu_has(const char* flag) {
    std::ifstream file("/proc/cpuinfo");
    std::string line;
    while (std::getline(file, line)) {
        if (line.rfind("flags", 0) != 0) continue;
        std::istringstream words(line);
        for (std::string word; words >> word;) {
            if (word == flag) return true;
        }
        return false;
    }
    return false;
}

}  // namespace

HostKind host_kind() {
    const bool intel = module_loaded("kvm_intel"), amd = module_loaded("kvm_amd");
    if (module_loaded("kvm_pvm")) return intel || amd ? HostKind::Unknown : HostKind::Pvm;
    if (intel) return HostKind::Vmx;
    if (amd) return HostKind::Svm;
    if (cpu_has("vmx")) return HostKind::Vmx;  // built into the kernel
    if (cpu_has("svm")) return HostKind::Svm;
    return HostKind::Unknown;
}

bool nested_paging(HostKind kind) {
    if (kind == HostKind::Vmx) return parameter_is_on("/sys/module/kvm_intel/parameters/ept");
    if (kind == HostKind::Svm) return parameter_is_on("/sys/module/kvm_amd/parameters/npt");
    return false;
}

const char* to_string(HostKind kind) {
    switch (kind) {
        case HostKind::Vmx: return "VT-x";
        case HostKind::Svm: return "AMD-V";
        case HostKind::Pvm: return "kvm_pvm";
        case HostKind::Unknown: return "unknown";
    }
    return "?";
}

}  // namespace dualvm::kvm

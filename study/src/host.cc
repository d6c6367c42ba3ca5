#include "dualvm/study/host.h"

#include <sched.h>
#include <sys/utsname.h>

#include <filesystem>
#include <fstream>

namespace dualvm::study {

namespace {

std::string cpu_model() {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (!line.starts_with("model name")) continue;
        const auto colon = line.find(": ");
        if (colon != std::string::npos) return line.substr(colon + 2);
    }
    return "unknown";
}

std::string kvm_module() {
    for (const char* name : {"kvm_intel", "kvm_amd", "kvm_pvm"}) {
        std::error_code ignored;
        if (std::filesystem::exists(std::string("/sys/module/") + name, ignored)) return name;
    }
    return {};
}

}  // namespace

HostInfo host_info() {
    HostInfo host;
    host.cpu = cpu_model();
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) host.cpus = static_cast<unsigned>(CPU_COUNT(&set));
    utsname names{};
    if (uname(&names) == 0) host.kernel = std::string(names.sysname) + " " + names.release + " " + names.machine;
    host.kvm_module = kvm_module();
#ifdef __clang__
    host.compiler = "clang " __clang_version__;
#else
    host.compiler = "gcc " __VERSION__;
#endif
    return host;
}

}  // namespace dualvm::study

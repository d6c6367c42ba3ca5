"""What a benchmark's result is worth nothing without: the host it was measured on."""

import os
import platform
import re
import subprocess
from pathlib import Path


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def kvm_module():
    """Which kernel module serves /dev/kvm."""
    if not Path("/dev/kvm").exists():
        return "no /dev/kvm"
    found = [name for name in ("kvm_intel", "kvm_amd", "kvm_pvm") if Path("/sys/module", name).exists()]
    return ", ".join(found) or "/dev/kvm, module not known"


def compiler(build):
    """The compiler that the build tree was configured with."""
    cache = Path(build) / "CMakeCache.txt"
    if not cache.exists():
        return "not known"
    text = cache.read_text(encoding="utf-8")
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", text, re.MULTILINE)
    kind = re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", text, re.MULTILINE)
    if path is None:
        return "not known"
    version = subprocess.run([path[1], "--version"], capture_output=True, text=True, check=False).stdout
    return f"{version.splitlines()[0] if version else path[1]}, {kind[1] or 'Release' if kind else 'Release'}"


def describe_host(build):
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} of them",
        "kernel": platform.release(),
        "KVM": kvm_module(),
        "compiler": compiler(build),
        "load before": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
    }

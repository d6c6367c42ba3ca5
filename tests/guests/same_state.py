#!/usr/bin/env python3
"""Every deterministic guest ends with the same CpuFile under interp and kvm: same_state.py BUILD.

Where this host's KVM is itself at fault, the register is named with the reason, and only there it is let pass.
"""

import json
import subprocess
import sys

import run_guest

# Registers that the kernel's emulator of kvm_pvm leaves wrong, and the rule it breaks.
KVM_PVM_WRONG = {
    "es.": "IRETQ to ring 3 does not take away a ring-0 segment (SDM vol. 3A, 5.8.6)",
    "ds.": "IRETQ to ring 3 does not take away a ring-0 segment (SDM vol. 3A, 5.8.6)",
    "fs.": "a segment that IRETQ took away keeps its hidden part",
    "gs.": "a segment that IRETQ took away keeps its hidden part",
    "cr2:": "the page fault of a stack push is reported at the page's end",
}


def compare(build, guest):
    command = [f"{build}/dualvm", "compare", "--json=-", "-no-reboot", "--timeout", "60",
               "-kernel", str(run_guest.guest_file(build, guest)), "-append", guest["arguments"]]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    return json.loads(run.stdout)


def main():
    build = sys.argv[1]
    passed = skipped = failed = 0
    excused = set()
    for guest in run_guest.load_manifest()["guests"]:
        if not guest.get("deterministic") or "interp" in guest.get("not_on", {}) or guest.get("options"):
            continue
        reason = run_guest.skip_reason(build, guest, "kvm")
        if reason:
            skipped += 1
            print(f"skipped {guest['name']}: {reason}")
            continue
        report = compare(build, guest)
        pvm = report["host"]["kvm_module"] == "kvm_pvm"
        wrong = []
        for line in report["cpu_differences"].splitlines():
            rule = next((r for r in KVM_PVM_WRONG if line.startswith(r)), None) if pvm else None
            if rule is None:
                wrong.append(line)
            else:
                excused.add(rule)
        if wrong or not report["agree"]:
            failed += 1
            print(f"FAILED {guest['name']} {guest['arguments']}: {report['disagreements']}", *wrong, sep="\n  ")
        else:
            passed += 1
    for rule in sorted(excused):
        print(f"let pass on this host: {rule} {KVM_PVM_WRONG[rule]}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if failed:
        sys.exit(1)
    if not passed:
        sys.exit(run_guest.SKIPPED)


if __name__ == "__main__":
    main()

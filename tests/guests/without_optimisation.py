#!/usr/bin/env python3
"""Every guest of the manifest under the interpreter without one of its optimisations: nothing may change but the time.

    without_optimisation.py BUILD NAME            all guests with --no-opt=NAME
    without_optimisation.py BUILD --all NAME...   are these all the optimisations there are?
"""

import json
import subprocess
import sys

import run_guest


def known(build):
    command = run_guest.dualvm_command(build, {"file": "exit.elf", "arguments": ""}, "interp") + ["--json=-", "-serial",
                                                                                                  "none"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    return sorted(json.loads(done.stdout)["optimisations"])


def check_without(build, name):
    failed = 0
    for guest in run_guest.load_manifest()["guests"]:
        if run_guest.skip_reason(build, guest, "interp"):
            continue
        command = run_guest.dualvm_command(build, guest, "interp", f"-without-{name}") + [f"--no-opt={name}"]
        status, output = run_guest.run(command)
        wrong = run_guest.check(guest, "interp", status, output)
        if wrong:
            print(f"{guest['name']}: " + "\n".join(wrong))
            failed += 1
    print(f"{failed} guests failed without '{name}'")
    return 1 if failed else 0


def main():
    build, first, *rest = sys.argv[1:]
    if first != "--all":
        return check_without(build, first)
    if sorted(rest) == known(build):
        return 0
    print(f"the tests know the optimisations {sorted(rest)}, dualvm has {known(build)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())

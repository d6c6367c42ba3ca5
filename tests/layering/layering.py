#!/usr/bin/env python3
"""Who may know whom: scans every #include, and every link between rooms, of a source tree.

    layering.py ROOT        prints each line that breaks a rule; status 1 if there is one

The rules are the tables below; CONTRIBUTING.md says why they are what they are.
"""

import re
import sys
from pathlib import Path

# Room (a folder at the top) -> the rooms whose headers it may include, besides its own.
ROOMS = {
    "machine": set(),
    "common-devices": {"machine"},
    "storage": {"machine"},
    "interp": {"machine"},
    "kvm-accel": {"machine"},
    "boot": {"machine"},
    "study": {"machine"},
    "guests": set(),
}
ALL = {"machine", "common-devices", "storage", "interp", "kvm-accel", "boot", "study"}
ROOMS.update({"app": ALL, "bench": ALL, "tests": ALL})

# Room -> its CMake target, where the two are not called alike.
TARGETS = {"common-devices": "devices", "kvm-accel": "kvm"}

# Headers of others that only some may see: pattern of the header -> pattern of the files that may include it.
GUARDED = {
    r"linux/kvm\.h": r"kvm-accel/|tests/|bench/",
    r"Zydis/.*|Zycore/.*": r"interp/|study/.*(disassembl|catalogue|fuzz)|tests/|bench/",
    r"capstone/.*": r"study/.*disassembl|tests/|bench/",
    r"CLI/.*": r"app/",
    r"zlib\.h|zstd\.h": r"storage/",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
LINK = re.compile(r"target_link_libraries\s*\(([^)]*)\)", re.DOTALL)
SOURCE_SUFFIXES = {".h", ".cc", ".c", ".hpp", ".inc", ".S"}


def headers_by_name(root):
    """What a file may write after #include -> the rooms that have a header of that name."""
    found = {}
    for room in ROOMS:
        for path in (root / room).rglob("*.h"):
            parts = path.relative_to(root / room).parts
            for i in range(len(parts)):  # any folder on the way may be one that the compiler searches
                found.setdefault("/".join(parts[i:]), set()).add(room)
    return found


def included_rooms(root, source, name, headers):
    """The rooms of which `source` may mean a header by `name`: one as a rule, none if it is nobody's here."""
    beside = (source.parent / name).resolve()
    if beside.is_file() and root in beside.parents:
        return {beside.relative_to(root).parts[0]}
    rooms = headers.get(name, set())
    own = source.relative_to(root).parts[0]
    return {own} if own in rooms else rooms


def include_violations(root):
    headers = headers_by_name(root)
    for room, may_know in ROOMS.items():
        for source in sorted((root / room).rglob("*")):
            if source.suffix not in SOURCE_SUFFIXES or not source.is_file():
                continue
            where = source.relative_to(root).as_posix()
            for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                name = match.group(1)
                for other in sorted(included_rooms(root, source, name, headers) - may_know - {room}):
                    yield f"{where}:{number}: {room} may not know {other}: {line.strip()}"
                for header, files in GUARDED.items():
                    if re.fullmatch(header, name) and not re.match(files, where):
                        yield f"{where}:{number}: <{name}> belongs in {files} only"


def link_violations(root):
    target_to_room = {"dualvm_" + TARGETS.get(room, room): room for room in ALL}
    for room, may_know in ROOMS.items():
        for script in sorted((root / room).rglob("CMakeLists.txt")):
            where = script.relative_to(root).as_posix()
            for link in LINK.findall(script.read_text(encoding="utf-8")):
                for other in (target_to_room.get(word) for word in link.split()):
                    if other is not None and other != room and other not in may_know:
                        yield f"{where}: {room} may not link {other}"


def violations(root):
    root = Path(root).resolve()
    return list(include_violations(root)) + list(link_violations(root))


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if not (Path(sys.argv[1]) / "machine" / "include").is_dir():
        print(f"{sys.argv[1]} is not dualvm's source tree: it has no machine/include", file=sys.stderr)
        return 2
    found = violations(sys.argv[1])
    print("\n".join(found) if found else "every room knows only whom it may know")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""The fenced blocks of a MyST page."""

import re
from dataclasses import dataclass, field

FENCE = re.compile(r"^(```+|:::+)\s*(\S*)\s*(.*)$")
NEEDS = re.compile(r"^% needs: (.+)$")
OPTION = re.compile(r"^:([a-z-]+):\s*(.*)$")


@dataclass
class Block:
    kind: str  # the word after the fence: "console", "{listing}", ...
    argument: str
    line: int  # of the opening fence, from 1
    body: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)  # from a `% needs: a, b` comment on the line above

    def options(self):
        return {m[1]: m[2] for m in map(OPTION.match, self.body) if m}


def blocks_of(text):
    found = []
    inside = None
    fence = ""
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        if inside is None:
            match = FENCE.match(line)
            if match:
                fence = match[1]
                inside = Block(match[2], match[3], number)
                if needs := NEEDS.match(above):
                    inside.needs = [n.strip() for n in needs[1].split(",")]
            above = line
        elif line.rstrip() == fence:
            found.append(inside)
            inside = None
            above = ""
        else:
            inside.body.append(line)
    if inside is not None:
        raise ValueError(f"line {inside.line}: the block is not closed")
    return found

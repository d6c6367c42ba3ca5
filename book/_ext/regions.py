"""Finds a region of a source file by what it says, so that a listing in the book cannot rot.

A region is named by a piece of the text of its first line, which must occur on exactly one line of the file. It begins
there, or at the comment or `template` line right above; it ends

* with the line that contains the text `until`, if that is given; otherwise
* with the closing brace that stands as far to the right as the first line, if the first line (or the statement that it
  begins) opens one; otherwise
* where the statement ends.
"""


class RegionError(Exception):
    pass


def _indent(line):
    return len(line) - len(line.lstrip())


def _lines_with(lines, text, path, after=0):
    hits = [i for i in range(after, len(lines)) if text in lines[i]]
    if not hits:
        raise RegionError(f"{path} has no line with '{text}'")
    return hits


def _is_comment(line):
    return line.lstrip().startswith(("//", "# ", "/*", "* "))


def find(source, text, until=None, path="the file", with_comment=True):
    """The region's first and last line as numbers from 1."""
    lines = source.splitlines()
    hits = _lines_with(lines, text, path)
    if len(hits) > 1:
        raise RegionError(f"{path} has '{text}' on lines {', '.join(str(i + 1) for i in hits)}: quote more of one")
    first = last = hits[0]
    indent = _indent(lines[first])
    if until is not None:
        last = _lines_with(lines, until, path, after=first)[0]
    else:
        # The statement may go on over lines that are indented further, up to its brace or semicolon.
        while not lines[last].split("//")[0].rstrip().endswith(("{", ";", "}")):
            last += 1
            if last == len(lines):
                raise RegionError(f"{path}: what begins with '{text}' has no end")
        if lines[last].split("//")[0].rstrip().endswith("{"):
            while not (lines[last].lstrip().startswith("}") and _indent(lines[last]) == indent):
                last += 1
                if last == len(lines):
                    raise RegionError(f"{path}: the block that begins with '{text}' is not closed")
    if first > 0 and lines[first - 1].startswith("template <", indent):
        first -= 1
    while with_comment and first > 0 and _is_comment(lines[first - 1]) and _indent(lines[first - 1]) == indent:
        first -= 1
    return first + 1, last + 1


def text_of(source, first, last):
    """Lines first..last, moved to the left margin."""
    lines = source.splitlines()[first - 1 : last]
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines) + "\n"

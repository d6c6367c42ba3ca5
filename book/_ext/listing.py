"""The directive that every listing of the book is made with:

    ```{listing} machine/include/dualvm/vio.h
    :region: class Device {
    ```

Options: `region` (text of the first line), `until` (text of the last), `no-comment` (leave out the comment above).
"""

from pathlib import Path

import regions
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {".h": "cpp", ".cc": "cpp", ".c": "c", ".S": "gas", ".py": "python", ".cmake": "cmake", ".txt": "cmake"}


class Listing(SphinxDirective):
    required_arguments = 1
    option_spec = {
        "region": directives.unchanged_required,
        "until": directives.unchanged_required,
        "no-comment": directives.flag,
    }

    def run(self):
        path = self.arguments[0]
        file = ROOT / path
        if "region" not in self.options:
            raise self.error("a listing needs :region:")
        if not file.is_file():
            raise self.error(f"no such file: {path}")
        self.env.note_dependency(str(file))
        source = file.read_text(encoding="utf-8")
        try:
            first, last = regions.find(source, self.options["region"], self.options.get("until"), path,
                                       "no-comment" not in self.options)
        except regions.RegionError as e:
            raise self.error(str(e)) from e
        code = nodes.literal_block(source, regions.text_of(source, first, last))
        code["language"] = LANGUAGES.get(file.suffix, "none")
        caption = nodes.caption("", "", nodes.literal("", path), nodes.Text(f", lines {first} to {last}"))
        box = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
        box += [caption, code]
        self.set_source_info(code)
        return [box]


def setup(app):
    app.add_directive("listing", Listing)
    return {"version": "1", "parallel_read_safe": True, "env_version": 1}

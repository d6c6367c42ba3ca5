#!/usr/bin/env python3
"""What keeps the book true must be able to fail: regions, listings and console blocks that are wrong are found."""

import sys
import tempfile
import unittest
from pathlib import Path

import check_listings
import run_console_blocks
from blocks import blocks_of

import regions  # from book/_ext: check_listings has put it on the path

SOURCE = """\
// What it is.
class Thing {
    int a() {
        return 1;
    }
    int b = 2;  // a comment; with a semicolon
};
int call(int x,
         int y);
"""


class Regions(unittest.TestCase):
    def test_a_block_ends_with_its_own_brace_and_takes_the_comment_above(self):
        self.assertEqual(regions.find(SOURCE, "class Thing"), (1, 7))
        self.assertEqual(regions.find(SOURCE, "class Thing", with_comment=False), (2, 7))
        self.assertEqual(regions.find(SOURCE, "int a()"), (3, 5))

    def test_a_statement_ends_with_its_semicolon(self):
        self.assertEqual(regions.find(SOURCE, "int b"), (6, 6))
        self.assertEqual(regions.find(SOURCE, "int call"), (8, 9))

    def test_the_template_line_above_belongs_to_what_it_heads(self):
        self.assertEqual(regions.find("// Of any type.\ntemplate <class T>\nT f(T a) {\n    return a;\n}\n", "T f("), (1, 5))

    def test_until_names_the_last_line(self):
        self.assertEqual(regions.find(SOURCE, "int a()", until="int b"), (3, 6))

    def test_text_that_is_missing_or_not_alone_is_refused(self):
        with self.assertRaises(regions.RegionError):
            regions.find(SOURCE, "struct Thing")
        with self.assertRaises(regions.RegionError):
            regions.find(SOURCE, "int")

    def test_the_text_is_moved_to_the_margin(self):
        self.assertEqual(regions.text_of(SOURCE, 3, 5), "int a() {\n    return 1;\n}\n")


class Listings(unittest.TestCase):
    def violations(self, page):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "book").mkdir()
            (root / "thing.h").write_text(SOURCE, encoding="utf-8")
            (root / "book" / "page.md").write_text(page, encoding="utf-8")
            return list(check_listings.violations(root))

    def test_a_listing_that_holds_passes(self):
        self.assertEqual(self.violations("```{listing} thing.h\n:region: class Thing\n```\n"), [])

    def test_code_typed_into_a_page_is_refused(self):
        for language in ("cpp", "c", "", "gas", "{code-block} cpp", "{literalinclude} thing.h"):
            self.assertEqual(len(self.violations(f"```{language}\nint x;\n```\n")), 1, language)

    def test_a_listing_of_what_is_gone_is_found(self):
        self.assertEqual(len(self.violations("```{listing} thing.h\n:region: class Gone\n```\n")), 1)
        self.assertEqual(len(self.violations("```{listing} gone.h\n:region: class Thing\n```\n")), 1)
        self.assertEqual(len(self.violations("```{listing} thing.h\n```\n")), 1)


class ConsoleBlocks(unittest.TestCase):
    def problems(self, *body, needs=()):
        block = blocks_of("```console\n" + "\n".join(body) + "\n```\n")[0]
        block.needs = list(needs)
        with tempfile.TemporaryDirectory() as folder:
            return list(run_console_blocks.run_block(block, folder))

    def test_what_is_printed_must_be_what_the_page_says(self):
        self.assertEqual(self.problems("$ echo a; echo b", "a", "b", "$ echo c", "c"), [])
        self.assertEqual(len(self.problems("$ echo a", "b")), 1)
        self.assertEqual(len(self.problems("$ echo a")), 1)
        self.assertEqual(len(self.problems("$ true", "a")), 1)

    def test_standard_error_counts(self):
        self.assertEqual(self.problems("$ echo a >&2", "a"), [])

    def test_wildcards_match_within_a_line_or_over_lines(self):
        self.assertEqual(self.problems("$ seq 5", "1", "...", "5"), [])
        self.assertEqual(self.problems("$ echo took 17 ms", "took … ms"), [])
        self.assertEqual(len(self.problems("$ printf 'took 17\\nms\\n'", "took … ms")), 1)
        self.assertEqual(len(self.problems("$ seq 5", "1", "...", "6")), 1)

    def test_a_command_that_fails_is_a_problem_unless_its_status_is_asked_for(self):
        self.assertEqual(len(self.problems("$ (exit 3)")), 1)
        self.assertEqual(self.problems("$ (exit 3)", "$ echo $?", "3"), [])
        self.assertEqual(len(self.problems("$ (exit 4)", "$ echo $?", "3")), 1)

    def test_a_command_may_go_on_in_the_next_line(self):
        self.assertEqual(self.problems("$ echo a \\", "> b", "a b"), [])

    def test_needs_are_read_from_the_comment_above(self):
        self.assertEqual(blocks_of("% needs: kvm, file build/x\n```console\n$ true\n```\n")[0].needs,
                         ["kvm", "file build/x"])
        self.assertIn("has no x", run_console_blocks.why_not("file build/x", Path("/nowhere/build")))
        with self.assertRaises(ValueError):
            run_console_blocks.why_not("luck", Path("/nowhere/build"))

    def test_a_block_that_is_not_closed_is_refused(self):
        with self.assertRaises(ValueError):
            blocks_of("```console\n$ true\n")


if __name__ == "__main__":
    sys.exit(unittest.main())

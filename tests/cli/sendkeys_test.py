"""Scripted keys: --sendkeys."""

from cli import BAD_IMAGE, CLEAN, LIMIT, USAGE, CliTest, dualvm, main, run_guest

# What the guest says before the scan codes that it got: FAh is the keyboard that was enabled.
KEYS = "keys: fa"


def make(*codes):
    """Make and break code of each, as the guest prints them."""
    return "".join(f" {code:02x} {code | 0x80:02x}" for code in codes)


class Keys(CliTest):
    def press(self, script, *arguments, engine="interp"):
        result = run_guest("keyboard", "-append", "keys=1", f"--sendkeys={script}", "--timeout", "30", *arguments,
                           engine=engine)
        self.assertIn(KEYS, result.stdout, result.stderr)
        return result, result.stdout.split(KEYS)[1].rstrip("\n")

    def test_text_is_typed_on_a_us_keyboard(self):
        result, codes = self.press("<screen:press keys>aZ1!<<<esc>")
        self.assert_status(result, 1)
        shift = " 2a{} aa"
        self.assertEqual(codes, make(0x1e) + shift.format(make(0x2c)) + make(0x02) +
                         shift.format(make(0x02)) + shift.format(make(0x33)) + make(0x01))

    def test_keys_by_name_together_and_several_times(self):
        result, codes = self.press("<screen:press keys><ret><f1><up><down*2><ctrl-alt-x><CTRL-c><esc>")
        self.assert_status(result, 1)
        up, down = " e0 48 e0 c8", " e0 50 e0 d0"
        self.assertEqual(codes, make(0x1c, 0x3b) + up + down * 2 + " 1d 38 2d ad b8 9d" + " 1d 2e ae 9d" + make(0x01))

    def test_no_key_is_lost_though_the_queue_has_sixteen_places(self):
        text = "the quick brown fox jumps over the lazy dog" * 5
        result, codes = self.press(f"<screen:press keys><pace:1ms>{text}<esc>")
        self.assert_status(result, 1)
        self.assertEqual(len(codes.split()), 2 * len(text) + 2)

    def test_a_run_is_the_same_every_time(self):
        script = "<screen:press keys>Hello<wait:100ms><ctrl-alt-del><esc>"
        runs = [self.press(script, "--stats") for _ in range(2)]
        self.assertEqual(runs[0][0].stdout, runs[1][0].stdout)
        counts = [[line for line in run[0].stderr.splitlines() if "instructions " in line] for run in runs]
        self.assertEqual(len(counts[0]), 1)
        self.assertEqual(*counts)

    def test_time_between_keys_is_the_guests(self):
        def instructions(script):
            result, _ = self.press(script, "--stats")
            line = next(line for line in result.stderr.splitlines() if "halt " in line)
            return int(line.split()[-1])

        # Nothing wakes this guest but keys, however long it waits for them.
        self.assertEqual(instructions("<screen:press keys><esc>"), instructions("<screen:press keys><wait:1000s><esc>"))

    def test_a_guest_that_sleeps_at_once_gets_its_keys(self):
        # IRQ 1's handler ends the run with the scan code; sti; hlt.
        code = bytes.fromhex("31c08ed88ed0bc007c b011e620 b008e621 b004e621 b001e621 b0fde621 b0ffe6a1"
                             "c7062400317c c70626000000 fb f4ebfd e460e6f4")
        sector = self.folder / "sector"
        sector.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa")
        for clock in ("virtual", "host"):
            with self.subTest(clock=clock):
                self.assert_status(dualvm("run", "--engine=interp", f"--clock={clock}", "-kernel", str(sector),
                                          "--sendkeys=a"), 0x1e << 1 | 1)

    def test_a_script_has_an_end(self):
        self.assert_refused(dualvm("run", "-kernel", "x", "--sendkeys=" + "<a*1000>" * 201), USAGE,
                            "more than 200000 keys")

    def test_under_the_hosts_clock_too(self):
        result, codes = self.press("<screen:press keys>ab<esc>", "--clock=host")
        self.assert_status(result, 1)
        self.assertEqual(codes, make(0x1e, 0x30, 0x01))

    def test_a_file_may_have_lines_and_comments(self):
        path = self.folder / "keys"
        path.write_text("# first what it waits for\n<screen:press keys>\n# then\na\n<esc>\n")
        result, codes = self.press(f"@{path}")
        self.assert_status(result, 1)
        self.assertEqual(codes, make(0x1e, 0x01))


class End(CliTest):
    def test_a_run_that_ends_before_says_what_is_left(self):
        result = run_guest("hello64", "--sendkeys=<screen:nowhere>abc")
        self.assert_status(result, 1)
        self.assertIn("left: <screen:nowhere>abc; this text was not on the screen", result.stderr)

    def test_a_script_that_was_done_says_nothing(self):
        result = run_guest("hello64", "--sendkeys=")
        self.assert_status(result, 1)
        self.assertNotIn("sendkeys", result.stderr)

    def test_a_sleeping_guest_is_not_kept_by_a_script_that_only_waits(self):
        sector = self.folder / "sector"  # sti; hlt; jmp to itself, and no timer runs
        sector.write_bytes(b"\xfb\xf4\xeb\xfc".ljust(510, b"\0") + b"\x55\xaa")
        result = dualvm("run", "--engine=interp", "-kernel", str(sector), "--sendkeys=<screen:nowhere>")
        self.assert_status(result, CLEAN)
        self.assertIn("this text was not on the screen", result.stderr)

    def test_limits_hold_while_a_script_waits(self):
        result = run_guest("loop-forever", "--sendkeys=<screen:nowhere>a", "--max-insns", "300000000")
        self.assert_status(result, LIMIT)
        self.assertIn("left: <screen:nowhere>a", result.stderr)


class Mistakes(CliTest):
    def refused(self, script, *words):
        result = run_guest("hello64", f"--sendkeys={script}")
        self.assert_refused(result, USAGE, "--sendkeys", *words)
        return result.stderr

    def test_the_place_is_shown(self):
        error = self.refused("abc<rett>def", "character 4", "no key 'rett'", "did you mean 'ret'?")
        text, mark = error.splitlines()[1:3]
        self.assertEqual(text[mark.index("^"):mark.rindex("^") + 1], "<rett>")

    def test_each_mistake_has_its_words(self):
        self.refused("a<ret", "has no >")
        self.refused("<wait:2>", "'2' is not a time")
        self.refused("<wait:-1s>", "is not a time")
        self.refused("<pace:fast>", "'fast' is not a time")
        self.refused("<down*0>", "'0' is not a number of times")
        self.refused("<screen:>", "needs a text")
        self.refused("<sleep:1s>", "'sleep:' is not one of wait:")
        self.refused("<ctrl--x>", "no key '-x'")
        self.refused("<>", "a key's name is missing")
        self.refused("<move:1>", "is not two numbers")
        self.refused("<click:both>", "is not one of left, right or middle")
        self.refused("é", "no key of a US keyboard gives this character")

    def test_in_a_file_the_line_is_told(self):
        path = self.folder / "keys"
        path.write_text("# <nokey>\nabc\nx<nokey>\n")
        self.refused(f"@{path}", f"{path}, line 3", "x<nokey>")

    def test_a_file_that_cannot_be_read(self):
        self.assert_refused(run_guest("hello64", f"--sendkeys=@{self.folder}/none"), BAD_IMAGE, "No such file")
        self.assert_refused(run_guest("hello64", f"--sendkeys=@{self.folder}"), BAD_IMAGE, "it is a folder")


if __name__ == "__main__":
    main()

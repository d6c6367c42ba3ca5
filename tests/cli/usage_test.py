"""Unknown options and values (status 2), help, version."""

import re
from pathlib import Path

from cli import CLEAN, BAD_IMAGE, USAGE, CliTest, dualvm, guest, main


class Usage(CliTest):
    def test_no_arguments_give_short_help(self):
        self.assert_refused(dualvm(), USAGE, "Usage: dualvm COMMAND", "disasm")

    def test_unknown_command_names_the_nearest(self):
        self.assert_refused(dualvm("comparr"), USAGE, "no command 'comparr'", "did you mean 'compare'?")

    def test_option_without_command_names_the_command(self):
        self.assert_refused(dualvm("-kernel", "x"), USAGE, "dualvm run -kernel")

    def test_unknown_option_names_the_nearest(self):
        self.assert_refused(dualvm("run", "-kernal", "x"), USAGE, "unknown option '-kernal'", "'-kernel'?")
        self.assert_refused(dualvm("run", "--max-ins=5"), USAGE, "unknown option '--max-ins'", "'--max-insns'?")

    def test_option_of_another_command_is_told(self):
        self.assert_refused(dualvm("run", "--repeat", "3"), USAGE, "option of 'dualvm compare'")

    def test_missing_value(self):
        self.assert_refused(dualvm("run", "-kernel"), USAGE, "'-kernel' needs a value")

    def test_value_for_a_flag(self):
        self.assert_refused(dualvm("run", "--stats=yes", "-kernel", "x"), USAGE, "'--stats' takes no value")

    def test_missing_kernel(self):
        for command in ("run", "compare", "trace"):
            self.assert_refused(dualvm(command), USAGE, "-kernel FILE")

    def test_too_many_arguments(self):
        self.assert_refused(dualvm("run", "-kernel", "x", "y"), USAGE, "'y'")

    def test_values_that_are_none(self):
        for option, value in (("-m", "abc"), ("-m", "-5"), ("-m", "nan"), ("-m", ""), ("-m", "12Q"), ("-m", "1.5G"),
                              ("--engine", "tcg"), ("--timeout", "nan"), ("--timeout", "-1"), ("--timeout", "0"),
                              ("--timeout", "inf"), ("--timeout", "10s"), ("--max-insns", "-1"),
                              ("--max-insns", "99999999999999999999"), ("--max-insns", "many"), ("-serial", "tcp:1"),
                              ("-serial", "file:"), ("-d", "everything"), ("-d", ""), ("--color", "blue"),
                              ("--clock", "wall"), ("--protocol", "efi"), ("--protocol", "firmware"), ("--screen", "png"),
                              ("-boot", "x"), ("-boot", "cc"), ("-boot", "")):
            with self.subTest(option=option, value=value):
                self.assert_refused(dualvm("run", "-kernel", guest("halt"), option, value), USAGE,
                                    f"'{value}'" if option != "--max-insns" else value)

    def test_optimisations_can_be_left_out(self):
        result = dualvm("run", "--engine=interp", "--no-opt=flags,links", "--no-opt", "tlb", "-kernel", guest("exit"),
                        "-append", "value=3")
        self.assert_status(result, 7)
        self.assert_refused(dualvm("run", "--no-opt=flag", "-kernel", "x"), USAGE, "'flag' is not one of", "flags")
        self.assert_refused(dualvm("run", "--no-opt=", "-kernel", "x"), USAGE, "'' is not one of")

    def test_help_and_manual_name_every_optimisation(self):
        text = dualvm("run", "--help").stdout
        names = re.findall(r"^  (\w+)", text.split("--no-opt=LIST")[1].split("\n\n")[0], re.MULTILINE)
        self.assertIn("flags", names)
        manual = (Path(__file__).resolve().parents[2] / "man" / "dualvm.1").read_text(encoding="utf-8")
        for name in names:
            self.assertRegex(manual, rf"\.BR {name} ")

    def test_options_that_contradict_each_other(self):
        self.assert_refused(dualvm("run", "--engine=kvm", "--clock=virtual", "-kernel", "x"), USAGE, "--clock=virtual")
        self.assert_refused(dualvm("run", "--engine=kvm", "--max-insns=5", "-kernel", "x"), USAGE, "--max-insns")
        self.assert_refused(dualvm("run", "-D", "log", "-kernel", "x"), USAGE, "-d LIST")
        self.assert_refused(dualvm("run", "-kernel", "x", "-bios", "y"), USAGE, "-bios")
        self.assert_refused(dualvm("run", "-bios", "y", "-append", "z"), USAGE, "-append")
        self.assert_refused(dualvm("run", "-kernel", "x", "-boot", "menu=maybe"), USAGE, "menu=maybe")
        self.assert_refused(dualvm("run", "-kernel", "x", "-boot", "order=cx"), USAGE, "no drive 'x'")
        self.assert_refused(dualvm("run", "-kernel", "x", "-boot", "order=c,splash=y"), USAGE, "splash=y")
        self.assert_refused(dualvm("run", "-hdc", "x", "-cdrom", "y"), USAGE, "-cdrom")
        self.assert_refused(dualvm("compare", "-hda", "x"), USAGE, "disks")
        for assist in ("--assist=off", "--assist=instruction", "--no-rescue"):
            self.assert_refused(dualvm("run", assist, "--patience=9", "-kernel", "x"), USAGE, "--patience")
        self.assert_refused(dualvm("compare", "--patience=9", "-kernel", "x"), USAGE, "--patience")
        self.assert_refused(dualvm("disasm"), USAGE, "--bytes")
        self.assert_refused(dualvm("disasm", "x", "--bytes", "90"), USAGE, "--bytes")

    def test_a_file_has_a_name(self):
        for command, option in (("run", "-kernel"), ("run", "-hda"), ("run", "-D"), ("trace", "-o"), ("disasm", "-o"),
                                ("fuzz", "--coverage"), ("fuzz", "--regressions")):
            with self.subTest(command=command, option=option):
                self.assert_refused(dualvm(command, f"{option}="), USAGE, f"{option}: the name of the file is empty")

    def test_a_value_that_may_be_left_out_is_not_empty(self):
        self.assert_refused(dualvm("probe", "--json="), USAGE, "'--json=' has no value")

    def test_an_image_that_is_not_there_is_a_bad_image(self):
        for option in ("-hda", "-hdb", "-hdc", "-hdd", "-cdrom", "-fda", "-fdb"):
            with self.subTest(option=option):
                self.assert_refused(dualvm("run", option, "nowhere.img", "-kernel", guest("halt")), BAD_IMAGE,
                                    "nowhere.img")

    def test_options_of_later_versions_are_refused_not_ignored(self):
        for option in ("-gdb",):
            with self.subTest(option=option):
                self.assert_refused(dualvm("run", option, "x", "-kernel", guest("halt")), USAGE, option,
                                    "not available in this version")
        for option in ("-s", "-S"):
            with self.subTest(option=option):
                self.assert_refused(dualvm("run", option, "-kernel", guest("halt")), USAGE, option, "not available")


class Spelling(CliTest):
    def test_one_dash_two_dashes_space_and_equals_are_the_same(self):
        for words in (["-kernel", guest("exit")], ["--kernel", guest("exit")], [f"-kernel={guest('exit')}"],
                      [f"--kernel={guest('exit')}"]):
            with self.subTest(words=words):
                result = dualvm("run", *words, "-engine=interp", "-append", "value=3")
                self.assert_status(result, 7)

    def test_a_value_may_look_like_an_option(self):
        result = dualvm("run", "--engine=interp", "-kernel", guest("exit"), "-append", "-m value=4")
        self.assert_status(result, 9)

    def test_a_value_may_be_empty(self):
        for words in (["-append", ""], ["-append="], ["--append="]):
            with self.subTest(words=words):
                self.assert_status(dualvm("run", "--engine=interp", "-kernel", guest("exit"), *words), 1)

    def test_the_last_of_several_counts(self):
        result = dualvm("run", "--engine=interp", "-m", "0", "-m", "16", "-kernel", guest("halt"))
        self.assert_status(result, CLEAN)

    def test_memory_sizes(self):
        for size in ("16", "16M", "16m", "1G", "1024K"):
            with self.subTest(size=size):
                status = CLEAN if size != "1024K" else BAD_IMAGE  # 1 MiB: a kernel at 1 MiB does not fit
                self.assert_status(dualvm("run", "--engine=interp", "-m", size, "-kernel", guest("halt")), status)

    def test_accepted_for_qemus_sake(self):
        result = dualvm("run", "--engine=interp", "-nographic", "-no-acpi", "-no-reboot", "-kernel", guest("halt"))
        self.assert_status(result, CLEAN)


class Help(CliTest):
    def test_top_level(self):
        for words in (["--help"], ["-h"], ["help"], ["-help"]):
            with self.subTest(words=words):
                result = dualvm(*words)
                self.assert_status(result, CLEAN)
                self.assertEqual(result.stderr, "")
                for word in ("Examples:", "Exit status:", "run", "compare", "probe", "trace", "disasm", "fuzz", "img"):
                    self.assertIn(word, result.stdout)

    def test_every_command(self):
        for command in ("run", "compare", "probe", "trace", "disasm", "fuzz", "img"):
            for words in ([command, "--help"], ["help", command], [command, "-h"]):
                with self.subTest(words=words):
                    result = dualvm(*words)
                    self.assert_status(result, CLEAN)
                    for word in (f"Usage: dualvm {command}", "Examples:", "Exit status:", "14 "):
                        self.assertIn(word, result.stdout)

    def test_compare_offers_no_disks(self):
        for option in ("-hda FILE", "-cdrom FILE", "-fda FILE"):
            self.assertIn(option, dualvm("run", "--help").stdout)
            self.assertNotIn(option, dualvm("compare", "--help").stdout)

    def test_no_line_is_too_long_for_a_terminal(self):
        for command in ("run", "compare", "probe", "trace", "disasm", "fuzz", "img"):
            for line in dualvm(command, "--help").stdout.splitlines():
                self.assertLessEqual(len(line), 120, line)

    def test_version(self):
        result = dualvm("--version")
        self.assert_status(result, CLEAN)
        self.assertRegex(result.stdout, r"^dualvm \d+\.\d+\.\d+\n")


if __name__ == "__main__":
    main()

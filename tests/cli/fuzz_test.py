"""dualvm fuzz."""

import json
import re
from pathlib import Path

from cli import BAD_IMAGE, CLEAN, UNAVAILABLE, USAGE, CliTest, dualvm, main

REGRESSIONS = Path(__file__).resolve().parents[1] / "diff" / "regressions"


def fuzz(*arguments):
    return dualvm("fuzz", *arguments)


def why_no_oracle():
    """Why the oracle 'native' is not to be had here; None if it is."""
    result = fuzz("--cases=1", "--only=nop")
    return result.stderr.strip() if result.returncode == UNAVAILABLE else None


class Values(CliTest):
    def test_values_that_are_none(self):
        for option, value in (("--cases", "many"), ("--seed", "-1"), ("--minutes", "0"), ("--jobs", "0"), ("--jobs", "1000"),
                              ("--oracle", "qemu")):
            with self.subTest(option=option, value=value):
                self.assert_refused(fuzz(option, value), USAGE, value)

    def test_kvm_that_is_not_there(self):
        self.assert_refused(fuzz("--oracle=kvm", "--kvm-device=/none", "--cases=1"), UNAVAILABLE, "/none")

    def test_files_that_are_no_cases(self):
        path = self.folder / "case.json"
        path.write_text('{"mode": 48}')
        if why := why_no_oracle():
            self.skipTest(why)
        self.assert_refused(fuzz(str(path)), BAD_IMAGE, str(path), "not a case")
        self.assert_refused(fuzz("/none"), BAD_IMAGE, "/none")


class Runs(CliTest):
    def setUp(self):
        super().setUp()
        if why := why_no_oracle():
            self.skipTest(why)

    def test_no_differences(self):
        result = fuzz("--cases=2000", "--seed=3", "--jobs=2")
        self.assert_status(result, CLEAN)
        compared = int(re.match(r"(\d+) cases in ", result.stdout).group(1))
        others = sum(int(count) for count in re.findall(r"^(\d+) more not compared", result.stdout, re.MULTILINE))
        self.assertEqual(compared + others, 2000)
        self.assertGreater(compared, 1500)
        self.assertIn("0 differences", result.stdout)

    def test_an_instruction_that_is_none(self):
        for names in ("nonsense", "add,nonsense", "add,"):
            self.assert_refused(fuzz(f"--only={names}"), USAGE, "--only")

    def test_a_time_ends_it(self):
        self.assert_status(fuzz("--minutes=0.02", "--only=add"), CLEAN)

    def test_the_report_as_json(self):
        result = fuzz("--cases=100", "--only=add,sub", "--json=-")
        self.assert_status(result, CLEAN)
        report = json.loads(result.stdout)
        self.assertEqual((report["oracle"], report["seed"], report["cases"], report["different"]), ("native", 1, 100, 0))
        self.assertEqual(report["findings"], [])

    def test_coverage_names_forms(self):
        path = self.folder / "coverage.json"
        self.assert_status(fuzz("--cases=200", "--only=add", f"--coverage={path}"), CLEAN)
        coverage = json.loads(path.read_text())
        self.assertIn("64/add/r32, r32", coverage)
        self.assertGreaterEqual(sum(coverage.values()), 200)

    def test_kept_cases_are_run_as_they_are(self):
        for option in ("--json=-", "--seed=2", "--coverage=x", "--cases=3"):
            with self.subTest(option=option):
                self.assert_refused(fuzz("case.json", option), USAGE, option.split("=")[0])

    def test_a_folder_that_is_not_there_is_known_before_any_work(self):
        self.assert_refused(fuzz("--cases=100000000", "--regressions=/none"), BAD_IMAGE, "/none")

    def test_a_file_that_cannot_be_written(self):
        result = fuzz("--cases=1", "--only=nop", "--coverage=/none/x")
        self.assert_status(result, BAD_IMAGE)
        self.assertIn("/none/x", result.stderr)

    def test_kept_cases_are_run_again(self):
        files = sorted(str(path) for path in REGRESSIONS.glob("*.json"))
        result = fuzz(*files)
        self.assert_status(result, CLEAN)
        equal, others = result.stdout.count(": equal\n"), result.stdout.count(": not compared: ")
        self.assertEqual(equal + others, len(files))  # others: what this host's CPU cannot tell
        self.assertGreater(equal, len(files) // 3)


if __name__ == "__main__":
    main()

"""dualvm probe."""

import json

from cli import CLEAN, UNAVAILABLE, CliTest, dualvm, main, why_no_kvm


class WithoutKvm(CliTest):
    def test_the_report_says_why(self):
        for device, why in (("/nonexistent", "No such file"), ("/dev/null", "not a KVM device")):
            with self.subTest(device=device):
                result = dualvm("probe", f"--kvm-device={device}")
                self.assert_status(result, UNAVAILABLE)
                self.assertIn("KVM is not usable here", result.stdout)
                self.assertIn(why, result.stderr)

    def test_json(self):
        result = dualvm("probe", "--kvm-device=/nonexistent", "--json=-")
        self.assert_status(result, UNAVAILABLE)
        report = json.loads(result.stdout)
        self.assertEqual((report["engine"], report["available"], report["rows"]), ("kvm", False, []))
        self.assertIn("/nonexistent", report["reason"])
        self.assertTrue(report["host"]["kernel"])


class WithKvm(CliTest):
    def setUp(self):
        super().setUp()
        if why := why_no_kvm():
            self.skipTest(why)

    def test_rows_for_people_and_programs(self):
        path = self.folder / "probe.json"
        result = dualvm("probe", f"--json={path}")
        self.assert_status(result, CLEAN)
        report = json.loads(path.read_text())
        self.assertTrue(report["available"])
        ids = [row["id"] for row in report["rows"]]
        self.assertEqual(len(ids), len(set(ids)))
        for row in report["rows"]:
            self.assertEqual(set(row), {"id", "what", "value", "unit", "text"})
            self.assertIn(row["what"], result.stdout)


if __name__ == "__main__":
    main()

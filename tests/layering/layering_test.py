#!/usr/bin/env python3
"""The layering and house-rule checks must be able to fail: each is given a small tree with one rule broken."""

import tempfile
import unittest
from pathlib import Path

import house_rules
import layering


class PlantedTree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.plant("machine/include/dualvm/machine.h", "#pragma once\n")
        self.plant("interp/include/dualvm/interp/interpreter.h", '#pragma once\n#include "dualvm/machine.h"\n')
        self.plant("kvm-accel/src/vm.h", "#pragma once\n#include <linux/kvm.h>\n")

    def plant(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def assert_one(self, found, *words):
        found = list(found)
        self.assertEqual(len(found), 1, found)
        for word in words:
            self.assertIn(word, found[0])

    def test_a_clean_tree_passes(self):
        self.assertEqual(layering.violations(self.root), [])
        self.assertEqual(list(house_rules.violations(self.root)), [])

    def test_machine_knows_nobody(self):
        self.plant("machine/src/a.cc", '\n#include "dualvm/interp/interpreter.h"\n')
        self.assert_one(layering.violations(self.root), "machine/src/a.cc:2", "may not know interp")

    def test_an_include_in_angle_brackets_counts(self):
        self.plant("boot/src/a.cc", "#  include <dualvm/interp/interpreter.h>\n")
        self.assert_one(layering.violations(self.root), "boot may not know interp")

    def test_a_way_around_by_a_relative_path_counts(self):
        self.plant("common-devices/src/a.cc", '#include "../../kvm-accel/src/vm.h"\n')
        self.assert_one(layering.violations(self.root), "may not know kvm-accel")

    def test_a_private_header_of_another_room_counts(self):
        self.plant("interp/src/a.cc", '#include "vm.h"\n')
        self.assert_one(layering.violations(self.root), "interp may not know kvm-accel")

    def test_a_header_of_its_own_is_not_another_rooms(self):
        self.plant("interp/src/vm.h", "#pragma once\n")
        self.plant("interp/src/a.cc", '#include "vm.h"\n')
        self.plant("interp/src/deeper/a.cc", '#include "vm.h"\n')
        self.assertEqual(layering.violations(self.root), [])

    def test_kvm_h_is_for_kvm_accel(self):
        self.plant("app/src/a.cc", "#include <linux/kvm.h>\n")
        self.assert_one(layering.violations(self.root), "app/src/a.cc:1", "linux/kvm.h")

    def test_zydis_is_for_interp_and_what_study_says_about_instructions(self):
        self.plant("interp/src/a.cc", "#include <Zydis/Zydis.h>\n")
        self.plant("study/src/disassembler.cc", "#include <Zydis/Zydis.h>\n")
        self.plant("study/src/catalogue/walk.cc", "#include <Zydis/Zydis.h>\n")
        self.plant("study/src/fuzz/generate.cc", "#include <Zydis/Zydis.h>\n")
        self.assertEqual(layering.violations(self.root), [])
        self.plant("study/src/compare.cc", "#include <Zydis/Zydis.h>\n")
        self.assert_one(layering.violations(self.root), "study/src/compare.cc:1", "Zydis")
        self.plant("study/src/compare.cc", "")
        self.plant("machine/src/a.cc", "#include <Zydis/Zydis.h>\n")
        self.assert_one(layering.violations(self.root), "machine/src/a.cc:1", "Zydis")

    def test_the_app_knows_all(self):
        self.plant("app/src/a.cc", '#include "dualvm/interp/interpreter.h"\n#include "dualvm/machine.h"\n')
        self.assertEqual(layering.violations(self.root), [])

    def test_a_link_counts_like_an_include(self):
        self.plant("study/CMakeLists.txt", "target_link_libraries(dualvm_study\n  PUBLIC dualvm_machine dualvm_kvm)\n")
        self.assert_one(layering.violations(self.root), "study may not link kvm-accel")

    def test_long_files_missing_guards_and_work_put_off_are_found(self):
        self.plant("interp/src/long.cc", "\n" * 601)
        self.assert_one(house_rules.violations(self.root), "601 lines")
        self.plant("interp/src/long.cc", "// TO" + "DO: later\n")
        self.assert_one(house_rules.violations(self.root), "long.cc:1", "put off")
        self.plant("interp/src/long.cc", "")
        self.plant("interp/src/bare.h", "int x;\n")
        self.assert_one(house_rules.violations(self.root), "no #pragma once")

    def test_decisions_have_a_number_of_their_own_and_are_listed(self):
        self.plant("docs/decisions/README.md", "[1](0001-a.md) [1](0001-b.md)\n")
        self.plant("docs/decisions/0001-a.md", "")
        self.assertEqual(list(house_rules.violations(self.root)), [])
        self.plant("docs/decisions/0002-c.md", "")
        self.assert_one(house_rules.violations(self.root), "0002-c.md", "not in the README")
        (self.root / "docs/decisions/0002-c.md").unlink()
        self.plant("docs/decisions/0001-b.md", "")
        self.assertEqual(len(list(house_rules.violations(self.root))), 2)


if __name__ == "__main__":
    unittest.main()

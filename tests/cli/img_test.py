"""dualvm img."""

import fcntl
import json
import os
import shutil
import subprocess
import unittest

from cli import BAD_IMAGE, CLEAN, DUALVM, USAGE, CliTest, dualvm, main

HAVE_QEMU_IMG = shutil.which("qemu-img") is not None


def img(*arguments, **options):
    return dualvm("img", *arguments, **options)


class Images(CliTest):
    def path(self, name):
        return str(self.folder / name)

    def create(self, name, *arguments):
        self.assert_status(img("create", *arguments[:-1], self.path(name), arguments[-1]), CLEAN)
        return self.path(name)

    def qemu_img(self, *arguments):
        result = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, f"{arguments}\n{result.stdout}{result.stderr}")
        return result.stdout


class Create(Images):
    def test_qemu_imgs_line_word_for_word(self):
        result = img("create", "-f", "qcow", "vm-disk.img", "4G", cwd=self.folder)
        self.assert_status(result, CLEAN)
        self.assertEqual(result.stdout, "Formatting 'vm-disk.img', fmt=qcow size=4294967296\n")
        info = json.loads(img("info", "--json=-", self.path("vm-disk.img")).stdout)
        self.assertEqual((info["format"], info["virtual_size"]), ("qcow", 4 << 30))
        self.assertLess(info["disk_size"], 1 << 20)

    def test_sizes(self):
        for text, size in (("512", 512), ("10M", 10 << 20), ("4G", 4 << 30), ("1T", 1 << 40), ("1.5K", 1536),
                           ("100", 512), ("2k", 2048), ("700b", 1024)):
            with self.subTest(size=text):
                path = self.create("image", "-q", "-f", "qcow2", text)
                self.assertEqual(json.loads(img("info", "--json=-", path).stdout)["virtual_size"], size)

    def test_sizes_that_are_none(self):
        for text in ("", "G", "4Q", "-1", "4GG", "1.5", "99999999999999999999", "16E"):
            with self.subTest(size=text):
                self.assert_refused(img("create", self.path("image"), "--", text), USAGE)
        self.assertEqual(os.listdir(self.folder), [])

    def test_options(self):
        path = self.create("image", "-f", "qcow2", "-o",
                           "cluster_size=4k,compat=1.1,refcount_bits=1,compression_type=zstd,lazy_refcounts=on", "10M")
        info = json.loads(img("info", "--json=-", path).stdout)
        self.assertEqual((info["cluster_size"], info["refcount_bits"], info["compression_type"], info["lazy_refcounts"]),
                         (4096, 1, "zstd", True))

    def test_options_that_are_none(self):
        for option in ("cluster_size=1000", "cluster_size=4M", "refcount_bits=3", "refcount_bits=128", "compat=4",
                       "compression_type=gzip", "lazy_refcounts=yes", "colour=blue", "nothing",
                       "compat=0.10,refcount_bits=8"):
            with self.subTest(option=option):
                self.assert_refused(img("create", "-f", "qcow2", "-o", option, self.path("image"), "1M"), USAGE)
        self.assert_refused(img("create", "-f", "qcow", "-o", "cluster_size=4096", self.path("image"), "1M"), USAGE,
                            "qcow2")
        self.assert_refused(img("create", "-f", "vmdk", self.path("image"), "1M"), USAGE, "vmdk")
        self.assert_refused(img("create", self.path("image")), USAGE, "size")
        self.assert_refused(img("create", "-f", "qcow2", "-o", "cluster_size=512", self.path("image"), "8T"), USAGE,
                            "larger")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_backing_file_gives_the_size_and_needs_a_format(self):
        self.create("base", "-f", "raw", "3M")
        self.assert_status(img("create", "-f", "qcow2", "-b", "base", "-F", "raw", self.path("top")), CLEAN)
        info = json.loads(img("info", "--json=-", self.path("top")).stdout)
        self.assertEqual((info["virtual_size"], info["backing_file"], info["backing_format"]), (3 << 20, "base", "raw"))
        self.assert_refused(img("create", "-f", "qcow2", "-b", "base", self.path("x"), "1M"), USAGE, "-F")
        self.assert_refused(img("create", "-f", "qcow2", "-b", "none", "-F", "raw", self.path("x")), BAD_IMAGE, "none")
        self.assert_status(img("create", "-f", "qcow2", "-b", "none", "-F", "raw", "-u", self.path("x"), "1M"), CLEAN)

    def test_an_old_image_is_replaced_unless_it_is_in_use(self):
        path = self.create("image", "-f", "qcow2", "1M")
        self.create("image", "-f", "raw", "2M")
        self.assertEqual(os.path.getsize(path), 2 << 20)
        with open(path, "r+b") as file:  # as one who writes to it: see storage/src/file_lock.cc
            for byte in (100, 101, 201):
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
            self.assert_refused(img("create", path, "1M"), BAD_IMAGE, "in use")
        self.assertEqual(os.listdir(self.folder), ["image"])

    def test_options_may_come_one_by_one(self):
        path = self.create("image", "-f", "qcow2", "-o", "cluster_size=4096", "-o", "compat=0.10", "1M")
        info = json.loads(img("info", "--json=-", path).stdout)
        self.assertEqual((info["cluster_size"], info["version"]), (4096, 2))

    def test_a_size_is_no_power_of_ten(self):
        for size in ("1.5e3K", "1.5e300G"):
            with self.subTest(size=size):
                self.assert_refused(img("create", self.path("image"), size), USAGE, size)

    def test_a_folder_that_is_not_there(self):
        self.assert_refused(img("create", "/none/image", "1M"), BAD_IMAGE, "/none/image")


class Info(Images):
    def test_text(self):
        result = img("info", self.create("image", "-f", "qcow2", "10M"))
        self.assert_status(result, CLEAN)
        for line in ("file format: qcow2", "virtual size: 10 MiB (10485760 bytes)", "cluster_size: 65536",
                     "    refcount bits: 16"):
            self.assertIn(line + "\n", result.stdout)

    def test_what_is_no_image(self):
        path = self.path("image")
        with open(path, "wb") as file:
            file.write(b"QFI\xfb\0\0\0\x07")
        self.assert_refused(img("info", path), BAD_IMAGE, "version 7")
        self.assert_refused(img("info", "-f", "qcow", path), BAD_IMAGE, "no header")
        self.assert_refused(img("info", self.path("none")), BAD_IMAGE, "No such file")
        self.assert_refused(img("info", str(self.folder)), BAD_IMAGE, "neither a file nor a disk")


class Check(Images):
    def test_a_sound_image(self):
        for fmt in ("raw", "qcow", "qcow2"):
            with self.subTest(format=fmt):
                result = img("check", "-f", fmt, self.create("image", "-f", fmt, "10M"))
                self.assert_status(result, CLEAN)
                self.assertIn("No errors were found on the image.", result.stdout)

    def damage(self, path, at, value):
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(value)

    def test_leaks_do_no_harm_and_can_be_given_back(self):
        path = self.create("image", "-f", "qcow2", "10M")
        self.damage(path, 2 * 65536 + 2 * 3000, b"\0\1")  # the refcount of cluster 3000
        result = img("check", path)
        self.assert_status(result, CLEAN)
        self.assertIn("cluster 3000", result.stderr)
        self.assertIn("1 leaked", result.stdout)
        result = img("check", "-r", "leaks", path)
        self.assertIn("repaired: 0 errors, 1 leaked", result.stdout)
        self.assertNotIn("leak", img("check", path).stderr)

    def test_errors_are_status_4_and_can_be_repaired(self):
        path = self.create("image", "-f", "qcow2", "10M")
        self.damage(path, 2 * 65536, b"\0\0")  # the refcount of the header
        result = img("check", "--json=-", path)
        self.assert_status(result, BAD_IMAGE)
        self.assertEqual(json.loads(result.stdout)["corruptions"], 1)
        self.assert_status(img("check", "-r", "all", path), CLEAN)
        result = img("check", path)
        self.assert_status(result, CLEAN)
        self.assertEqual(result.stderr, "")


@unittest.skipUnless(HAVE_QEMU_IMG, "no qemu-img (Debian package qemu-utils)")
class Convert(Images):
    def test_between_all_formats(self):
        raw = self.path("raw")
        with open(raw, "wb") as file:
            file.write(os.urandom(300000) + bytes(5 << 20) + b"abcdefgh" * 50000)
            file.truncate(8 << 20)
        for source in ("raw", "qcow", "qcow2"):
            first = self.path(f"from-{source}")
            self.assert_status(img("convert", "-q", "-O", source, raw, first), CLEAN)
            for target in (["-O", "raw"], ["-O", "qcow"], ["-O", "qcow2"], ["-c", "-O", "qcow"], ["-c", "-O", "qcow2"],
                           ["-c", "-O", "qcow2", "-o", "compression_type=zstd,cluster_size=16k"],
                           ["-O", "qcow2", "-o", "compat=0.10"]):
                with self.subTest(source=source, target=target):
                    second = self.path("second")
                    self.assert_status(img("convert", "-f", source, *target, first, second), CLEAN)
                    fmt = target[target.index("-O") + 1]
                    self.qemu_img("compare", "-f", "raw", "-F", fmt, raw, second)
                    if fmt == "qcow2":
                        self.qemu_img("check", second)
                    self.assertLess(os.stat(second).st_blocks * 512, 2 << 20)

    def test_a_chain_becomes_one_image(self):
        base = self.create("base", "-f", "raw", "1M")
        with open(base, "r+b") as file:
            file.write(b"x" * 100000)
        self.assert_status(img("create", "-f", "qcow2", "-b", "base", "-F", "raw", self.path("top")), CLEAN)
        self.assert_status(img("convert", "-O", "qcow2", self.path("top"), self.path("flat")), CLEAN)
        self.qemu_img("compare", self.path("flat"), base)
        self.assertNotIn("backing", self.qemu_img("info", self.path("flat")))

    def test_what_fails_leaves_nothing(self):
        broken = self.create("broken", "-f", "qcow2", "1M")
        with open(broken, "r+b") as file:
            file.seek(3 * 65536)
            file.write((1 << 63 | 1 << 50).to_bytes(8, "big"))  # L1's first entry
        target = self.path("new")
        with open(target, "w", encoding="utf-8") as file:
            file.write("old")
        self.assert_refused(img("convert", broken, target), BAD_IMAGE, "not within the file")
        with open(target, encoding="utf-8") as file:
            self.assertEqual(file.read(), "old")
        self.assertEqual(sorted(os.listdir(self.folder)), ["broken", "new"])

    def test_a_full_disk_leaves_nothing(self):
        raw = self.path("raw")
        with open(raw, "wb") as file:
            file.write(os.urandom(1 << 20))
        command = f'ulimit -f 200; exec "{DUALVM}" img convert -O qcow2 {raw} {self.path("new")}'
        result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        self.assert_refused(result, BAD_IMAGE, "may not grow")
        self.assertEqual(os.listdir(self.folder), ["raw"])


class Usage(CliTest):
    def test_actions(self):
        self.assert_refused(img(), USAGE, "create, info, check or convert")
        self.assert_refused(img("creat"), USAGE, "did you mean 'create'?")
        for words in (["create"], ["info"], ["check"], ["convert"], ["convert", "x"], ["convert", "-c", "x", "y"],
                      ["check", "-r", "some", "x"], ["info", "-x", "x"]):
            with self.subTest(words=words):
                self.assert_refused(img(*words), USAGE)

    def test_help(self):
        for action in ("create", "info", "check", "convert"):
            for words in (["img", action, "--help"], ["help", "img", action]):
                result = dualvm(*words)
                self.assert_status(result, CLEAN)
                self.assertIn(f"Usage: dualvm img {action}", result.stdout)
                self.assertIn("Examples:", result.stdout)
                for line in result.stdout.splitlines():
                    self.assertLessEqual(len(line), 120, line)


if __name__ == "__main__":
    main()

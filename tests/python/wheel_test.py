"""The wheel: what is in it, and that it works by itself."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile

from support import ROOT, main, need

need("build", "wheel", "setuptools")
PROGRAM = """
import heed, sys
print(heed.__file__, heed.version())
"""


def clean(**variables):
    """The environment without what the tests are told."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("HEED_LIBRARY", "PYTHONPATH")},
        **variables,
    }


class Wheel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.sources = self.folder / "python"
        shutil.copytree(
            ROOT / "bindings/python", self.sources, ignore=shutil.ignore_patterns("dist", "build", "*.egg-info")
        )

    def build(self, *options, **variables):
        """The wheel that `python3 -m build` makes of the sources, unpacked, its name and what it holds."""
        result = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", self.folder / "dist", self.sources],
            env=clean(**variables),
            capture_output=True,
            text=True,
        )
        self.assertEqual(result.returncode, 0, result.stdout[-2000:] + result.stderr[-2000:])
        (wheel,) = (self.folder / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(self.folder / "site")
            return wheel.name, set(packed.namelist())

    def imported(self, **variables):
        """What a program says that imports the wheel."""
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=clean(PYTHONPATH=str(self.folder / "site"), **variables),
            capture_output=True,
            text=True,
            cwd=self.folder,
        )

    def test_with_the_library(self):
        """Without --wheel the build goes through a source archive, which carries the library too."""
        name, files = self.build(HEED_LIBRARY=os.environ["HEED_LIBRARY"])
        self.assertRegex(name, r"^heed-[0-9.]+-py3-none-linux_")
        self.assertTrue({"heed/libheed_c.so.1", "heed/py.typed", "heed/__init__.py", "heed/torch.py"} <= files)
        modules = {f"heed/{path.name}" for path in (ROOT / "bindings/python/heed").glob("*.py")}
        self.assertTrue(modules <= files)
        result = self.imported()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(str(self.folder / "site"), result.stdout)

    def test_without_the_library(self):
        name, files = self.build("--wheel", HEED_LIBRARY="")
        self.assertRegex(name, r"^heed-[0-9.]+-py3-none-any\.whl$")
        self.assertNotIn("heed/libheed_c.so.1", files)
        self.assertEqual(self.imported(HEED_LIBRARY=os.environ["HEED_LIBRARY"]).returncode, 0)
        result = self.imported(HEED_LIBRARY="/nowhere/libheed_c.so.1")
        self.assertIn("heed needs libheed_c.so.1, which is where HEED_LIBRARY says", result.stderr)
        result = self.imported(HEED_LIBRARY="libc.so.6")
        self.assertIn("libc.so.6 is not a libheed_c.so.1", result.stderr)


if __name__ == "__main__":
    main()

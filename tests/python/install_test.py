"""What `cmake --install … --component python` puts below a prefix works by itself."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from support import ROOT, main


class Install(unittest.TestCase):
    def test_component(self):
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run(
                ["cmake", "--install", os.environ["HEED_BUILD"], "--component", "python", "--prefix", prefix],
                check=True,
                capture_output=True,
            )
            package = pathlib.Path(prefix) / "lib/python3/dist-packages/heed"
            sources = {path.name for path in (ROOT / "bindings/python/heed").iterdir() if path.is_file()}
            wanted = sources | {"libheed_c.so.1", "LICENSE", "THIRD_PARTY_NOTICES"}
            self.assertEqual({path.name for path in package.iterdir()} - {"__pycache__"}, wanted)
            environment = {name: value for name, value in os.environ.items() if name != "HEED_LIBRARY"}
            environment["PYTHONPATH"] = str(package.parent)
            result = subprocess.run(
                [sys.executable, "-c", "import heed; print(heed.__file__)"],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            self.assertIn(prefix, result.stdout)


if __name__ == "__main__":
    main()

"""Every example of Python in the documents runs, each in a program of its own."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

from support import ROOT, main, need

need("numpy")
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bindings/python/*.md")})
EXAMPLE = re.compile(r"^```python\n(.*?)^```$(?:\n\nprints\n\n```\n(.*?)^```$)?", flags=re.S | re.M)


def examples(text):
    """The programs of a document, and what each prints where the document says so."""
    return [(match[1], match[2]) for match in EXAMPLE.finditer(text)]


def run(program, folder="."):
    """Runs a program, which finds the libraries beside the one that is tested by their names."""
    beside = os.path.dirname(os.environ.get("HEED_LIBRARY", ""))
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{beside}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, env=environment)


#: What examples may lack, by the words that tell that they need it, and programs that fail where it is missing.
NEEDED = {
    "import torch": "import torch",
    "heed.layer": "import ctypes; ctypes.CDLL('libheed_layer_c.so.1')",
}


class Examples(unittest.TestCase):
    def test_examples(self):
        lacking = [words for words, program in NEEDED.items() if run(program).returncode]
        names = []
        for document in DOCUMENTS:
            for number, (program, printed) in enumerate(examples(document.read_text())):
                name = f"{document.relative_to(ROOT)} {number}"
                missing = [words for words in lacking if words in program]
                if missing:
                    print(f"{name}: not tested: here is nothing for {', '.join(missing)}")
                    continue
                names.append(name)
                with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                    result = run(program, folder)
                    self.assertEqual(result.returncode, 0, result.stderr)
                    if printed is not None:
                        self.assertEqual(result.stdout, printed)
        for document in ("README.md", "docs/manual.md", "bindings/python/README.md"):
            self.assertTrue(any(name.startswith(document) for name in names), f"{document} has no example")

    def test_examples_are_found(self):
        text = "```python\nprint(1)\n```\n\nprints\n\n```\n1\n```\n```cpp\nint x;\n```\n```python\nx = 2\n```\n"
        self.assertEqual(examples(text), [("print(1)\n", "1\n"), ("x = 2\n", None)])


if __name__ == "__main__":
    main()

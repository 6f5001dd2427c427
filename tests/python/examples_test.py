"""Every example of Python in the documents runs, each in a program of its own."""

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


def has(module):
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0


class Examples(unittest.TestCase):
    def test_examples(self):
        torch, names = has("torch"), []
        for document in DOCUMENTS:
            for number, (program, printed) in enumerate(examples(document.read_text())):
                name = f"{document.relative_to(ROOT)} {number}"
                if "import torch" in program and not torch:
                    print(f"{name}: not tested: there is no torch")
                    continue
                names.append(name)
                with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
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

"""The wheel carries libheed_c.so.1 where it is found: in HEED_LIBRARY, or where CMake's release preset builds it."""

import os
import pathlib
import shutil

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist
from wheel.bdist_wheel import bdist_wheel

NAME = "libheed_c.so.1"
HERE = pathlib.Path(__file__).resolve().parent
#: Of heed's sources; a source archive has what it needs of them in the package.
ROOT = HERE.parent.parent


def library():
    """The library to carry, or None. HEED_LIBRARY set to nothing asks for a wheel without one."""
    named = os.environ.get("HEED_LIBRARY")
    if named and not os.path.exists(named):
        raise SystemExit(f"HEED_LIBRARY names {named}, which does not exist")
    places = (
        [HERE / "heed" / NAME, ROOT / "build/release/bindings/c" / NAME] if named is None else [named] if named else []
    )
    return next((place for place in places if os.path.exists(place)), None)


def carry(folder):
    """Copies the library and licences to a package's folder."""
    os.makedirs(folder, exist_ok=True)
    if library() is not None:
        shutil.copyfile(library(), os.path.join(folder, NAME))
    for name in ("LICENSE", "THIRD_PARTY_NOTICES"):
        source = next((place / name for place in (HERE / "heed", ROOT) if (place / name).exists()), None)
        if source is not None:
            shutil.copyfile(source, os.path.join(folder, name))


class Build(build_py):
    def run(self):
        super().run()
        carry(os.path.join(self.build_lib, "heed"))


class Source(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        carry(os.path.join(base_dir, "heed"))


class Platform(Distribution):
    """What the library makes of the package: one for this platform, though it has no extension modules."""

    def has_ext_modules(self):
        return library() is not None


class Wheel(bdist_wheel):
    """For any Python 3: ctypes reads the library."""

    def get_tag(self):
        return ("py3", "none", super().get_tag()[2])


setup(cmdclass={"build_py": Build, "sdist": Source, "bdist_wheel": Wheel}, distclass=Platform)

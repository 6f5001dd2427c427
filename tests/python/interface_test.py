"""The tables of ctypes against the headers for C and the list of symbols, and what can be said without NumPy."""

import ctypes
import inspect
import re
import unittest

import heed
from heed import _attention, _describe, _layer_structs, _library, _rotary, _structs, errors
from support import ROOT, Refusals, main, setting

HEADERS = "".join(path.read_text() for path in sorted((ROOT / "include/heed/c").glob("*.h")))
HEADER = re.sub(r"//[^\n]*|/\*.*?\*/", "", HEADERS, flags=re.S)
NUMBERS = {
    "size_t": ctypes.c_size_t,
    "int64_t": ctypes.c_int64,
    "int32_t": ctypes.c_int32,
    "int": ctypes.c_int,
    "uint64_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
}
ENUMS = set(re.findall(r"typedef enum (\w+)", HEADER))


def c_type(declared):
    """What ctypes calls a type of the header; every pointer but text is an address."""
    declared = " ".join(declared.replace("const", "").split())
    if "*" in declared:
        return ctypes.c_char_p if declared in ("char*", "char *") else ctypes.c_void_p
    if declared in ENUMS:
        return ctypes.c_int
    return NUMBERS.get(declared) or types_of_python()[declared]


def declared_structs():
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", HEADER, flags=re.S):
        members = []
        for line in body.split(";"):
            match = re.fullmatch(r"\s*((?:const )?\w+\s*\**)\s*([\w, ]+)", line)
            if match:
                members += [(member, c_type(match[1])) for member in re.split(r",\s*", match[2])]
        yield name, members


def types_of_python():
    types = {**vars(_structs), **vars(_layer_structs)}
    return {name: kind for name, kind in types.items() if name.startswith("heed_")}


def declared_functions():
    for result, name, arguments in re.findall(
        r"HEED_C_API ((?:const )?\w+\s*\*?)\s*(\w+)\((.*?)\);", HEADER, flags=re.S
    ):
        types = [] if arguments == "void" else [re.sub(r"\w+\s*$", "", one).strip() for one in arguments.split(",")]
        yield name, result.strip(), types


class Tables(unittest.TestCase):
    def test_structs_are_those_of_the_header(self):
        structs = dict(declared_structs())
        self.assertGreater(len(structs), 40)
        mine = {name: kind for name, kind in types_of_python().items() if issubclass(kind, ctypes.Structure)}
        self.assertEqual(sorted(mine), sorted(structs))
        for name, members in structs.items():
            self.assertEqual([(member, kind) for member, kind in mine[name]._fields_], members, name)

    def test_types_of_functions_are_those_of_the_header(self):
        functions = re.findall(r"typedef void \(\*(\w+)\)\((.*?)\);", HEADER, flags=re.S)
        mine = {name: kind for name, kind in types_of_python().items() if not issubclass(kind, ctypes.Structure)}
        self.assertEqual(sorted(mine), sorted(name for name, _ in functions))
        for name, arguments in functions:
            types = [c_type(re.sub(r"\w+\s*$", "", one)) for one in arguments.split(",")]
            self.assertEqual((mine[name]._restype_, list(mine[name]._argtypes_)), (None, types), name)

    def test_words_are_those_of_the_header(self):
        for prefix, words in (
            ("ROTARY_SCALING", _rotary._KINDS),
            ("ROTARY", _rotary._PAIRS),
            ("PRODUCTS", _describe._PRODUCTS),
            ("ALIGN", _describe._ALIGNMENTS),
        ):
            names = [f"HEED_{prefix}_{word.upper()}" for word in words]
            self.assertRegex(HEADER, r"HEED_C_ENUM \{\s*" + r",\s*".join(names) + r"\s*\}")

    def test_defaults_are_those_of_the_library(self):
        scaling = _library.make(_structs.heed_rotary_scaling)
        for name, default in heed.RotaryScaling()._asdict().items():
            if name == "kind":
                default = _rotary._KINDS.index(default)
            self.assertEqual(getattr(scaling, name) or 0, default or 0, name)
        norm, arguments = _library.make(_structs.heed_rms_norm), inspect.signature(heed.normalise_heads).parameters
        for name in ("weight", "weight_offset", "epsilon"):
            self.assertEqual(getattr(norm, name), arguments[name].default, name)

    def test_every_symbol_is_declared_or_absent_with_a_reason(self):
        layer = {*_library.LAYER_FUNCTIONS, *(f"heed_{handle}_destroy" for handle in _library.LAYER_HANDLES)}
        self.assertEqual(layer, set((ROOT / "bindings/c/layer_symbols.txt").read_text().split()))
        exported = set((ROOT / "bindings/c/symbols.txt").read_text().split())
        declared = {*_library.STATUS_FUNCTIONS, *_library.OTHER_FUNCTIONS}
        self.assertEqual(declared & set(_library.ABSENT), set())
        self.assertEqual(exported, declared | set(_library.ABSENT))
        self.assertTrue(all(len(reason) > 10 for reason in _library.ABSENT.values()))

    def test_signatures_are_those_of_the_header(self):
        checked = 0
        for name, result, arguments in declared_functions():
            status_functions = {**_library.STATUS_FUNCTIONS, **_library.LAYER_FUNCTIONS}
            if name in status_functions:
                self.assertEqual(result, "heed_status", name)
                given = status_functions[name]
            elif name in _library.OTHER_FUNCTIONS:
                kind, given = _library.OTHER_FUNCTIONS[name]
                self.assertEqual(kind, None if result == "void" else c_type(result), name)
            else:
                continue
            self.assertEqual(len(given), len(arguments), name)
            for mine, declared in zip(given, arguments):
                wanted = c_type(declared)
                if wanted in (ctypes.c_void_p, ctypes.c_char_p):
                    pointer = hasattr(mine, "contents") or mine in (ctypes.c_void_p, ctypes.c_char_p)
                    self.assertTrue(pointer, f"{name}: {declared}")
                else:
                    self.assertIs(mine, wanted, f"{name}: {declared}")
            checked += 1
        self.assertGreater(checked, 60)

    def test_functions_release_the_lock(self):
        self.assertIs(type(_library.lib), ctypes.CDLL)
        self.assertEqual(heed.version(), _library.lib.heed_version().decode())

    def test_every_status_has_its_exception(self):
        words = re.search(r"HEED_OK,(.*?)\}", HEADER, flags=re.S)[1].split(",")
        self.assertEqual(len(errors.BY_STATUS), 1 + len(words))
        for number, kind in enumerate(errors.BY_STATUS[1:], 1):
            self.assertEqual(kind.status, _library.lib.heed_status_name(number).decode())
            self.assertTrue(issubclass(kind, heed.Error))
        self.assertTrue(issubclass(heed.InvalidArgument, ValueError))


class Package(unittest.TestCase):
    def test_versions_agree(self):
        project = (ROOT / "bindings/python/pyproject.toml").read_text()
        self.assertEqual(re.search(r'^version = "(.*)"$', project, flags=re.M)[1], heed.version())

    def test_options_are_arguments_of_attention(self):
        arguments = inspect.signature(heed.attention).parameters
        for name, default in _describe.Options()._asdict().items():
            if name != "paged":  # page_table says so
                self.assertEqual(arguments[name].default, default, name)

    def test_all_that_is_public_has_a_word(self):
        for name in heed.__all__:
            self.assertTrue(hasattr(heed, name), name)
            thing = getattr(heed, name)
            if callable(thing):
                self.assertTrue(thing.__doc__, name)
        self.assertTrue((ROOT / "bindings/python/heed/py.typed").exists())

    def test_processor(self):
        info, isas = heed.cpu_info(), heed.isas()
        self.assertGreater(info.default_workers, 0)
        self.assertEqual(isas[-1].name, "generic")
        self.assertEqual([isa.name for isa in isas if isa.chosen], [heed.chosen_isa()])
        self.assertEqual(heed.thread_library(), setting("HEED_THREADS") or heed.thread_library())


class WithoutNumpy(Refusals):
    """Tensors of other makers; the results of calls that make none."""

    def floats(self, *shape):
        count = 1
        for extent in shape:
            count *= extent
        values = (ctypes.c_float * count)(*[0.5] * count)
        strides, unit = [], 4
        for extent in reversed(shape):
            strides.insert(0, unit)
            unit *= extent
        return heed.Memory(ctypes.addressof(values), "float32", shape, tuple(strides), values)

    def test_attention_into_what_is_given(self):
        q, out = self.floats(1, 3, 2, 8), self.floats(1, 3, 2, 8)
        self.assertIs(heed.attention(q, q, q, out=out, causal=True), out)
        self.assertEqual(list(out.__array_interface__["owner"]), [0.5] * 48)

    def test_executor_and_workspace(self):
        q, out = self.floats(1, 3, 2, 8), self.floats(1, 3, 2, 8)
        executor, workspace = heed.Executor(1), heed.Workspace()
        self.assertEqual(executor.threads, 1)
        plan = heed.Plan(q, q, q, out=out)
        self.assertEqual(workspace.bytes, 0)
        plan.run(q, q, q, out=out, executor=executor, workspace=workspace)
        self.assertGreaterEqual(workspace.bytes, plan.workspace_bytes)
        self.refused("threads (0)", heed.Executor, 0)
        self.refused("threads (4294967297)", heed.Executor, (1 << 32) + 1)

    def test_plans_are_bounded(self):
        heed.clear_plans()
        q, out = self.floats(1, 3, 2, 8), self.floats(1, 3, 2, 8)
        for number in range(_attention.PLANS + 10):
            heed.attention(q, q, q, out=out, scale=1.0 + number)
        self.assertEqual(len(_attention._plans), _attention.PLANS)
        heed.clear_plans()
        self.assertEqual(len(_attention._plans), 0)

    def test_plan_is_kept(self):
        heed.clear_plans()
        q, out = self.floats(1, 3, 2, 8), self.floats(1, 3, 2, 8)
        for _ in range(3):
            heed.attention(q, q, q, out=out, key_lengths=[2], query_lengths=[3])
        self.assertEqual(len(_attention._plans), 1)

    def test_no_tensor(self):
        self.refused("q is a list; it must be a tensor", heed.attention, [1.0], [1.0], [1.0])
        self.refused("q is a str", heed.attention, "q", "k", "v")


if __name__ == "__main__":
    main()

"""Reading tensors: where they lie, of whatever library, without a copy, alive as long as they are needed."""

import ctypes
import threading
import unittest

from support import Refusals, main, need, random

numpy = need("numpy")
import heed
from heed import _tensors

Q, K, V = random(numpy, 2, 5, 8, 64), random(numpy, 2, 7, 2, 64, seed=2), random(numpy, 2, 7, 2, 64, seed=3)
OUT = heed.attention(Q, K, V, causal=True)


class Capsules:
    """An array as DLPack shows it, in a capsule that counts how often it is taken back."""

    taken_back = 0

    def __init__(self, array, *, device=1, versioned=False, flags=0, code=2, bits=32, lanes=1, strides=True, major=1):
        self.array, self.versioned, self.device = array, versioned, device
        tensor = _tensors._DLTensor()
        tensor.data, tensor.byte_offset = array.__array_interface__["data"][0] - 16, 16
        tensor.device.device_type, tensor.ndim = device, array.ndim
        tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = code, bits, lanes
        self.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self.strides = (ctypes.c_int64 * array.ndim)(*[s // array.itemsize for s in array.strides])
        tensor.shape = self.shape
        if strides:
            tensor.strides = self.strides
        self.managed = _tensors._DLManagedTensorVersioned()
        self.managed.major, self.managed.minor, self.managed.flags = major, 0, flags
        self.managed.dl_tensor = tensor
        self.tensor = tensor

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **options):
        if self.versioned is False and options:
            raise TypeError("no max_version here")
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        where = ctypes.addressof(self.managed if self.versioned else self.tensor)
        return _new_capsule(where, name, _count)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _count(capsule):
    Capsules.taken_back += 1


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.CFUNCTYPE(None, ctypes.c_void_p))
_new_capsule.restype = ctypes.py_object


class Interface:
    """An array that has nothing but __array_interface__."""

    def __init__(self, array):
        self.array = array

    @property
    def __array_interface__(self):
        return self.array.__array_interface__


class Reading(Refusals):
    def same(self, q, k, v, **options):
        numpy.testing.assert_array_equal(heed.attention(q, k, v, causal=True, **options), OUT)

    def test_capsules_of_both_versions(self):
        for versioned in (False, True):
            for strides in (False, True):
                Capsules.taken_back = 0
                self.same(*(Capsules(a, versioned=versioned, strides=strides) for a in (Q, K, V)))
                self.assertEqual(Capsules.taken_back, 3)

    def test_capsules_of_strided_arrays(self):
        k = numpy.ascontiguousarray(K.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
        self.same(Capsules(Q), Capsules(k), Capsules(V))

    def test_capsules_that_are_read_only(self):
        self.same(*(Capsules(a, versioned=True, flags=1) for a in (Q, K, V)))
        out = numpy.zeros_like(OUT)
        heed.attention(Q, K, V, causal=True, out=Capsules(out))
        numpy.testing.assert_array_equal(out, OUT)
        self.refused("out is read-only", heed.attention, Q, K, V, out=Capsules(out, versioned=True, flags=1))

    def test_capsules_that_are_refused(self):
        Capsules.taken_back = 0
        for sentence, options in (
            ("q is on a device of DLPack's type 2", {"device": 2}),
            ("DLPack of version 2", {"versioned": True, "major": 2}),
            ("type 5 of 64 bits", {"code": 5, "bits": 64}),
            ("4 at a time", {"lanes": 4}),
            ("elements of int32", {"code": 0}),
        ):
            self.refused(sentence, heed.attention, Capsules(Q, **options), K, V)
        self.assertEqual(Capsules.taken_back, 4)  # the first one was not asked for

    def test_array_interface(self):
        self.same(Interface(Q), Interface(K), Interface(V))

    def test_read_only_arrays(self):
        arrays = [a.copy() for a in (Q, K, V)]
        for array in arrays:
            array.flags.writeable = False
        self.same(*arrays)
        self.refused("out is read-only", heed.attention, Q, K, V, out=numpy.broadcast_to(OUT, OUT.shape))

    def test_strides(self):
        def spread(array, axes):
            wide = numpy.zeros([2 * n if i in axes else n for i, n in enumerate(array.shape)], array.dtype)
            part = wide[tuple(slice(None, None, 2) if i in axes else slice(None) for i in range(array.ndim))]
            part[...] = array
            return part

        self.same(spread(Q, (0, 1)), spread(K, (1, 2)), spread(V, (0, 2)))
        self.same(Q[::-1].copy()[::-1], K[:, ::-1].copy()[:, ::-1], V[:, :, ::-1].copy()[:, :, ::-1])
        out = numpy.zeros((2, 5, 8, 128), "float32")
        self.assertIs(heed.attention(Q, K, V, causal=True, out=(part := out[..., 64:])), part)
        numpy.testing.assert_array_equal(part, OUT)
        self.assertFalse(out[..., :64].any())

    def test_shared_axes(self):
        k = numpy.broadcast_to(K[:1], K.shape)
        numpy.testing.assert_array_equal(heed.attention(Q, k, V), heed.attention(Q, k.copy(), V))

    def test_nothing_is_copied(self):
        out = numpy.zeros_like(OUT)
        heed.attention(Q, K, V, causal=True, out=out)
        numpy.testing.assert_array_equal(out, OUT)

    def test_layouts(self):
        q, k, v = (a.transpose(0, 2, 1, 3) for a in (Q, K, V))
        out, lse = heed.attention(q, k, v, layout="bhsd", causal=True, lse=True)
        numpy.testing.assert_array_equal(out.transpose(0, 2, 1, 3), OUT)
        self.assertEqual(lse.shape, (2, 8, 5))
        self.same(Q, k.copy(), v.copy(), kv_layout="bhsd")

    def test_one_sequence(self):
        out, lse = heed.attention(Q[1], K[1], V[1], causal=True, lse=True)
        numpy.testing.assert_array_equal(out, OUT[1])
        self.assertEqual(lse.shape, (8, 5))

    def test_refusals(self):
        for sentence, q, k, v, options in (
            ("last dimension of stride 2", Q, K[..., ::2], V, {}),
            ("q has 2 dimensions; it must have 4, [batch, tokens, heads, dim], or 3", Q[0, 0], K, V, {}),
            ("q has 5 dimensions", Q[None], K, V, {}),
            ("q has elements of float64", Q.astype("f8"), K, V, {}),
            ("q has elements of >f4", Q.astype(">f4"), K, V, {}),
            ("which do not hold fp8_e4m3", Q, K, V, {"k_type": "fp8_e4m3"}),
            ("k_type ('f33') must be one of f32, f16", Q, K, V, {"k_type": "f33"}),
            ("q is a masked array", numpy.ma.array(Q), K, V, {}),
            ("out must not overlap q", Q, K, V, {"out": Q}),
            ("out has the shape (2, 5, 8, 32); it must be (2, 5, 8, 64)", Q, K, V, {"out": OUT[..., :32]}),
            ("out has elements of int32", Q, K, V, {"out": OUT.view("i4")}),
            ("lse has the shape (5,)", Q, K, V, {"lse": numpy.zeros(5, "f4")}),
            ("v has tokens 6; it must be that of k (7)", Q, K, V[:, :6], {}),
            ("k has a head_dim of 32; it must be that of q (64)", Q, K[..., :32], V, {}),
            ("k has a batch of 1; it must be that of q (2)", Q, K[:1], V[:1], {}),
            ("v has a head_dim of 0", Q, K, V[..., :0], {}),
            (
                "kv_heads (3) must divide query_heads (8)",
                Q,
                numpy.zeros((2, 7, 3, 64), "f4"),
                numpy.zeros((2, 7, 3, 64), "f4"),
                {},
            ),
            ("window_left (-1) must be 0 or more", Q, K, V, {"window_left": -1}),
            ("window_left (1.5) must be an integer", Q, K, V, {"window_left": 1.5}),
            ("alignment ('middle') must be one of end, start", Q, K, V, {"alignment": "middle"}),
            ("layout ('sbhd') must be one of bshd, bhsd", Q, K, V, {"layout": "sbhd"}),
            ("scale ('a') must be a number", Q, K, V, {"scale": "a"}),
            ("workers (4294967296) must be an integer of 32 bits", Q, K, V, {"workers": 1 << 32}),
            ("softcap", Q, K, V, {"softcap": -1.0}),
            ("alibi_slopes must have the shape (8,)", Q, K, V, {"alibi_slopes": numpy.zeros(7, "f4")}),
            ("sinks has elements of float64", Q, K, V, {"sinks": numpy.zeros(8)}),
            ("bias has the shape (5, 6); it must be (2, 8, 5, 7)", Q, K, V, {"bias": numpy.zeros((5, 6), "f4")}),
            ("mask has elements of int64", Q, K, V, {"mask": numpy.zeros((5, 7), "i8")}),
            ("temperatures must have the shape (8,)", Q, K, V, {"temperatures": numpy.zeros(5, "f4")}),
            ("key_lengths[1] (8) must be from 0 to key.length (7)", Q, K, V, {"key_lengths": [1, 8]}),
            ("key_lengths must be integers", Q, K, V, {"key_lengths": [1.5, 2]}),
            (
                "key_lengths has 4294967297, which is no integer of 32 bits",
                Q,
                K,
                V,
                {"key_lengths": [1, (1 << 32) + 1]},
            ),
            ("query_offsets ends at 6; q has 5 tokens", Q[0], K, V, {"query_offsets": [0, 3, 6]}),
            ("q has 4 dimensions; it must have 3, [tokens, heads, dim]", Q, K, V, {"query_offsets": [0, 1, 2]}),
            ("k has a batch of 2; it must be that of q (1)", Q[0], K, V, {"query_offsets": [0, 5]}),
            ("q has a batch of 2; key_offsets are of 1 sequences", Q, K[0], V[0], {"key_offsets": [0, 7]}),
            ("k_scales are of int8 and int4", Q, K, V, {"k_scales": numpy.ones((2, 7, 2, 1), "f4")}),
            ("k_scales must be given", Q, K.astype("i1"), V, {}),
            ("k_zero_points need k_scales", Q, K, V, {"k_zero_points": numpy.ones((2, 7, 2, 1), "f4")}),
            ("page_table", Q, K, V, {"page_table": numpy.zeros((2, 1), "i4")}),
            ("isa", Q, K, V, {"isa": "mmx"}),
            ("isa (3) must be a word", Q, K, V, {"isa": 3}),
            ("an option must be a number or a word", Q, K, V, {"causal": [1]}),
            ("shard ((1, 2, 3)) must be two things", Q, K, V, {"shard": (1, 2, 3)}),
            ("key_lists (5) must be two things", Q, K, V, {"key_lists": 5}),
            ("key_lengths must be integers of one dimension", Q, K, V, {"key_lengths": 5}),
            ("out_type (3) must be one of f32", Q, K, V, {"out_type": 3}),
            ("out_type ('int8') must be f32, f16 or bf16", Q, K, V, {"out_type": "int8"}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.attention, q, k, v, kind=heed.Error, **options)

    def test_a_refusal_changes_nothing(self):
        out, lse = numpy.full_like(OUT, 7), numpy.full((2, 8, 5), 7, "f4")
        self.refused(
            "page",
            heed.attention,
            Q,
            K,
            V,
            out=out,
            lse=lse,
            key_lengths=[3, 3],
            page_table=numpy.full((2, 1), 9, "i4"),
        )
        self.assertTrue((out == 7).all() and (lse == 7).all())


class Threads(unittest.TestCase):
    def test_many_at_once(self):
        """Plans, workspaces and runners are handed from thread to thread; each result has its bits."""
        heed.clear_plans()
        cases = [(Q[:, :n], K[:, :m], V[:, :m]) for n in (1, 3, 5) for m in (5, 6, 7)]
        wanted = [heed.attention(*case, causal=True) for case in cases]
        plan = heed.Plan(Q, K, V, causal=True)
        faults = []

        def work(first):
            for i in range(200):
                case = (first + i) % len(cases)
                if not (heed.attention(*cases[case], causal=True) == wanted[case]).all():
                    faults.append(case)
                if not (plan.run(Q, K, V) == OUT).all():
                    faults.append("plan")

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])


class Plans(Refusals):
    def test_a_plan_takes_what_it_was_made_for(self):
        plan = heed.Plan(Q, K, V, causal=True)
        out, lse = plan.run(Q, K, V, lse=True)
        numpy.testing.assert_array_equal(out, OUT)
        numpy.testing.assert_array_equal(plan.run(Q, K, V), OUT)
        self.assertEqual((plan.out_shape, plan.lse_shape), (out.shape, lse.shape))
        self.assertIn("sequences: 2", plan.describe())
        self.assertEqual(plan.isa, heed.chosen_isa())
        self.assertEqual(plan.visible_scores, 2 * 8 * (3 + 4 + 5 + 6 + 7))
        strided = numpy.zeros((2, 10, 8, 64), "f4")[:, ::2]
        for sentence, arguments, options in (
            ("k has shape (2, 6, 2, 64)", (Q, K[:, :6], V), {}),
            ("q has shape (2, 5, 8, 64), strides (20480, 4096, 256, 4)", (strided, K, V), {}),
            ("out has shape", (Q, K, V), {"out": strided}),
            ("elements of float16", (Q, K, V.astype("f2")), {}),
            ("k_scales must not be given", (Q, K, V), {"k_scales": lse}),
            ("lse has shape", (Q, K, V), {"lse": lse[:, :, ::-1]}),
            ("page_table must not be given", (Q, K, V), {"page_table": numpy.zeros((2, 1), "i4")}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, plan.run, *arguments, **options)
        numpy.testing.assert_array_equal(plan.run(Q, K, V), OUT)

    def test_a_plan_of_outputs_with_gaps_needs_them(self):
        out = numpy.zeros((2, 10, 8, 64), "f4")[:, ::2]
        plan = heed.Plan(Q, K, V, causal=True, out=out)
        self.refused("out has shape", plan.run, Q, K, V)
        numpy.testing.assert_array_equal(plan.run(Q, K, V, out=out), OUT)

    def test_update(self):
        plan = heed.Plan(Q, K, V, causal=True)
        plan.update(Q[:, :3], K, V)
        numpy.testing.assert_array_equal(plan.run(Q[:, :3], K, V), heed.attention(Q[:, :3], K, V))
        self.refused("window_left", plan.update, Q, K, V, window_left=-1)
        numpy.testing.assert_array_equal(plan.run(Q[:, :3], K, V), heed.attention(Q[:, :3], K, V))

    def test_forecasts(self):
        long = numpy.zeros((1, 512, 8, 64), "f4")
        alone, many = (heed.Plan(long, long, long, workers=workers).forecast() for workers in (1, 64))
        self.assertGreater(alone.work, 512 * 512 * 8 * 64)
        self.assertEqual(alone.work, many.work)
        self.assertLess(many.makespan, alone.makespan / 16)
        self.assertLessEqual(many.longest, many.makespan)
        self.assertGreaterEqual(many.items, 64)
        self.assertGreaterEqual(many.splits, 0)

    def test_modifiers_do_not_stay(self):
        plan = heed.Plan(Q, K, V, causal=True)
        changed = plan.run(Q, K, V, softcap=0.5, sinks=numpy.ones(8, "f4"))
        self.assertFalse((changed == OUT).all())
        numpy.testing.assert_array_equal(plan.run(Q, K, V), OUT)


if __name__ == "__main__":
    main()

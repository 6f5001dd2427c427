"""heed.attention: bit for bit what the command computes of the same files, within bounds of float64, and the same
bits whatever the form in which it is asked."""

import itertools
import os
import subprocess
import tempfile
import unittest

from support import Refusals, causal, command, exact_attention, main, need, random

numpy = need("numpy")
import heed

INF = float("inf")
Q, K, V = random(numpy, 2, 5, 8, 64), random(numpy, 2, 300, 2, 64, seed=2), random(numpy, 2, 300, 2, 32, seed=3)
BIAS, SINKS = random(numpy, 8, 5, 300, seed=4), random(numpy, 8, seed=5)
HEADS = numpy.array([0.5, 1, 2, 0, INF, 1, 1, 3], "f4")
MASK = numpy.random.default_rng(6).random((2, 1, 5, 300)) < 0.5


@unittest.skipUnless(command(), "the heed command was not built")
class Command(unittest.TestCase):
    """`heed attend` is C++ alone: NumPy files in, NumPy files out."""

    def attend(self, arrays, options, bf16=None):
        with tempfile.TemporaryDirectory() as folder:
            call = [command(), "attend"]
            for name, value in {**arrays, **options}.items():
                if isinstance(value, numpy.ndarray):
                    numpy.save(os.path.join(folder, name), value)
                    value = os.path.join(folder, name + ".npy")
                call += ["--" + name.replace("_", "-"), str(value)]
            if bf16:
                call += ["--bf16", bf16]
            out, lse = (os.path.join(folder, name) for name in ("out.npy", "lse.npy"))
            subprocess.run([*call, "--out", out, "--lse", lse], check=True, capture_output=True)
            return numpy.load(out), numpy.load(lse)

    def same(self, options, mine, q=Q, k=K, v=V, bf16=None):
        out, lse = heed.attention(q, k, v, lse=True, **mine)
        wanted, wanted_lse = self.attend({"q": q, "k": k, "v": v}, options, bf16)
        self.assertEqual(out.dtype, wanted.dtype)
        numpy.testing.assert_array_equal(out, wanted)
        numpy.testing.assert_array_equal(lse, wanted_lse)

    def test_masks(self):
        for options, mine in (
            ({}, {}),
            ({"causal": "end"}, {"causal": True}),
            ({"causal": "start"}, {"causal": True, "alignment": "start"}),
            (
                {"causal": "end", "window": "20,inf", "keep_first": 3},
                {"causal": True, "window_left": 20, "keep_first": 3},
            ),
            ({"window": "7,5"}, {"window_left": 7, "window_right": 5}),
            ({"causal": "start", "prefix": 9}, {"causal": True, "alignment": "start", "visible_prefixes": [9, 9]}),
            ({"mask": MASK}, {"mask": MASK}),
            ({"mask": numpy.where(MASK, 0, -INF).astype("f4")}, {"mask": MASK}),
        ):
            with self.subTest(options.keys()):
                self.same(options, mine)

    def test_scores(self):
        for options, mine in (
            ({"scale": 0.25}, {"scale": 0.25}),
            ({"temperature": 2}, {"temperature": 2.0}),
            ({"temperature": 0}, {"temperature": 0}),
            ({"temperature": "inf"}, {"temperature": INF}),
            ({"temperature_per_head": HEADS}, {"temperatures": HEADS}),
            ({"softcap": 2}, {"softcap": 2.0}),
            ({"alibi": "auto"}, {"alibi_slopes": heed.alibi_slopes(8)}),
            ({"bias": BIAS[None]}, {"bias": BIAS}),
            ({"sinks": SINKS}, {"sinks": SINKS}),
            (
                {"softcap": 2, "bias": BIAS[None], "sinks": SINKS, "causal": "end", "alibi": "auto", "threads": 1},
                {
                    "softcap": 2,
                    "bias": BIAS,
                    "sinks": SINKS,
                    "causal": True,
                    "alibi_slopes": heed.alibi_slopes(8),
                    "executor": heed.Executor(1),
                    "workers": 1,
                },
            ),
        ):
            with self.subTest(options.keys()):
                self.same(options, mine)

    def test_layouts_and_types(self):
        rows = [numpy.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in (Q, K, V)]
        self.same({"layout": "bhsd"}, {"layout": "bhsd"}, *rows)
        self.same({"out_type": "f16"}, {}, *(a.astype("f2") for a in (Q, K, V)))
        words = [heed.convert(a, "bf16") for a in (Q, K, V)]
        self.same({"out_type": "bf16"}, {"q_type": "bf16", "k_type": "bf16", "v_type": "bf16"}, *words, bf16="q,k,v")
        self.same({"out_type": "bf16"}, {"out_type": "bf16"})
        self.same({"isa": "generic"}, {"isa": "generic"})

    def test_types_of_keys_and_values(self):
        for name in ("f16", "bf16", "fp8_e4m3", "fp8_e5m2", "q8_0", "q4_0"):
            with self.subTest(name):
                k, v = heed.convert(K, name), heed.convert(V, name)
                out = heed.attention(Q, k, v, k_type=name, v_type=name)
                wanted, _ = self.attend({"q": Q, "k": K, "v": V}, {"kv_type": name})
                numpy.testing.assert_array_equal(out, wanted)


class Exact(unittest.TestCase):
    """Against float64, within the bounds that support.py derives."""

    def near(self, exact, **options):
        out, lse = heed.attention(Q, K, V, lse=True, **options)
        wanted, wanted_lse, bound, lse_bound = exact
        self.assertLessEqual(abs(out - wanted).max(), bound)
        self.assertLess(bound, 2e-3)
        numpy.testing.assert_array_equal(numpy.isinf(lse), numpy.isinf(wanted_lse))
        seen = numpy.isfinite(wanted_lse)
        self.assertLessEqual(abs(lse[seen] - wanted_lse[seen]).max(initial=0), lse_bound)

    def test_masks(self):
        i, j = numpy.arange(5)[:, None], numpy.arange(300)[None, :]
        for options, visible in (
            ({}, None),
            ({"causal": True}, causal(numpy, 5, 300)),
            ({"causal": True, "alignment": "start"}, j <= i),
            ({"window_left": 7, "window_right": 5}, (j >= i + 295 - 7) & (j <= i + 295 + 5)),
            ({"mask": MASK}, MASK),
            ({"key_lengths": [5, 300]}, j < numpy.array([5, 300])[:, None, None, None]),
            ({"mask": MASK[:1, 0]}, MASK[:1]),
            ({"mask": numpy.zeros((5, 1), bool)}, j < 0),
            (
                {"visible_prefixes": [20, 0], "causal": True, "alignment": "start"},
                (j <= i) | (j < numpy.array([20, 0])[:, None, None, None]),
            ),
        ):
            with self.subTest(options.keys()):
                self.near(exact_attention(numpy, Q, K, V, visible=visible), **options)

    def test_scores(self):
        slopes = heed.alibi_slopes(8)
        distance = numpy.arange(300)[None, :] - (numpy.arange(5)[:, None] + 295)
        per_key = random(numpy, 2, 1, 1, 300, seed=8)
        for options, exact in (
            ({"scale": 0.25}, {"scale": 0.25}),
            ({"temperature": 2.0}, {"temperature": 2.0}),
            ({"softcap": 2.0}, {"softcap": 2.0}),
            ({"sinks": SINKS}, {"sinks": SINKS}),
            ({"bias": BIAS}, {"bias": BIAS}),
            ({"bias": per_key}, {"bias": per_key}),
            ({"bias": BIAS[:1, :, :1]}, {"bias": BIAS[:1, :, :1]}),
            ({"bias": BIAS.astype("f2")}, {"bias": BIAS.astype("f2").astype("f8")}),
            ({"alibi_slopes": slopes}, {"bias": slopes[:, None, None] * distance}),
        ):
            with self.subTest(options.keys()):
                self.near(exact_attention(numpy, Q, K, V, **exact), **options)

    def test_temperatures_of_rows(self):
        rows = numpy.abs(random(numpy, 2, 8, 5, seed=9)) + 0.5
        out = heed.attention(Q, K, V, temperatures=rows)
        for b, h, i in itertools.product(range(2), range(8), range(5)):
            one = heed.attention(
                Q[b, i : i + 1, h : h + 1],
                K[b, :, h // 4][:, None],
                V[b, :, h // 4][:, None],
                temperature=rows[b, h, i],
            )
            numpy.testing.assert_array_equal(out[b, i, h], one[0, 0])


class Forms(Refusals):
    """Other ways to say the same give the same bits."""

    def same(self, out, wanted):
        numpy.testing.assert_array_equal(out, wanted)

    def test_ragged(self):
        lengths, keys = [2, 0, 3], [100, 7, 193]
        q, k, v = Q[0], K[0], V[0]
        out, lse = heed.attention(
            q, k, v, query_offsets=[0, 2, 2, 5], key_offsets=[0, 100, 107, 300], causal=True, lse=True
        )
        self.assertEqual(lse.shape, (8, 5))
        at = first = 0
        for count, length in zip(lengths, keys):
            one, one_lse = heed.attention(
                q[at : at + count], k[first : first + length], v[first : first + length], causal=True, lse=True
            )
            self.same(out[at : at + count], one)
            self.same(lse[:, at : at + count], one_lse)
            at, first = at + count, first + length

    def test_ragged_with_bias_and_mask(self):
        offsets, keys = numpy.array([0, 2, 5], "i4"), numpy.array([0, 120, 300])
        bias, mask = random(numpy, 8, 5, 180, seed=3), numpy.random.default_rng(1).random((5, 180)) < 0.7
        rows = numpy.abs(random(numpy, 8, 5, seed=4)) + 0.5
        out = heed.attention(
            Q[0], K[0], V[0], query_offsets=offsets, key_offsets=keys, bias=bias, mask=mask, temperatures=rows
        )
        for (a, b), (c, d) in (((0, 2), (0, 120)), ((2, 5), (120, 300))):
            self.same(
                out[a:b],
                heed.attention(
                    Q[0, a:b],
                    K[0, c:d],
                    V[0, c:d],
                    bias=bias[:, a:b, : d - c],
                    mask=mask[a:b, : d - c],
                    temperatures=rows[None, :, a:b],
                ),
            )

    def test_padded(self):
        out = heed.attention(
            Q, K, V, query_lengths=[3, 5], key_lengths=[10, 300], causal=True, out=numpy.full((2, 5, 8, 32), 7, "f4")
        )
        self.same(out[0, :3], heed.attention(Q[0, :3], K[0, :10], V[0, :10], causal=True))
        self.same(out[1], heed.attention(Q[1], K[1], V[1], causal=True))
        self.assertTrue((out[0, 3:] == 7).all())

    def test_pages(self):
        order = numpy.random.default_rng(2).permutation(40)[:38].reshape(2, 19).astype("i4")
        for layout in ("bshd", "bhsd"):
            pools = []
            for a in (K, V):
                pool = numpy.full((40, 16, 2, a.shape[3]), numpy.nan, "f4")
                padded = numpy.concatenate([a, a[:, :4]], 1).reshape(2, 19, 16, 2, -1)
                pool[order] = padded
                pools.append(pool if layout == "bshd" else numpy.ascontiguousarray(pool.transpose(0, 2, 1, 3)))
            options = {"kv_layout": layout, "key_lengths": [290, 300], "causal": True}
            out = heed.attention(Q, *pools, page_table=order, **options)
            self.same(out, heed.attention(Q, K, V, key_lengths=[290, 300], causal=True))
            plan = heed.Plan(Q, *pools, paged=True, **options)
            self.same(plan.run(Q, *pools, page_table=order), out)
            self.refused("page_table must be given: k and v are pages", plan.run, Q, *pools)
            wide = numpy.full((2, 25), -1, "i4")
            wide[:, :19] = order
            self.same(heed.attention(Q, *pools, page_table=wide[:, :19], **options), out)
            self.same(heed.attention(Q, *pools, page_table=order.ravel(), page_indptr=[0, 19, 38], **options), out)
            for sentence, table in (
                ("2 rows, and for 300 keys 19 pages", order[:, :18]),
                ("2 rows", order[:1]),
                ("must be int32", order.astype("i8")),
                ("must be int32", order[0]),
            ):
                self.refused(sentence, heed.attention, Q, *pools, page_table=table, **options)
            self.refused("key_lengths must say", heed.attention, Q, *pools, page_table=order, kv_layout=layout)

    def test_key_masks(self):
        wanted = heed.attention(Q, K, V, mask=MASK)
        self.same(heed.attention(Q, K, V, mask=MASK.view("u1")), wanted)
        self.same(heed.attention(Q, K, V, mask=numpy.where(MASK, 0, -INF).astype("f2")), wanted)
        packed = numpy.packbits(MASK, axis=-1, bitorder="little")
        self.same(heed.attention(Q, K, V, mask=heed.KeyMask(packed, bits=True)), wanted)
        blocks = MASK[:, :, :3, :30]
        whole = numpy.repeat(numpy.repeat(blocks, 2, 2)[:, :, :5], 10, 3)
        self.same(
            heed.attention(Q, K, V, mask=heed.KeyMask(blocks, query_block=2, key_block=10)),
            heed.attention(Q, K, V, mask=whole),
        )
        last = MASK[0, 0, :, :5]
        tail = numpy.ones((5, 300), bool)
        tail[:, 295:] = last
        self.same(heed.attention(Q, K, V, mask=heed.KeyMask(last, last_keys=5)), heed.attention(Q, K, V, mask=tail))
        lists = [numpy.flatnonzero(MASK[b, 0, i]) for b in range(2) for i in range(5)]
        offsets = numpy.cumsum([0] + [len(one) for one in lists])
        self.same(heed.attention(Q, K, V, key_lists=heed.KeyLists(offsets, numpy.concatenate(lists))), wanted)
        self.refused("mask has elements of bool", heed.attention, Q, K, V, mask=heed.KeyMask(MASK, bits=True))
        self.refused("query_block (0)", heed.attention, Q, K, V, mask=heed.KeyMask(MASK, query_block=0))
        self.refused("key_lists.offsets has 2 entries", heed.attention, Q, K, V, key_lists=([0, 1], [2]))

    def test_masks_are_read_at_each_call(self):
        mask = numpy.ones((5, 300), bool)
        before = heed.attention(Q, K, V, mask=mask)
        mask[:, 100:] = False
        after = heed.attention(Q, K, V, mask=mask)
        self.assertFalse((before == after).all())
        self.same(after, heed.attention(Q, K, V, key_lengths=[100, 100]))

    def test_scales(self):
        """Codes with a number for each token, head, channel, group of channels, or one for all."""
        codes = numpy.random.default_rng(7).integers(-128, 128, K.shape, "i1")
        values = numpy.random.default_rng(8).integers(-128, 128, V.shape, "i1")
        for shape in ((2, 300, 2, 1), (2, 300, 2, 4), (1, 1, 2, 1), (1, 1, 2, 32), (1, 1, 1, 1)):
            scales, zeros = abs(random(numpy, *shape, seed=1)) / 64, numpy.round(random(numpy, *shape, seed=2) * 8)

            def spread(a, dim):
                return numpy.repeat(a, dim // a.shape[3], 3) if a.shape[3] > 1 else a

            wide = [(c - spread(zeros, c.shape[3])) * spread(scales, c.shape[3]) for c in (codes, values)]
            out = heed.attention(
                Q, codes, values, k_scales=scales, v_scales=scales, k_zero_points=zeros, v_zero_points=zeros
            )
            self.same(out, heed.attention(Q, *wide))
        given = {"k_scales": scales, "v_scales": scales}
        plan = heed.Plan(Q, codes, values, **given)
        self.same(plan.run(Q, codes, values, **given, k_zero_points=zeros, v_zero_points=zeros), out)
        self.refused("k_scales must be given: the plan was made with them", plan.run, Q, codes, values)
        swapped = [numpy.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in (codes, values, scales, zeros)]
        self.same(
            heed.attention(
                Q,
                *swapped[:2],
                kv_layout="bhsd",
                k_scales=swapped[2],
                v_scales=swapped[2],
                k_zero_points=swapped[3],
                v_zero_points=swapped[3]
            ),
            out,
        )
        ones = numpy.ones((2, 300, 2, 1), "f4")
        for sentence, options in (
            ("k_scales has 3 groups", {"k_scales": numpy.ones((2, 300, 2, 3), "f4")}),
            ("k_scales has the shape (2, 299, 2, 1)", {"k_scales": ones[:, :299]}),
            ("k_zero_points has shape", {"k_scales": ones, "k_zero_points": ones[:1]}),
        ):
            self.refused(sentence, heed.attention, Q, codes, V, **options)

    def test_int4(self):
        codes = numpy.random.default_rng(7).integers(-8, 8, K.shape, "i1")
        packed = (codes[..., 0::2] & 15 | codes[..., 1::2] << 4).astype("i1")
        scales = numpy.full((1, 1, 1, 1), 0.25, "f4")
        self.same(
            heed.attention(Q, packed, V, k_type="int4", k_scales=scales),
            heed.attention(Q, codes * numpy.float32(0.25), V),
        )

    def test_values_of_another_type(self):
        self.same(heed.attention(Q, K.astype("f2"), V), heed.attention(Q, K.astype("f2").astype("f4"), V))
        self.same(
            heed.attention(Q.astype("f2"), K, V, out_type="f32"), heed.attention(Q.astype("f2").astype("f4"), K, V)
        )

    def test_empty(self):
        self.assertEqual(heed.attention(Q[:, :0], K, V).shape, (2, 0, 8, 32))
        self.assertEqual(heed.attention(Q[:0], K[:0], V[:0]).shape, (0, 5, 8, 32))
        out, lse = heed.attention(Q, K[:, :0], V[:, :0], lse=True)
        self.assertTrue((out == 0).all() and (lse == -INF).all())

    def test_how_it_is_planned_leaves_no_trace(self):
        wanted = heed.attention(Q, K, V)
        for options in (
            {"workers": 1},
            {"tile_keys": 16},
            {"item_rows": 8},
            {"executor": heed.Executor(2)},
            {"workspace": heed.Workspace()},
        ):
            self.same(heed.attention(Q, K, V, **options), wanted)

    def test_products(self):
        words = {"q_type": "bf16", "k_type": "bf16", "v_type": "bf16", "out_type": "f32"}
        bf16 = [heed.convert(a, "bf16") for a in (Q, K, V)]
        wide = [(a.astype("u4") << 16).view("f4") for a in bf16]
        self.same(heed.attention(*bf16, products="f32", **words), heed.attention(*wide))
        self.assertFalse((heed.attention(*bf16, **words) == heed.attention(*wide)).all())
        self.refused("products of bf16 need q, k and v of bf16", heed.attention, Q, K, V, products="bf16")


if __name__ == "__main__":
    main()

"""The attention layer: bit for bit what the functions that it consists of give, and near PyTorch's."""

import os
import pathlib
import subprocess
import sys
import unittest
import weakref

from support import EPSILON, Refusals, main, need, random

numpy = need("numpy")
import heed
import heed.layer
from heed.layer import AttentionStep, LayerConfig, MultiHeadAttention, RmsNorm

DIM, HEADS, KV_HEADS, HEAD, VALUE = 40, 4, 2, 16, 12  # heads are no part of DIM


def weights():
    """Those of a layer, by their names."""
    shapes = {
        "q": (HEADS * HEAD, DIM),
        "k": (KV_HEADS * HEAD, DIM),
        "v": (KV_HEADS * VALUE, DIM),
        "o": (DIM, HEADS * VALUE),
    }
    named = {"w" + name: random(numpy, *shape, seed=3) / 7 for name, shape in shapes.items()}
    return {**named, **{"b" + name: random(numpy, shape[0], seed=4) for name, shape in shapes.items()}}


def new_cache(**options):
    return heed.KvCache(
        pages=20,
        page_tokens=4,
        kv_heads=KV_HEADS,
        head_dim=HEAD,
        value_head_dim=VALUE,
        sequences=3,
        layers=2,
        **options
    )


def config(**options):
    return LayerConfig(DIM, HEADS, KV_HEADS, HEAD, VALUE, causal=True, **options)


class Layers(Refusals):
    def test_bits(self):
        rotary = heed.Rotary(8, 64, pairs="halves", scaling=heed.RotaryScaling("linear", factor=2.0))
        norms = {
            "q_norm": RmsNorm(random(numpy, HEAD, seed=5), weight_offset=1.0),
            "k_norm": RmsNorm(random(numpy, HEAD, seed=6), epsilon=0.25),
        }
        for given, k_type in (
            (config(), "f32"),
            (config(window_left=5, keep_first=2, scale=0.3, rotary=rotary), "f16"),
        ):
            w, mine, other = weights(), new_cache(k_type=k_type), new_cache(k_type=k_type)
            untouched = [numpy.asarray(side) for side in (mine.layer(0).k, mine.layer(0).v)]
            for side in untouched:
                side.fill(7)
            executor = heed.Executor(2)
            step = AttentionStep(given, executor=executor, workers=2)
            layer = MultiHeadAttention(given, **w, **norms)
            ids = [(mine.add(), other.add())[0] for _ in range(2)]
            for counts in ((9, 1), (1, 5)):
                slots = [slot for number, count in zip(ids, counts) for slot in other.extend(number, count)]
                for number, count in zip(ids, counts):
                    mine.extend(number, count)
                x = random(numpy, sum(counts), DIM, seed=counts[0])
                step.prepare(mine, zip(ids, counts))
                self.assertEqual(step.tokens, sum(counts))
                self.assertIn("items", step.describe())
                wanted = self.composed(given, w, norms, other, slots, ids, counts, x)
                numpy.testing.assert_array_equal(layer.forward(step, x, layer=1), wanted)
                self.assertIs(layer.forward(step, x, layer=1, out=x), x)
                numpy.testing.assert_array_equal(x, wanted)
            self.assertTrue(all((side == 7).all() for side in untouched))

    def composed(self, given, w, norms, cache, slots, ids, counts, x):
        """The layer as the functions that it consists of."""
        positions = [cache.tokens(number) - count + i for number, count in zip(ids, counts) for i in range(count)]
        q, k, v = (
            heed.layer.project(x, w["w" + name], w["b" + name]).reshape(len(x), heads, dim)
            for name, heads, dim in (("q", HEADS, HEAD), ("k", KV_HEADS, HEAD), ("v", KV_HEADS, VALUE))
        )
        q, k = (heed.normalise_heads(x, **norms[name]._asdict()) for x, name in ((q, "q_norm"), (k, "k_norm")))
        options = {}
        if given.rotary:
            q = given.rotary.rotate(q, positions)
            options = {"rotary": given.rotary, "positions": positions}
        cache.append(k, v, slots, layer=1, **options)
        windows = {name: getattr(given, name) for name in ("window_left", "keep_first", "scale")}
        context = cache.attention(
            q, ids, layer=1, causal=True, query_offsets=[0, *numpy.cumsum(counts).tolist()], **windows
        )
        return heed.layer.project(context.reshape(len(x), HEADS * VALUE), w["wo"], w["bo"])

    def test_products(self):
        x, w, b = random(numpy, 7, 33), random(numpy, 5, 33), random(numpy, 5)
        exact = x.astype("f8") @ w.astype("f8").T + b
        bound = 40 * EPSILON * (abs(x).astype("f8") @ abs(w).astype("f8").T + abs(b))
        out = numpy.zeros((7, 5), "f4")
        self.assertIs(heed.layer.project(x, w, b, out=out), out)
        self.assertTrue((abs(out - exact) <= bound).all())
        numpy.testing.assert_array_equal(heed.layer.project(x, w, b, executor=heed.Executor(2)), out)
        self.assertEqual(heed.layer.project(x[:0], w).shape, (0, 5))

    def test_torch(self):
        try:
            import torch
        except ImportError as error:
            self.skipTest(str(error))
        torch.manual_seed(1)
        theirs = torch.nn.MultiheadAttention(DIM, 5, batch_first=True)
        q, k, v = theirs.in_proj_weight.detach().chunk(3)
        bq, bk, bv = theirs.in_proj_bias.detach().chunk(3)
        given = LayerConfig(DIM, 5, 5, DIM // 5, causal=True)
        layer = MultiHeadAttention(
            given,
            wq=q,
            wk=k,
            wv=v,
            wo=theirs.out_proj.weight.detach(),
            bq=bq,
            bk=bk,
            bv=bv,
            bo=theirs.out_proj.bias.detach(),
        )
        cache = heed.KvCache(pages=5, page_tokens=4, kv_heads=5, head_dim=DIM // 5, sequences=1)
        x, number, step = torch.randn(13, DIM), cache.add(), AttentionStep(given)
        hidden = torch.ones(13, 13).triu(1).bool()
        with torch.no_grad():
            wanted = theirs(x[None], x[None], x[None], attn_mask=hidden)[0][0]
        out = []
        for tokens in x.split([6, 1, 6]):
            cache.extend(number, len(tokens))
            step.prepare(cache, [(number, len(tokens))])
            out.append(layer.forward(step, tokens))
        self.assertIsInstance(out[0], torch.Tensor)
        # Both compute in float32: four sums of some dozens of products of size 1, one after the other, are off by 1e-6.
        self.assertLess((torch.cat(out) - wanted).abs().max(), 1e-5)

    def test_what_is_pointed_to_is_kept(self):
        cache = heed.KvCache(pages=1, page_tokens=4, kv_heads=1, head_dim=2, sequences=1)
        rotary, executor, eye = heed.Rotary(2, 4), heed.Executor(1), numpy.eye(2, dtype="f4")
        given = LayerConfig(2, 1, 1, 2, rotary=rotary)
        matrices = {name: eye * 1 for name in ("wq", "wk", "wv", "wo")}
        layer = MultiHeadAttention(given, **matrices, bo=eye[0] * 1, q_norm=RmsNorm(eye[0] * 2))
        number, step = cache.add(), AttentionStep(given, executor=executor)
        cache.extend(number, 1)
        step.prepare(cache, [(number, 1)])
        alive = [weakref.ref(thing) for thing in (cache, rotary, executor)]
        del cache, rotary, executor, given, matrices
        self.assertTrue(all(thing() is not None for thing in alive))
        rubbish = [numpy.full(shape, numpy.nan, "f4") for shape in (2, (2, 2)) for _ in range(100)]
        out = layer.forward(step, numpy.array([[3, 5]], "f4"))
        self.assertEqual(len(rubbish), 200)
        numpy.testing.assert_allclose(out, [[4, 5]], rtol=1e-6)  # one key: its weight is 1, but for a rounding
        del step
        self.assertFalse(any(thing() is not None for thing in alive))

    def test_refusals(self):
        w, given, cache = weights(), config(), new_cache()
        step, layer, number = AttentionStep(given), MultiHeadAttention(given, **w), cache.add()
        x = random(numpy, 3, DIM)
        self.refused("step must be an AttentionStep, and prepared", layer.forward, step, x)
        cache.extend(number, 3)
        step.prepare(cache, [(number, 3)])
        wide, narrow = config()._replace(dim=2 * DIM), config()._replace(dim=DIM // 2)
        for sentence, function, arguments, options in (
            ("x must have the shape (3, 40), without gaps; its shape is (2, 40)", layer.forward, (step, x[1:]), {}),
            ("x must have the shape (3, 40)", layer.forward, (step, numpy.zeros((3, 80), "f4")[:, ::2]), {}),
            ("x has elements of float64", layer.forward, (step, x.astype("f8")), {}),
            ("out must have the shape (3, 40)", layer.forward, (step, x), {"out": x[:2]}),
            ("layer (2) must be from 0 to 1", layer.forward, (step, x), {"layer": 2}),
            ("step must be", layer.forward, (cache, x), {}),
            ("cache is a AttentionStep", step.prepare, (step, []), {}),
            ("sequence 2 is not in use", step.prepare, (cache, [(2, 1)]), {}),
            ("tokens (4) must be from 0 to the 3 of sequence 0", step.prepare, (cache, [(number, 4)]), {}),
            ("sequences (5) must be two things", step.prepare, (cache, [5]), {}),
            (
                "the cache has 2 heads of 16 and 12",
                AttentionStep(given._replace(value_head_dim=8)).prepare,
                (cache, []),
                {},
            ),
            ("config is a dict", AttentionStep, ({},), {}),
            ("dim (0) must be from 1", AttentionStep, (given._replace(dim=0),), {}),
            ("kv_heads (3) must divide", AttentionStep, (given._replace(kv_heads=3),), {}),
            ("wq must have the shape (64, 80), without gaps; its shape is (64, 40)", MultiHeadAttention, (wide,), w),
            ("wk must have the shape (32, 20)", MultiHeadAttention, (narrow,), {**w, "wq": w["wq"][:, :20].copy()}),
            ("wv has elements of float16", MultiHeadAttention, (given,), {**w, "wv": w["wv"].astype("f2")}),
            ("bo must have the shape (40,)", MultiHeadAttention, (given,), {**w, "bo": w["bo"][1:]}),
            ("q_norm is a float", MultiHeadAttention, (given,), {**w, "q_norm": 1.0}),
            (
                "k_norm.weight must have the shape (16,)",
                MultiHeadAttention,
                (given,),
                {**w, "k_norm": RmsNorm(w["bq"])},
            ),
            ("k_norm: epsilon (0)", MultiHeadAttention, (given,), {**w, "k_norm": RmsNorm(epsilon=0.0)}),
            ("x has 1 dimensions; it must have 2", heed.layer.project, (x[0], w["wq"]), {}),
            ("x must have the shape (3, 64)", heed.layer.project, (x, w["wq"].T.copy()), {}),
            ("bias must have the shape (64,)", heed.layer.project, (x, w["wq"], w["bk"]), {}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, function, *arguments, **options)
        other = MultiHeadAttention(
            given._replace(query_heads=2), **{**w, "wq": w["wq"][:32], "bq": w["bq"][:32], "wo": w["wo"][:, :24].copy()}
        )
        self.refused("the step must have been created with the configuration", other.forward, step, x)
        self.assertEqual(step.tokens, 3)
        self.assertEqual(layer.forward(step, x).shape, (3, DIM))


class Library(unittest.TestCase):
    def test_the_other_library_has_no_layer(self):
        path = pathlib.Path(os.environ["HEED_LIBRARY"]).with_name("libheed_c.so.1")
        program = "import heed; print(heed.version()); import heed.layer"
        result = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "HEED_LIBRARY": str(path)},
            capture_output=True,
            text=True,
        )
        self.assertEqual(result.stdout, heed.version() + "\n")
        self.assertIn("ImportError: heed.layer needs libheed_layer_c.so.1, and heed has loaded", result.stderr)

    def test_exceptions_of_hosts_are_raised(self):
        def fail(tasks, task):
            raise RuntimeError("no threads")

        given = config()
        cache = heed.KvCache(
            pages=8, page_tokens=128, kv_heads=KV_HEADS, head_dim=HEAD, value_head_dim=VALUE, sequences=1
        )
        number, step = cache.add(), AttentionStep(given, executor=heed.Executor.adopt(4, fail), workers=4)
        cache.extend(number, 1000)
        step.prepare(cache, [(number, 1000)])
        with self.assertRaisesRegex(RuntimeError, "no threads"):
            MultiHeadAttention(given, **weights()).forward(step, random(numpy, 1000, DIM))

    def test_all_that_is_public_has_a_word(self):
        for name in heed.layer.__all__:
            self.assertTrue(getattr(heed.layer, name).__doc__, name)


if __name__ == "__main__":
    main()

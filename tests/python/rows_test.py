"""Softmax of matrices, gradients, drawing tokens, and numbers of other types."""

from support import EPSILON, Refusals, main, need, random

numpy = need("numpy")
import heed

INF = float("inf")
X, DY = random(numpy, 3, 4, 50), random(numpy, 3, 4, 50, seed=2)
MASK = numpy.random.default_rng(3).random(X.shape) < 0.7
PLACE = numpy.zeros((13, 50), "f4")
ROWS = numpy.abs(random(numpy, 3, 4, seed=4)) + 0.5

#: Weights are within 4 · |z| + 8 roundings, sums of 50 within 50 more.
BOUND = (4 * abs(X).max() * 4 + 58) * EPSILON


def exact_softmax(x, scale=1.0, temperature=1.0, mask=None):
    """Softmax and log-sum-exp in float64."""
    z = (
        scale * x.astype("f8") / numpy.asarray(temperature, "f8")[..., None]
        if numpy.ndim(temperature)
        else (scale * x.astype("f8") / temperature)
    )
    if mask is not None:
        z = numpy.where(mask, z, -INF)
    most = z.max(-1, keepdims=True)
    e = numpy.exp(z - most)
    return e / e.sum(-1, keepdims=True), (numpy.log(e.sum(-1, keepdims=True)) + most)[..., 0]


class Matrices(Refusals):
    def test_softmax(self):
        for options in (
            {},
            {"scale": 2.0},
            {"temperature": 0.7},
            {"temperature": ROWS},
            {"mask": MASK},
            {"mask": MASK[0, 0]},
            {"mask": MASK, "temperature": ROWS, "scale": 0.5},
        ):
            with self.subTest(options.keys()):
                y, lse = exact_softmax(X, **options)
                self.assertLessEqual(abs(heed.softmax(X, **options) - y).max(), BOUND)
                with numpy.errstate(divide="ignore"):
                    logs = numpy.log(y)
                seen = numpy.isfinite(logs)
                mine = heed.log_softmax(X, **options)
                numpy.testing.assert_array_equal(numpy.isfinite(mine), seen)
                self.assertLessEqual(abs(mine[seen] - logs[seen]).max(), BOUND * abs(logs[seen]).max())
                self.assertLessEqual(abs(heed.log_sum_exp(X, **options) - lse).max(), BOUND * abs(lse).max())

    def test_ends_of_temperature(self):
        self.assertTrue((heed.softmax(X, temperature=INF) == numpy.float32(1 / 50)).all())
        numpy.testing.assert_array_equal(heed.softmax(X, temperature=0).argmax(-1), X.argmax(-1))
        numpy.testing.assert_array_equal(
            heed.softmax(X, temperature=numpy.zeros(12, "f4")), heed.softmax(X, temperature=0)
        )

    def test_types_places_and_strides(self):
        y = heed.softmax(X)
        half = heed.softmax(X.astype("f2"))
        self.assertEqual(half.dtype, numpy.float16)
        numpy.testing.assert_array_equal(half, heed.softmax(X.astype("f2").astype("f4")).astype("f2"))
        words = heed.softmax(X, out_type="bf16")
        numpy.testing.assert_array_equal(words, heed.convert(y, "bf16"))
        given = numpy.zeros_like(words)
        self.assertIs(heed.softmax(X, out_type="bf16", out=given), given)
        numpy.testing.assert_array_equal(given, words)
        place = X.copy()
        self.assertIs(heed.softmax(place, out=place), place)
        numpy.testing.assert_array_equal(place, y)
        numpy.testing.assert_array_equal(heed.softmax(X.reshape(12, 50)[::-1])[::-1], y.reshape(12, 50))
        wide = numpy.zeros((3, 4, 60), "f4")
        heed.softmax(X, out=wide[..., 3:53])
        numpy.testing.assert_array_equal(wide[..., 3:53], y)
        self.assertFalse(wide[..., 53:].any())
        numpy.testing.assert_array_equal(heed.softmax(X[0, 0]), y[0, 0])
        self.assertEqual(heed.softmax(X[:0]).shape, (0, 4, 50))
        self.assertEqual(heed.log_sum_exp(X[0, 0]).shape, ())

    def test_gradients(self):
        for options in ({}, {"scale": 2.0, "temperature": 0.7}, {"temperature": ROWS}, {"mask": MASK}):
            with self.subTest(options.keys()):
                t = numpy.broadcast_to(numpy.asarray(options.get("temperature", 1.0), "f8"), (3, 4))[..., None]
                scale, visible = options.get("scale", 1.0), options.get("mask", True)
                y = heed.softmax(X, **options).astype("f8")
                g = y * (DY - (y * DY).sum(-1, keepdims=True))
                dx, dt = heed.softmax_gradient(y.astype("f4"), DY, dt=True, **options)
                bound = 60 * EPSILON * (abs(DY).max() * 50) * scale / t.min()
                self.assertLessEqual(abs(dx - numpy.where(visible, g * scale / t, 0)).max(), bound)
                logs = numpy.log(numpy.where(y > 0, y, 1))
                exact = -(g * (logs - (y * logs).sum(-1, keepdims=True))).sum(-1) / t[..., 0]
                self.assertLessEqual(abs(dt - exact).max(), 100 * bound)
                logs = heed.log_softmax(X, **options)
                g = numpy.where(visible, DY, 0) - numpy.exp(logs.astype("f8")) * numpy.where(visible, DY, 0).sum(
                    -1, keepdims=True
                )
                self.assertLessEqual(abs(heed.log_softmax_gradient(logs, DY, **options) - g * scale / t).max(), bound)
        place = DY.copy()
        numbers = numpy.zeros((3, 4), "f4")
        dx, dt = heed.softmax_gradient(heed.softmax(X), place, dx=place, dt=numbers)
        self.assertTrue(dx is place and dt is numbers and numbers.any())

    def test_refusals(self):
        for sentence, function, arguments, options in (
            ("x has elements of float64", heed.softmax, (X.astype("f8"),), {}),
            ("x has a last dimension with gaps", heed.softmax, (X[..., ::2],), {}),
            ("x of shape (3, 2, 50) has rows at several distances", heed.softmax, (X[:, :2],), {}),
            ("x has no dimensions", heed.softmax, (X[0, 0, 0],), {}),
            ("out has the shape (3, 4, 49)", heed.softmax, (X,), {"out": numpy.zeros((3, 4, 49), "f4")}),
            ("out_type ('int8') must be f32", heed.softmax, (X,), {"out_type": "int8"}),
            ("overlap", heed.softmax, (PLACE[:12],), {"out": PLACE[1:]}),
            ("temperature has the shape (5,)", heed.softmax, (X,), {"temperature": numpy.ones(5, "f4")}),
            ("temperature (-1)", heed.softmax, (X,), {"temperature": -1}),
            ("mask has elements of float32", heed.softmax, (X,), {"mask": X}),
            ("mask has the shape (4, 50)", heed.softmax, (X,), {"mask": MASK[0]}),
            ("dy has the shape (3, 4, 49)", heed.softmax_gradient, (X, DY[..., :49]), {}),
            ("temperature", heed.softmax_gradient, (X, DY), {"temperature": 0}),
            ("dt has the shape (4,)", heed.softmax_gradient, (X, DY), {"dt": numpy.zeros(4, "f4")}),
            ("out has elements of float64", heed.log_sum_exp, (X,), {"out": numpy.zeros((3, 4))}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, function, *arguments, **options)


class Tokens(Refusals):
    LOGITS = random(numpy, 4, 100, seed=9)

    def test_greedy(self):
        tokens = heed.sample(self.LOGITS, temperature=0)
        self.assertEqual(tokens.dtype, numpy.int32)
        numpy.testing.assert_array_equal(tokens, self.LOGITS.argmax(-1))
        self.assertEqual(heed.sample(self.LOGITS[0], temperature=0), self.LOGITS[0].argmax())

    def test_rules_and_draws_of_rows(self):
        """A row's token does not depend on the others: each alone is the same."""
        rules = {
            "temperature": [0, 0.7, 1, 2],
            "top_k": numpy.array([0, 5, 10, 0]),
            "top_p": [1, 0.9, 0.5, 1],
            "min_p": [0, 0, 0, 0.2],
        }
        tokens, odds = heed.sample(self.LOGITS, **rules, seed=[1, 2, 3, 4], counter=[5, 6, 7, 8], probabilities=True)
        for i in range(4):
            one = {name: float(values[i]) if name != "top_k" else int(values[i]) for name, values in rules.items()}
            token, chance = heed.sample(self.LOGITS[i], **one, seed=1 + i, counter=5 + i, probabilities=True)
            self.assertEqual((token, chance), (tokens[i], odds[i]))
        y = exact_softmax(self.LOGITS[1], temperature=0.7)[0]
        kept = numpy.sort(y)[::-1][:5]
        kept = kept[: 1 + int((numpy.cumsum(kept) < 0.9 * kept.sum()).sum())]
        self.assertAlmostEqual(float(odds[1]), y[tokens[1]] / kept.sum(), delta=1e-6)

    def test_one_seed_for_all_rows(self):
        same = numpy.broadcast_to(self.LOGITS[0], (64, 100))
        tokens = heed.sample(same, seed=7, counter=3)
        self.assertGreater(len(set(tokens.tolist())), 8)
        self.assertEqual(tokens[5], heed.sample(same[0], seed=7, counter=8))
        numpy.testing.assert_array_equal(tokens, heed.sample(same, seed=7, counter=3))

    def test_no_token(self):
        rows = numpy.array([[1, numpy.nan], [-INF, -INF], [0, 1]], "f4")
        self.assertEqual(list(heed.sample(rows, temperature=0)), [heed.NO_TOKEN, heed.NO_TOKEN, 1])

    def test_refusals(self):
        for sentence, options in (
            ("draws", {}),
            ("top_p", {"top_p": 2.0, "seed": 1}),
            ("temperature has 3 entries", {"temperature": [1, 2, 3], "seed": 1}),
            ("seed (-1)", {"seed": -1}),
            ("top_k (1.5)", {"top_k": 1.5, "seed": 1}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.sample, self.LOGITS, **options)
        self.refused("logits has 3 dimensions", heed.sample, X, temperature=0)


class Conversions(Refusals):
    def test_round_trips(self):
        x = random(numpy, 3, 64)
        for name, size in (("f16", 64), ("bf16", 64), ("fp8_e4m3", 64), ("fp8_e5m2", 64), ("q8_0", 68), ("q4_0", 36)):
            narrow = heed.convert(x, name)
            self.assertEqual(narrow.shape, (3, size))
            back = heed.convert(narrow, "f32", x_type=name)
            numpy.testing.assert_array_equal(heed.convert(back, name), narrow)
        numpy.testing.assert_array_equal(heed.convert(x, "f16"), x.astype("f2"))
        bits = x.view("u4")
        rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2")
        numpy.testing.assert_array_equal(heed.convert(x, "bf16"), rounded)
        out = numpy.zeros((3, 68), "i1")
        self.assertIs(heed.convert(x, "q8_0", out=out), out)

    def test_refusals(self):
        x = random(numpy, 3, 64)
        for sentence, arguments, options in (
            ("x has gaps", (x[:, :32], "f16"), {}),
            ("int8", (x, "int8"), {}),
            ("multiples of 32", (x[0, :33], "q8_0"), {}),
            ("to ('f17')", (x, "f17"), {}),
            ("out has the shape", (x, "f16"), {"out": numpy.zeros((3, 63), "f2")}),
            ("out has elements of float32", (x, "f16"), {"out": numpy.zeros_like(x)}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.convert, *arguments, **options)


if __name__ == "__main__":
    main()

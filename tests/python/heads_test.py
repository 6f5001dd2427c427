"""Rotary embedding, its scalings, and the norm of heads, against the formulas of heed/rotary.h and head_norm.h."""

import math

from support import EPSILON, Refusals, main, need, random

numpy = need("numpy")
import heed

X = random(numpy, 23, 2, 64)
UNIT = 2.0**-53


def turned(x, positions, frequencies, factor=1.0, halves=False):
    """x rotated in long double, and |a| + |b| and the angle at each element."""
    pairs = len(frequencies)
    exact, sizes, angles = (numpy.array(x, numpy.longdouble) for _ in range(3))
    first = slice(0, pairs) if halves else slice(0, 2 * pairs, 2)
    second = slice(pairs, 2 * pairs) if halves else slice(1, 2 * pairs, 2)
    a, b = exact[..., first].copy(), exact[..., second].copy()
    angle = (numpy.asarray(positions, numpy.longdouble)[:, None] * frequencies)[:, None]
    exact[..., first] = factor * (a * numpy.cos(angle) - b * numpy.sin(angle))
    exact[..., second] = factor * (b * numpy.cos(angle) + a * numpy.sin(angle))
    for part in (first, second):
        sizes[..., part], angles[..., part] = factor * (abs(a) + abs(b)), abs(angle)
    sizes[..., 2 * pairs :] = angles[..., 2 * pairs :] = 0
    return exact, sizes, angles


class Turns(Refusals):
    def test_plain(self):
        for halves, base, dim in ((True, 500000.0, 64), (False, 10000.0, 64), (False, 10000.0, 48)):
            with self.subTest(base):
                rotary = heed.Rotary(dim, 100, pairs="halves" if halves else "adjacent", base=base)
                positions = numpy.arange(40, 63)
                frequencies = numpy.longdouble(base) ** (-numpy.arange(dim // 2) / numpy.longdouble(dim // 2))
                exact, sizes, angles = turned(X, positions, frequencies, halves=halves)
                bound = sizes * (2.6 * EPSILON + angles * (4 + math.log(base)) * UNIT) + 2.0**-148
                out = rotary.rotate(X, positions)
                self.assertTrue((abs(out - exact) <= bound).all())
                numpy.testing.assert_array_equal(out[..., dim:], X[..., dim:])
                self.assertEqual((len(rotary.frequencies), rotary.attention_factor), (dim // 2, 1.0))

    def test_places(self):
        rotary, positions = heed.Rotary(64, 100), range(40, 63)
        wanted = rotary.rotate(X, positions)
        rows = numpy.ascontiguousarray(X.transpose(1, 0, 2))
        self.assertIs(rotary.rotate(rows, list(positions), layout="bhsd", out=rows), rows)
        numpy.testing.assert_array_equal(rows.transpose(1, 0, 2), wanted)
        wide = numpy.zeros((23, 4, 64), "f2")
        rotary.rotate(X, positions, out=wide[:, ::2])
        numpy.testing.assert_array_equal(wide[:, ::2], wanted.astype("f2"))
        self.assertFalse(wide[:, 1::2].any())
        half = rotary.rotate(X.astype("f2"), positions)
        numpy.testing.assert_array_equal(half, rotary.rotate(X.astype("f2").astype("f4"), positions).astype("f2"))

    def test_keys_on_their_way_to_a_cache(self):
        cache = heed.KvCache(pages=6, page_tokens=4, kv_heads=2, head_dim=64, sequences=1, layout="bshd")
        rotary = heed.Rotary(64, 100, scaling=heed.RotaryScaling("yarn", 4.0, 16))
        sequence = cache.add()
        cache.append(X, X, cache.extend(sequence, 23), rotary=rotary, positions=range(9, 32))
        keys = numpy.asarray(cache.layer().k)[cache.pages(sequence)].reshape(-1, 2, 64)[:23]
        numpy.testing.assert_array_equal(keys, rotary.rotate(X, range(9, 32)))

    def test_refusals(self):
        rotary, positions = heed.Rotary(64, 100), numpy.arange(40, 63)
        for sentence, function, arguments, options in (
            ("positions has 22 entries", rotary.rotate, (X, positions[1:]), {}),
            ("positions[0] (100)", rotary.rotate, (X, positions + 60), {}),
            ("rotary_dim (3)", heed.Rotary, (3, 10), {}),
            ("pairs ('both') must be one of adjacent, halves", heed.Rotary, (4, 10), {"pairs": "both"}),
            ("out has the shape", rotary.rotate, (X, positions), {"out": X[1:].copy()}),
            ("frequencies has 3 entries", heed.Rotary, (4, 10), {"frequencies": [1, 2, 3]}),
            ("frequencies[1] (nan)", heed.Rotary, (4, 10), {"frequencies": [1, math.nan]}),
            ("frequencies must be numbers", heed.Rotary, (4, 10), {"frequencies": 1.0}),
            ("frequencies must be numbers", heed.Rotary, (4, 10), {"frequencies": numpy.ones((2, 2))}),
            ("factors[0] (0)", heed.Rotary, (4, 10), {"factors": [0, 1]}),
            ("factors must be numbers", heed.Rotary, (4, 10), {"factors": ["a", 1]}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, function, *arguments, **options)


DIM, POSITIONS, BASE, LENGTH = 16, 200, 10000.0, 64
PAIRS = numpy.arange(DIM // 2)
PLAIN = numpy.longdouble(BASE) ** (-PAIRS / numpy.longdouble(DIM // 2))
SHORT, LONG = numpy.linspace(1, 2, DIM // 2), numpy.linspace(1, 5, DIM // 2)
#: Units that plain frequencies and angles may be off by, and scaled ones (heed/rotary.h).
E = 4 + math.log(BASE)
SCALED = E + 4


def mixed(f, slowed, factor):
    """The frequencies of pairs that are slowed down in part."""
    slowed = numpy.clip(slowed, 0, 1)
    return f * (1 - slowed) + f / factor * slowed


def yarn_ends(fast, slow):
    return [DIM * math.log(LENGTH / (2 * math.pi * turns)) / (2 * math.log(BASE)) for turns in (fast, slow)]


def scalings():
    """What is asked for, the exact frequencies, the units that they may be off by, and the attention factor."""
    grown = numpy.longdouble(BASE) * (1 + 2 * numpy.longdouble(POSITIONS - LENGTH) / LENGTH) ** (
        numpy.longdouble(DIM) / (DIM - 2)
    )
    turns = LENGTH * PLAIN / (2 * numpy.longdouble(numpy.pi))
    lists = {"short_factors": list(SHORT), "long_factors": LONG}
    yield {"kind": "none"}, PLAIN, E, 1
    yield {"kind": "none", "attention_factor": 0.5}, PLAIN, E, 0.5
    yield {"kind": "linear", "factor": 3.0}, PLAIN / 3, SCALED, 1
    yield (
        {"kind": "dynamic_ntk", "factor": 2.0, "original_positions": LENGTH},
        grown ** (-PAIRS / numpy.longdouble(DIM // 2)),
        16 + 2 * math.log(grown),
        1,
    )
    llama = {"kind": "llama3", "factor": 8.0, "original_positions": LENGTH}
    yield llama, mixed(PLAIN, (4 - turns) / 3, 8), SCALED * (1 + 8 * 4 / 3), 1
    yield (
        {**llama, "low_freq_factor": 0.5, "high_freq_factor": 8.0},
        mixed(PLAIN, (8 - turns) / 7.5, 8),
        SCALED * (1 + 8 * 8 / 7.5),
        1,
    )
    yarn = {"kind": "yarn", "factor": 4.0, "original_positions": LENGTH, "beta_fast": 4.0, "beta_slow": 0.25}
    low, high = yarn_ends(4.0, 0.25)
    slowed = (PAIRS - math.floor(low)) / (math.ceil(high) - math.floor(low))
    yield yarn, mixed(PLAIN, slowed, 4), SCALED + 16, 1 + math.log(4) / 10
    error = SCALED + 4 * (4 + DIM * (8 + 4 / math.log(BASE)) / (high - low))
    yield (
        {**yarn, "truncate": False},
        mixed(PLAIN, (PAIRS - low) / (high - low), 4),
        error,
        1 + math.log(4) / 10,
    )
    deep = (1 + 0.7 * math.log(4) / 10) / (1 + 1.5 * math.log(4) / 10)
    yield {**yarn, "mscale": 0.7, "mscale_all_dim": 1.5}, mixed(PLAIN, slowed, 4), SCALED + 16, deep
    rope = {"kind": "long_rope", "factor": 4.0, **lists}
    yield {**rope, "original_positions": LENGTH}, PLAIN / LONG, SCALED, math.sqrt(1 + math.log(4) / math.log(LENGTH))
    yield {**rope, "original_positions": 200}, PLAIN / SHORT, SCALED, math.sqrt(1 + math.log(4) / math.log(200))


class Scalings(Refusals):
    def test_every_kind(self):
        x, positions = random(numpy, 30, 3, 20), numpy.arange(POSITIONS - 30, POSITIONS)
        kinds = set()
        for given, frequencies, units, factor in scalings():
            with self.subTest(given):
                rotary = heed.Rotary(DIM, POSITIONS, base=BASE, scaling=heed.RotaryScaling(**given))
                self.assertTrue((abs(rotary.frequencies - frequencies) <= units * UNIT * frequencies).all())
                self.assertAlmostEqual(rotary.attention_factor, factor, delta=8 * UNIT)
                exact, sizes, angles = turned(x, positions, frequencies, factor)
                bound = sizes * (3.1 * EPSILON + angles * units * UNIT) + 2.0**-148
                bound[..., DIM:] = 0  # these stay as they are
                self.assertTrue((abs(rotary.rotate(x, positions) - exact) <= bound).all())
                kinds.add(given["kind"])
        self.assertEqual(kinds, {"none", "linear", "dynamic_ntk", "llama3", "yarn", "long_rope"})

    def test_frequencies_of_ones_own(self):
        """Each is divided as often as there are divisors, in this order, and else has its bits."""
        own, factors = numpy.linspace(-1, 3, 8), numpy.linspace(1, 7, 8)
        self.assertEqual(heed.Rotary(DIM, 9, frequencies=own).frequencies, list(own))
        self.assertEqual(heed.Rotary(DIM, 9, frequencies=own.astype("f4")).frequencies, list(own.astype("f4")))
        self.assertEqual(heed.Rotary(DIM, 9, frequencies=tuple(own), factors=factors).frequencies, list(own / factors))
        linear = heed.Rotary(DIM, 9, frequencies=own, factors=factors, scaling=heed.RotaryScaling("linear", 3.0))
        self.assertEqual(linear.frequencies, list(own / factors / 3.0))
        for length, divisors in ((9, SHORT), (8, LONG)):
            scaling = heed.RotaryScaling("long_rope", 1.0, length, short_factors=SHORT, long_factors=LONG)
            rope = heed.Rotary(DIM, 9, frequencies=own, scaling=scaling)
            self.assertEqual(rope.frequencies, list(own / divisors))

    def test_refusals(self):
        for sentence, scaling in (
            ("scaling.kind ('ntk') must be one of none, linear", heed.RotaryScaling("ntk")),
            ("scaling is a dict; it must be a heed.RotaryScaling", {"kind": "linear"}),
            ("factor (0.5) must be 1 or more", heed.RotaryScaling("linear", 0.5)),
            ("scaling.factor ('big') must be a number", heed.RotaryScaling("linear", "big")),
            ("original_positions (0)", heed.RotaryScaling("yarn", 2.0)),
            ("scaling.original_positions (1.5) must be an integer", heed.RotaryScaling("yarn", 2.0, 1.5)),
            ("short_factors must not be empty", heed.RotaryScaling("long_rope", 2.0, 16)),
            (
                "short_factors has 1 entries",
                heed.RotaryScaling("long_rope", 2.0, 16, short_factors=[1], long_factors=[1]),
            ),
            ("short_factors and long_factors are for long_rope", heed.RotaryScaling("linear", short_factors=SHORT)),
            ("long_factors must be numbers", heed.RotaryScaling("long_rope", long_factors=3)),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.Rotary, DIM, 9, scaling=scaling)
        self.refused(
            "frequencies must be empty for yarn",
            heed.Rotary,
            DIM,
            9,
            frequencies=SHORT,
            scaling=heed.RotaryScaling("yarn", 2.0, 16),
        )


def normalised(x, weight=None, weight_offset=0.0, epsilon=1e-6):
    """The formula of head_norm.h in its order of operations."""
    x, dim = x.astype("f8"), x.shape[-1]
    sums = numpy.zeros((*x.shape[:-1], 8))
    for i in range(dim):
        sums[..., i % 8] += x[..., i] * x[..., i]
    while sums.shape[-1] > 1:
        half = sums.shape[-1] // 2
        sums = sums[..., :half] + sums[..., half:]
    gain = 1.0 if weight is None else weight.astype("f8")
    return ((1 / numpy.sqrt(sums / dim + epsilon)) * x * (gain + weight_offset)).astype("f4")


class Norms(Refusals):
    def test_bits(self):
        for dim in (1, 3, 20, 64, 128):
            x, weight = random(numpy, 7, 5, dim), random(numpy, dim, seed=2)
            for options in (
                {},
                {"weight": weight},
                {"weight": weight, "weight_offset": 1.0, "epsilon": 0.25},
                {"weight_offset": 0.5},
            ):
                with self.subTest(f"{dim} {options}"):
                    wanted = normalised(x, **options)
                    numpy.testing.assert_array_equal(heed.normalise_heads(x, **options), wanted)
                    rows = numpy.ascontiguousarray(x.transpose(1, 0, 2))
                    self.assertIs(heed.normalise_heads(rows, **options, layout="bhsd", out=rows, workers=2), rows)
                    numpy.testing.assert_array_equal(rows.transpose(1, 0, 2), wanted)

    def test_element_types(self):
        wide = {
            "f32": lambda a: a,
            "f16": lambda a: a.astype("f4"),
            "bf16": lambda a: (a.astype("u4") << 16).view("f4"),
        }
        weight = random(numpy, 64, seed=3)
        for x_type in wide:
            x = heed.convert(X, x_type)
            wanted = normalised(wide[x_type](x), weight)
            for out_type in (None, *wide):
                with self.subTest(f"{x_type} {out_type}"):
                    nearest = heed.convert(wanted, out_type or x_type)
                    options = {"x_type": x_type, "out_type": out_type}
                    out = heed.normalise_heads(x, weight, **options)
                    self.assertEqual(out.dtype, nearest.dtype)
                    numpy.testing.assert_array_equal(out, nearest)
                    given = numpy.empty_like(nearest)
                    self.assertIs(heed.normalise_heads(x, weight, out=given, **options), given)
                    numpy.testing.assert_array_equal(given, nearest)
            self.assertIs(heed.normalise_heads(x, weight, out=x, x_type=x_type), x)
            numpy.testing.assert_array_equal(x, heed.convert(wanted, x_type))

    def test_places(self):
        wide = numpy.zeros((23, 4, 70), "f4")
        out = wide[:, ::2, 3:67]
        self.assertIs(heed.normalise_heads(X, out=out, isa="generic", executor=heed.Executor(2)), out)
        numpy.testing.assert_array_equal(out, normalised(X))
        self.assertFalse(wide[:, 1::2].any() or wide[..., :3].any() or wide[..., 67:].any())
        self.assertEqual(heed.normalise_heads(X[:0]).shape, (0, 2, 64))

    def test_refusals(self):
        out = numpy.full_like(X, 7)
        for sentence, arguments, options in (
            ("x has elements of float64; they must be float32", (X.astype("f8"),), {}),
            ("the type of x (int8) must be one of f32, f16, bf16", (X.astype("i1"),), {}),
            ("x has elements of uint16", (X.astype("u2"),), {}),
            ("x has elements of float16, which do not hold bf16", (X.astype("f2"),), {"x_type": "bf16"}),
            ("out_type ('q8_0') must be f32, f16 or bf16", (X,), {"out_type": "q8_0", "out": None}),
            ("out has elements of float32, which do not hold f16", (X,), {"out_type": "f16"}),
            ("x has 2 dimensions", (X[0],), {}),
            ("weight must have the shape (64,)", (X, X[0, 0, 1:]), {}),
            ("weight has elements of float64", (X, numpy.ones(64)), {}),
            ("epsilon (0)", (X,), {"epsilon": 0.0}),
            ("weight_offset ('one') must be a number", (X,), {"weight_offset": "one"}),
            ("weight_offset (inf)", (X,), {"weight_offset": math.inf}),
            ("out has the shape (22, 2, 64)", (X,), {"out": out[1:]}),
            ("isa (5) must be a word", (X,), {"isa": 5}),
        ):
            with self.subTest(sentence):
                self.refused(sentence, heed.normalise_heads, *arguments, **({"out": out} | options))
        self.assertTrue((out == 7).all())


if __name__ == "__main__":
    main()

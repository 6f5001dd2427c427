"""What the tests of Python share: what must be there, inputs, float64 results and bounds."""

import importlib
import os
import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77  #: what ctest takes for a test that was not run
EPSILON = 2.0**-24


def need(*modules):
    """Ends the program, with a word, where a module is missing; else the modules."""
    found = []
    for name in modules:
        try:
            found.append(importlib.import_module(name))
        except ImportError as error:
            print(f"not tested: {sys.executable} has no {name} ({error})")
            sys.exit(SKIPPED)
    return found[0] if len(found) == 1 else found


def main():
    unittest.main(argv=[sys.argv[0], *(sys.argv[1:] or ["-v"])])


def random(numpy, *shape, seed=1, dtype="float32"):
    """Normal numbers, the same in each run."""
    return numpy.random.default_rng([seed, *shape]).standard_normal(shape, dtype="float32").astype(dtype)


def exact_attention(numpy, q, k, v, *, visible=None, bias=0.0, scale=None, softcap=0.0, temperature=1.0, sinks=None):
    """Attention in float64 of [batch, tokens, heads, dim], its log-sum-exp [batch, heads, tokens], and how far a
    computation in float may be from them.

    A logit is a chain of D products of q · scale, rounded once: it is off by (D + 3) · ε · Σ |q · k| · scale; softcap,
    slopes and biases round four times more. With R = 2 · that + 8 ε, the error of a weight, outputs are within
    V · (2 · R + (2 · N + 2) · ε) by the rule of heed/attention.h, and the log-sum-exp within R + N · ε + 3 · ε · |lse|.
    """
    q, k, v = (array.astype(numpy.float64) for array in (q, k, v))
    group = q.shape[2] // k.shape[2]
    k, v = numpy.repeat(k, group, 2), numpy.repeat(v, group, 2)
    scale = 1 / numpy.sqrt(q.shape[3]) if scale is None else scale
    x = numpy.einsum("bqhd,bkhd->bhqk", q, k) * scale
    size = numpy.einsum("bqhd,bkhd->bhqk", abs(q), abs(k)) * abs(scale)
    y = (softcap * numpy.tanh(x / softcap) if softcap else x) + bias
    finite = numpy.where(numpy.isfinite(y), abs(y), 0)
    error = EPSILON * ((q.shape[3] + 3) * size.max(initial=0) + 4 * finite.max(initial=0)) / temperature
    y = y / temperature
    if visible is not None:
        y = numpy.where(visible, y, -numpy.inf)
    most = numpy.maximum(y.max(-1, keepdims=True, initial=-1e30), -1e30)
    weights = numpy.exp(y - most)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + numpy.exp(sinks[None, :, None, None] / temperature - most)
    with numpy.errstate(divide="ignore", invalid="ignore"):
        lse = (numpy.log(total) + most)[..., 0]
        weights = numpy.where(total > 0, weights / total, 0)
    out = numpy.einsum("bhqk,bkhd->bqhd", weights, v)
    relative, additions = 2 * error + 8 * EPSILON, min(k.shape[1], 256) + 66
    bound = abs(v).max(initial=0) * (2 * relative + (2 * additions + 2) * EPSILON)
    finite_lse = numpy.where(numpy.isfinite(lse), abs(lse), 0)
    return out, lse, bound, relative + additions * EPSILON + 3 * EPSILON * finite_lse.max(initial=0)


def causal(numpy, queries, keys):
    """What queries at the end of their keys see."""
    return numpy.arange(keys)[None, :] <= numpy.arange(queries)[:, None] + keys - queries


class Refusals(unittest.TestCase):
    """Calls that are refused."""

    def refused(self, sentence, function, *arguments, kind=None, **options):
        """The call raises the exception of an invalid argument, or `kind`, and its sentence has these words."""
        import heed

        with self.assertRaises(kind or heed.InvalidArgument) as caught:
            function(*arguments, **options)
        self.assertIn(sentence, str(caught.exception))


def setting(name):
    """What CMake was told when it built the library; None where that is not known."""
    cache = pathlib.Path(os.environ.get("HEED_BUILD", "")) / "CMakeCache.txt"
    lines = cache.read_text().splitlines() if cache.exists() else []
    return next((line.partition("=")[2] for line in lines if line.startswith(name + ":")), None)


def command():
    """The heed command, or None where it was not built."""
    path = os.environ.get("HEED_COMMAND", "")
    return path if os.path.exists(path) else None

"""Drawing tokens from logits."""

from __future__ import annotations

import ctypes
from typing import Any, Sequence

from . import _structs as c
from ._library import Handle, address, check, lib, make
from ._options import real, whole
from ._plan import Executor, run_options
from ._rows import matrix_of
from ._tensors import read
from .errors import InvalidArgument

#: What a row without a token gets: NaN or +inf is among its logits, or all are hidden.
NO_TOKEN = -1


class _SamplingWorkspace(Handle):
    """The memory that a call works in, which grows by itself."""

    __slots__ = ()
    _name = "sampling_workspace"


#: Those that no call uses now.
_spare: list[_SamplingWorkspace] = []


def sample(
    logits: Any,
    *,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
    min_p: Any = 0.0,
    seed: Any = None,
    counter: Any = 0,
    probabilities: bool = False,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """Draws a token from each row of logits, [rows, vocabulary] or of one row, in float32, float16 or bfloat16.

    Temperature (0: the largest logit), then top-k (0: all), top-p and min-p; each is a number, or a sequence with one
    for each row. A token follows from its logits, its rule, its seed and its counter alone. `seed` is needed where a
    temperature is above 0; with one number for all rows, row r draws with counter + r, else each row has its own of
    both. The result is int32 [rows]; with `probabilities` also how likely each token was, (tokens, float32 [rows]).
    NO_TOKEN is for rows with NaN, +inf or nothing to draw.
    """
    view = read(logits, "logits")
    if len(view[1]) not in (1, 2):
        raise InvalidArgument(f"logits has {len(view[1])} dimensions; it must have 2, [rows, vocabulary], or 1")
    matrix = matrix_of(view, "logits")
    given = make(c.heed_logits, rows=matrix.rows, length=matrix.length, stride=matrix.stride)
    given.data.data, given.data.type = view[0], matrix.dtype.number
    rules = _rules(matrix.rows, temperature, top_k, top_p, min_p)
    draws = _draws(matrix.rows, seed, counter) if seed is not None else None
    shape = tuple(view[1][:-1])
    tokens = view[3].empty(shape, "int32")
    odds = view[3].empty(shape, "f32") if probabilities else None
    samples = make(
        c.heed_samples,
        tokens=read(tokens, "tokens")[0],
        probabilities=None if odds is None else read(odds, "probabilities")[0],
    )
    options = run_options(executor, workers, isa)
    workspace = _spare.pop() if _spare else _SamplingWorkspace()
    check(
        lib.heed_sample(
            address(given),
            address(rules),
            len(rules),
            address(draws),
            0 if draws is None else len(draws),
            address(samples),
            address(options),
            workspace._handle,
        )
    )
    _spare.append(workspace)
    return tokens if odds is None else (tokens, odds)


def _each(rows: int, value: Any, name: str) -> Sequence[Any]:
    """A number for each row."""
    if not hasattr(value, "__len__"):
        return (value,) * rows
    if len(value) != rows:
        raise InvalidArgument(f"{name} has {len(value)} entries; it must be a number, or one for each of {rows} rows")
    return value.tolist() if hasattr(value, "tolist") else value


def _rules(rows: int, temperature: Any, top_k: Any, top_p: Any, min_p: Any) -> ctypes.Array:
    """One rule for all rows where they agree, else one for each."""
    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    count = rows if any(hasattr(value, "__len__") for value in values.values()) else 1
    columns = {name: _each(count, value, name) for name, value in values.items()}
    rules = (c.heed_sampling_rule * count)(*[make(c.heed_sampling_rule)] * count)
    for i, rule in enumerate(rules):
        rule.top_k = whole("top_k", columns["top_k"][i])
        for name in ("temperature", "top_p", "min_p"):
            setattr(rule, name, real(name, columns[name][i]))
    return rules


def _draws(rows: int, seed: Any, counter: Any) -> ctypes.Array:
    shared = not hasattr(seed, "__len__") and not hasattr(counter, "__len__")
    seeds, counters = _each(rows, seed, "seed"), _each(rows, counter, "counter")
    draws = (c.heed_draw * rows)()
    for i, draw in enumerate(draws):
        draw.seed = _unsigned("seed", seeds[i])
        draw.counter = _unsigned("counter", counters[i]) + (i if shared else 0)
    return draws


def _unsigned(name: str, value: Any) -> int:
    number = value.__index__() if hasattr(value, "__index__") else -1
    if not 0 <= number < 1 << 64:
        raise InvalidArgument(f"{name} ({value!r}) must be an integer from 0 to 2⁶⁴ − 1")
    return number

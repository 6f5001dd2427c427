"""Rotary position embedding."""

from __future__ import annotations

import ctypes
from ctypes import c_double
from typing import Any, NamedTuple, Sequence

from . import _structs as c
from ._heads import heads_of
from ._library import Handle, address, check, lib, make
from ._options import choice, real, whole
from ._plan import Executor, run_options
from ._tensors import doubles, int_array, integers
from .errors import InvalidArgument

_PAIRS = ("adjacent", "halves")
_KINDS = ("none", "linear", "dynamic_ntk", "llama3", "yarn", "long_rope")


class RotaryScaling(NamedTuple):
    """How a model stretches positions over longer contexts than it was trained on first: f, the frequency of a pair,
    becomes

        linear       f / factor
        dynamic_ntk  what it is for base · (1 + factor · (n / L − 1))^(d / (d − 2)), n = positions, d = rotary_dim
        llama3       f where it turns high_freq_factor times or more in L tokens, f / factor where low_freq_factor
                     times or fewer, and a mixture between (Llama 3.1)
        yarn         f for pairs that turn beta_fast times or more in L tokens, f / factor for those that turn
                     beta_slow times or fewer, and a mixture between
        long_rope    f / short_factors, or f / long_factors where there are more positions than L (Phi-3)

    with L = original_positions. heed/rotary.h has the formulas. What a kind does not name it does not read, but for
    the lists, which are refused.
    """

    kind: str = "none"
    factor: float = 1.0  #: ≥ 1
    original_positions: int = 0  #: 2 or more; none and linear do not need it
    low_freq_factor: float = 1.0  #: of llama3
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0  #: of yarn
    beta_slow: float = 1.0
    truncate: bool = True  #: gpt-oss has it off
    mscale: float = 0.0  #: of yarn, as in DeepSeek-V2: both or neither
    mscale_all_dim: float = 0.0
    attention_factor: float = 0.0  #: what cosines and sines are multiplied by; 0: as the kind says, else 1
    short_factors: Sequence[float] = ()  #: of long_rope: rotary_dim / 2 of them
    long_factors: Sequence[float] = ()


class Rotary(Handle):
    """The cosines and sines of all positions: made once, then read by any number of threads.

    θ = position · position_scale · f, where f is base^(−2i / rotary_dim) for pair i unless `frequencies`, `factors` or
    `scaling` say otherwise
    """

    __slots__ = ()
    _name = "rotary"

    def __init__(
        self,
        rotary_dim: int,
        positions: int,
        *,
        pairs: str = "adjacent",
        base: float = 10000.0,
        position_scale: float = 1.0,
        scaling: RotaryScaling | None = None,
        frequencies: Sequence[float] = (),
        factors: Sequence[float] = (),
    ) -> None:
        """`rotary_dim`: dimensions that turn, the first of a vector, an even number. `positions`: 0 … positions − 1
        are known. `pairs`: "adjacent" (2i and 2i + 1) or "halves" (i and i + rotary_dim / 2). `frequencies`, a number
        for each pair, take the place of those of base; `factors`, as many, divide them before they are scaled, as
        rope_freqs of llama.cpp do."""
        keep: list = []
        config = make(
            c.heed_rotary_config,
            rotary_dim=whole("rotary_dim", rotary_dim),
            positions=whole("positions", positions),
            pairs=choice("pairs", pairs, _PAIRS),
            base=real("base", base),
            position_scale=real("position_scale", position_scale),
        )
        _numbers(config, "frequencies", frequencies, keep)
        _numbers(config, "factors", factors, keep)
        if scaling is not None:
            keep.append(_scaling(scaling, keep))
            config.scaling = address(keep[-1])
        super().__init__(address(config))

    @property
    def frequencies(self) -> list[float]:
        """What each pair turns by at a position of 1, after scaling."""
        return self._list("frequencies", c_double)

    @property
    def attention_factor(self) -> float:
        """What cosines and sines are multiplied by."""
        return self._number("attention_factor", c_double)

    def rotate(
        self,
        x: Any,
        positions: Any,
        *,
        out: Any = None,
        layout: str = "bshd",
        x_type: str | None = None,
        out_type: str | None = None,
        executor: Executor | None = None,
        workers: int = 0,
        isa: str | None = None,
    ) -> Any:
        """x rotated, [tokens, heads, head_dim] or, with layout="bhsd", [heads, tokens, head_dim], with a position for
        each token. Both are float32, float16 or bfloat16, which `x_type` and `out_type` ("f32", "f16", "bf16") name
        where words hold it. The result is `out`, which may be x, or a new tensor of `out_type`, else of x's type."""
        heads = heads_of(x, out, layout, x_type, out_type)
        numbers = int_array(integers(positions, "positions", 8), 8)
        if len(numbers) != heads.x_side.tokens:
            raise InvalidArgument(
                f"positions has {len(numbers)} entries; there must be one for each of {heads.x_side.tokens} tokens"
            )
        tensors = make(
            c.heed_rotary_tensors,
            heads=heads.x_side.heads,
            head_dim=heads.x_side.dim,
            x_layout=address(heads.x_side.layout),
            y_layout=address(heads.y_side.layout),
            positions=address(numbers),
            positions_count=len(numbers),
        )
        tensors.x.data, tensors.x.type = heads.x[0], heads.x_type.number
        tensors.y.data, tensors.y.type = heads.y[0], heads.y_type.number
        options = run_options(executor, workers, isa)
        check(lib.heed_rotate(self._handle, address(tensors), address(options)))
        return heads.out


def _numbers(struct: ctypes.Structure, name: str, values: Sequence[float], keep: list) -> None:
    """A list of doubles as a member, with its count."""
    keep.append(doubles(values, name))
    setattr(struct, name, address(keep[-1]))
    setattr(struct, name + "_count", len(keep[-1]))


def _scaling(given: RotaryScaling, keep: list) -> c.heed_rotary_scaling:
    if not isinstance(given, RotaryScaling):
        raise InvalidArgument(f"scaling is a {type(given).__name__}; it must be a heed.RotaryScaling")
    struct = make(
        c.heed_rotary_scaling,
        kind=choice("scaling.kind", given.kind, _KINDS),
        truncate=int(bool(given.truncate)),
        original_positions=whole("scaling.original_positions", given.original_positions),
    )
    for name, kind in c.heed_rotary_scaling._fields_:
        if kind is c_double:
            setattr(struct, name, real("scaling." + name, getattr(given, name)))
    _numbers(struct, "short_factors", given.short_factors, keep)
    _numbers(struct, "long_factors", given.long_factors, keep)
    return struct

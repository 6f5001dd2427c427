"""Rotary position embedding."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, Sequence

from . import _structs as c
from ._describe import side_of
from ._library import Handle, address, check, lib, make
from ._options import choice, real, whole
from ._plan import Executor, run_options
from ._tensors import axes_of, element_type, int_array, integers, read, read_output, require_f32, vector
from .errors import InvalidArgument

_PAIRS = ("adjacent", "halves")
_KINDS = ("none", "linear", "dynamic_ntk", "llama3", "yarn", "long_rope")


class RotaryScaling(NamedTuple):
    """How a model stretches positions over longer contexts than those it was trained on first, as heed::RotaryScaling
    in rotary.h, which has the formulas. What a kind does not name it does not read."""

    kind: str = "none"  #: "linear", "dynamic_ntk", "llama3", "yarn" or "long_rope"
    factor: float = 1.0
    original_positions: int = 0
    low_freq_factor: float = 1.0  #: of llama3
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0  #: of yarn
    beta_slow: float = 1.0
    truncate: bool = True
    mscale: float = 0.0
    mscale_all_dim: float = 0.0
    attention_factor: float = 0.0  #: 0: as the kind says
    short_factors: Sequence[float] = ()  #: of long_rope: rotary_dim / 2 of them
    long_factors: Sequence[float] = ()


class Rotary(Handle):
    """The cosines and sines of all positions: made once, then read by any number of threads.

    θ = position · position_scale · base^(−2i / rotary_dim) for pair i
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
        are known. `pairs`: "adjacent" (2i and 2i + 1) or "halves" (i and i + rotary_dim / 2). `frequencies`, one for
        each pair, take the place of base; `factors` divide them before they are scaled."""
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
        where, count = ctypes.c_void_p(), ctypes.c_size_t()
        check(lib.heed_rotary_frequencies(self._handle, ctypes.byref(where), ctypes.byref(count)))
        return list(ctypes.cast(where, ctypes.POINTER(ctypes.c_double))[: count.value])

    @property
    def attention_factor(self) -> float:
        """What cosines and sines are multiplied by."""
        return self._number("attention_factor", ctypes.c_double)

    def rotate(
        self,
        x: Any,
        positions: Any,
        *,
        out: Any = None,
        layout: str = "bshd",
        executor: Executor | None = None,
        workers: int = 0,
        isa: str | None = None,
    ) -> Any:
        """x rotated, [tokens, heads, head_dim] or, with layout="bhsd", [heads, tokens, head_dim], with a position for
        each token. The result is `out`, which may be x, or a new tensor of x's type."""
        view = read(x, "x")
        dtype = element_type(view, None, "x")
        source = side_of(axes_of(view, dtype, "x"), "x", layout, True)
        if out is None:
            out = view[3].empty(tuple(view[1]), dtype.name)
        target_view = read_output(out, "out")
        out_type = element_type(target_view, None if target_view[3].dtype else dtype.name, "out")
        if tuple(target_view[1]) != tuple(view[1]):
            raise InvalidArgument(f"out has the shape {tuple(target_view[1])}; it must be {tuple(view[1])}")
        target = side_of(axes_of(target_view, out_type, "out"), "out", layout, True)
        numbers = int_array(integers(positions, "positions", 8), 8)
        if len(numbers) != source.tokens:
            raise InvalidArgument(
                f"positions has {len(numbers)} entries; there must be one for each of {source.tokens} " "tokens"
            )
        tensors = make(
            c.heed_rotary_tensors,
            heads=source.heads,
            head_dim=source.dim,
            x_layout=address(source.layout),
            y_layout=address(target.layout),
            positions=address(numbers),
            positions_count=len(numbers),
        )
        tensors.x.data, tensors.x.type = view[0], dtype.number
        tensors.y.data, tensors.y.type = target_view[0], out_type.number
        options = run_options(executor, workers, isa)
        check(lib.heed_rotate(self._handle, address(tensors), address(options)))
        return out


def _numbers(struct: ctypes.Structure, name: str, values: Sequence[float], keep: list) -> None:
    """A list of doubles as a member, with its count."""
    if len(values) == 0:
        return
    keep.append((ctypes.c_double * len(values))(*(real(name, value) for value in values)))
    setattr(struct, name, address(keep[-1]))
    setattr(struct, name + "_count", len(values))


def _scaling(given: RotaryScaling, keep: list) -> c.heed_rotary_scaling:
    struct = make(
        c.heed_rotary_scaling,
        kind=choice("scaling.kind", given.kind, _KINDS),
        truncate=int(bool(given.truncate)),
        original_positions=whole("scaling.original_positions", given.original_positions),
    )
    for name in ("factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"):
        setattr(struct, name, real("scaling." + name, getattr(given, name)))
    struct.attention_factor = real("scaling.attention_factor", given.attention_factor)
    _numbers(struct, "short_factors", given.short_factors, keep)
    _numbers(struct, "long_factors", given.long_factors, keep)
    return struct


def normalise_heads(
    x: Any,
    weight: Any = None,
    *,
    weight_offset: float = 0.0,
    epsilon: float = 1e-6,
    out: Any = None,
    layout: str = "bshd",
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """The root mean square norm of each head of queries or keys, in float32: x / √(mean x² + epsilon) times weight +
    weight_offset. x is [tokens, heads, head_dim] or, with layout="bhsd", [heads, tokens, head_dim], weight [head_dim]
    (None: 1). The result is `out`, which may be x, or a new tensor."""
    view = read(x, "x")
    source = side_of(axes_of(view, require_f32(view, "x"), "x"), "x", layout, True)
    if out is None:
        out = view[3].empty(tuple(view[1]), "f32")
    target_view = read_output(out, "out")
    target = side_of(axes_of(target_view, require_f32(target_view, "out"), "out"), "out", layout, True)
    if tuple(target_view[1]) != tuple(view[1]):
        raise InvalidArgument(f"out has the shape {tuple(target_view[1])}; it must be {tuple(view[1])}")
    norm = make(c.heed_rms_norm, weight_offset=real("weight_offset", weight_offset), epsilon=real("epsilon", epsilon))
    weights = None if weight is None else vector(weight, "weight", source.dim)
    norm.weight = None if weights is None else weights[0]
    tensors = make(
        c.heed_head_tensors,
        x=view[0],
        y=target_view[0],
        tokens=source.tokens,
        heads=source.heads,
        head_dim=source.dim,
        x_layout=address(source.layout),
        y_layout=address(target.layout),
    )
    options = run_options(executor, workers, isa)
    check(lib.heed_normalise_heads(address(norm), address(tensors), address(options)))
    return out

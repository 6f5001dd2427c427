"""Rotary position embedding."""

from __future__ import annotations

from typing import Any

from . import _structs as c
from ._describe import side_of
from ._library import Handle, address, check, lib, make
from ._options import choice, real, whole
from ._plan import Executor, run_options
from ._tensors import axes_of, element_type, int_array, integers, read, read_output
from .errors import InvalidArgument

_PAIRS = ("adjacent", "halves")


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
    ) -> None:
        """`rotary_dim`: dimensions that turn, the first of a vector, an even number. `positions`: 0 … positions − 1
        are known. `pairs`: "adjacent" (2i and 2i + 1) or "halves" (i and i + rotary_dim / 2)."""
        config = make(
            c.heed_rotary_config,
            rotary_dim=whole("rotary_dim", rotary_dim),
            positions=whole("positions", positions),
            pairs=choice("pairs", pairs, _PAIRS),
            base=real("base", base),
            position_scale=real("position_scale", position_scale),
        )
        super().__init__(address(config))

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

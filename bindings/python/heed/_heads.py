"""Vectors of heads that a function reads, and where it writes what becomes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._describe import Side, side_of
from ._tensors import ElementType, View, axes_of, element_type, read, read_output
from .errors import InvalidArgument


class Heads(NamedTuple):
    """x and out, [tokens, heads, head_dim] each in its own strides."""

    x: View
    x_type: ElementType
    x_side: Side
    out: Any  #: the tensor itself
    y: View
    y_type: ElementType
    y_side: Side


def heads_of(x: Any, out: Any, layout: str) -> Heads:
    """The vectors of x, [tokens, heads, head_dim] or in the order of `layout`, and those of `out`, which may be x and
    has its shape; without one a new tensor of x's type is made."""
    view = read(x, "x")
    dtype = element_type(view, None, "x")
    side = side_of(axes_of(view, dtype, "x"), "x", layout, True)
    if out is None:
        out = view[3].empty(tuple(view[1]), dtype.name)
    target = read_output(out, "out")
    out_type = element_type(target, None if target[3].dtype else dtype.name, "out")
    if tuple(target[1]) != tuple(view[1]):
        raise InvalidArgument(f"out has the shape {tuple(target[1])}; it must be {tuple(view[1])}")
    return Heads(
        view, dtype, side, out, target, out_type, side_of(axes_of(target, out_type, "out"), "out", layout, True)
    )

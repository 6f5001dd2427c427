"""Vectors of heads that a function reads, and where it writes what becomes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._describe import Side, side_of
from ._tensors import ElementType, View, axes_of, computing_type, element_type, read, read_output
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


def heads_of(x: Any, out: Any, layout: str, x_type: str | None, out_type: str | None) -> Heads:
    """The vectors of x, [tokens, heads, head_dim] or in the order of `layout`, and those of `out`, which may be x and
    has its shape; without one a new tensor of `out_type`, or of x's type, is made. The types name elements that arrays
    have no name for."""
    view = read(x, "x")
    dtype = element_type(view, x_type, "x")
    side = side_of(axes_of(view, dtype, "x"), "x", layout, True)
    if out is None:
        out = view[3].empty(tuple(view[1]), computing_type(out_type or dtype.name, "out_type").name)
    target = read_output(out, "out")
    written = element_type(target, out_type or (None if target[3].dtype else dtype.name), "out")
    if tuple(target[1]) != tuple(view[1]):
        raise InvalidArgument(f"out has the shape {tuple(target[1])}; it must be {tuple(view[1])}")
    return Heads(view, dtype, side, out, target, written, side_of(axes_of(target, written, "out"), "out", layout, True))

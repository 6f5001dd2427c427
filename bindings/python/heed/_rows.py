"""Softmax of matrices and its relatives, and gradients; numbers of one type as those of another."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import _structs as c
from ._library import address, check, lib, make
from ._options import real, whole, word
from ._plan import Executor
from ._tensors import ElementType, View, computing_type, element_type, read, read_output, require_f32
from .errors import InvalidArgument


class _Matrix(NamedTuple):
    """A tensor as a matrix: all axes but the last one count rows, which lie at one distance."""

    view: View
    dtype: ElementType
    rows: int
    length: int
    stride: int


def matrix_of(view: View, name: str, given: str | None = None) -> _Matrix:
    """A view as a matrix, whose elements `given` may name where 16-bit words hold them."""
    _, shape, strides, kind, _, _ = view
    dtype = kind.dtype if kind.dtype is not None or given is None else element_type(view, given, name)
    if dtype is None or not dtype.computes:
        raise InvalidArgument(f"{name} has elements of {kind.element}; they must be float32, float16 or bfloat16")
    if not shape:
        raise InvalidArgument(f"{name} has no dimensions")
    if shape[-1] > 1 and strides[-1] * kind.unit != kind.size:
        raise InvalidArgument(
            f"{name} has a last dimension with gaps; the elements of a row must lie one after the " "other"
        )
    return _Matrix(view, dtype, math.prod(shape[:-1]), shape[-1], _row_stride(view, kind.size, name))


def _row_stride(view: View, size: int, name: str) -> int:
    """The one distance of rows, in elements; axes of 1 do not matter."""
    axes = [(extent, stride * view[3].unit) for extent, stride in zip(view[1][:-1], view[2][:-1]) if extent != 1]
    if not axes or 0 in view[1]:
        return view[1][-1]
    step = axes[-1][1]
    wanted = step
    for extent, stride in reversed(axes):
        if stride != wanted:
            raise InvalidArgument(
                f"{name} of shape {tuple(view[1])} has rows at several distances; heed takes rows " "that lie at one"
            )
        wanted *= extent
    if step % size:
        raise InvalidArgument(f"{name} has rows at a distance of {step} bytes, which are not whole elements")
    return step // size


def _struct(kind: Any, matrix: _Matrix) -> Any:
    struct = make(kind, rows=matrix.rows, length=matrix.length, stride=matrix.stride)
    struct.data.data, struct.data.type = matrix.view[0], matrix.dtype.number
    return struct


def _output(like: _Matrix, out: Any, name: str, dtype: str | None = None) -> tuple[Any, _Matrix]:
    """A tensor of the shape of another one to write to, made where there is none."""
    wanted = computing_type(dtype or like.dtype.name, "out_type")
    if out is None:
        out = like.view[3].empty(tuple(like.view[1]), wanted.name)
    matrix = matrix_of(read_output(out, name), name, wanted.name)
    if tuple(matrix.view[1]) != tuple(like.view[1]):
        raise InvalidArgument(f"{name} has the shape {tuple(matrix.view[1])}; it must be {tuple(like.view[1])}")
    return out, matrix


class _Options(NamedTuple):
    """What all functions of matrices take."""

    scale: float
    temperature: Any
    mask: Any
    executor: Executor | None
    workers: int
    isa: str | None

    def struct(self, matrix: _Matrix, keep: list) -> c.heed_softmax_options:
        struct = make(
            c.heed_softmax_options,
            scale=real("scale", self.scale),
            isa=word("isa", self.isa),
            workers=whole("workers", self.workers, 32),
            executor=self.executor and self.executor._handle,
        )
        if isinstance(self.temperature, (int, float)):
            struct.temperature = self.temperature
        else:
            self._temperatures(struct, matrix, keep)
        if self.mask is not None:
            self._mask(struct, matrix, keep)
        return struct

    def _temperatures(self, struct: c.heed_softmax_options, matrix: _Matrix, keep: list) -> None:
        view = read(self.temperature, "temperature")
        keep.append(view)
        require_f32(view, "temperature")
        rows = tuple(matrix.view[1][:-1])
        if (
            tuple(view[1]) not in (rows, (matrix.rows,))
            or _row_stride((*view[:1], (*view[1], 1), (*view[2], 0), *view[3:]), 4, "temperature") != 1
        ):
            raise InvalidArgument(
                f"temperature has the shape {tuple(view[1])}; it must be a number, or one for each row, "
                f"{rows}, without gaps"
            )
        struct.temperatures, struct.temperatures_count = view[0], matrix.rows

    def _mask(self, struct: c.heed_softmax_options, matrix: _Matrix, keep: list) -> None:
        view = read(self.mask, "mask")
        keep.append(view)
        if view[3].element not in ("bool", "uint8"):
            raise InvalidArgument(f"mask has elements of {view[3].element}; they must be bool or uint8")
        shape = tuple(matrix.view[1])
        shared = len(view[1]) == 1
        if tuple(view[1]) != (shape[-1:] if shared else shape):
            raise InvalidArgument(
                f"mask has the shape {tuple(view[1])}; it must be {shape}, or {shape[-1:]} of all rows"
            )
        if shape[-1] > 1 and view[2][-1] * view[3].unit != 1:
            raise InvalidArgument(
                "mask has a last dimension with gaps; the bytes of a row must lie one after the other"
            )
        struct.mask.visible = view[0]
        struct.mask.stride = 0 if shared else _row_stride(view, 1, "mask")


def _apply(function: Any, x: Any, out: Any, out_type: str | None, options: _Options) -> Any:
    keep: list = []
    matrix = matrix_of(read(x, "x"), "x")
    out, target = _output(matrix, out, "out", out_type)
    structs = _struct(c.heed_const_rows, matrix), _struct(c.heed_rows, target), options.struct(matrix, keep)
    check(function(*map(address, structs)))
    return out


def softmax(
    x: Any,
    *,
    out: Any = None,
    out_type: str | None = None,
    scale: float = 1.0,
    temperature: Any = 1.0,
    mask: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """softmax(scale · x / T) over the last dimension of a tensor of float32, float16 or bfloat16.

    `temperature` is T: a number, or float32 with one for each row; 0 is the argmax, shared among ties, inf uniform.
    `mask`: bool or bytes of x's shape, or of one row, 0 where an entry is hidden; hidden entries and those of −inf
    have softmax 0. `out` may be x; else the result is a new tensor of x's type, or of `out_type`. Rows must lie at
    one distance.
    """
    return _apply(lib.heed_softmax, x, out, out_type, _Options(scale, temperature, mask, executor, workers, isa))


def log_softmax(
    x: Any,
    *,
    out: Any = None,
    out_type: str | None = None,
    scale: float = 1.0,
    temperature: Any = 1.0,
    mask: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """The logarithm of softmax, with the same arguments; −inf for hidden entries."""
    return _apply(lib.heed_log_softmax, x, out, out_type, _Options(scale, temperature, mask, executor, workers, isa))


def log_sum_exp(
    x: Any,
    *,
    out: Any = None,
    scale: float = 1.0,
    temperature: Any = 1.0,
    mask: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """log Σ exp(scale · x / T) over the last dimension, in float32 without gaps; arguments as those of softmax."""
    keep: list = []
    matrix = matrix_of(read(x, "x"), "x")
    out, target = _row_numbers(matrix, out, "out")
    structs = (
        _struct(c.heed_const_rows, matrix),
        _Options(scale, temperature, mask, executor, workers, isa).struct(matrix, keep),
    )
    check(lib.heed_log_sum_exp(address(structs[0]), target[0], address(structs[1])))
    return out


def _row_numbers(matrix: _Matrix, out: Any, name: str) -> tuple[Any, View]:
    """A float32 for each row, without gaps, made where there is none."""
    rows = tuple(matrix.view[1][:-1])
    if out is None:
        out = matrix.view[3].empty(rows, "f32")
    view = read_output(out, name)
    require_f32(view, name)
    if tuple(view[1]) != rows or _row_stride((*view[:1], (*view[1], 1), (*view[2], 0), *view[3:]), 4, name) != 1:
        raise InvalidArgument(f"{name} has the shape {tuple(view[1])}; it must be {rows}, without gaps")
    return out, view


def _gradient(function: Any, y: Any, dy: Any, dx: Any, dt: Any, options: _Options) -> Any:
    keep: list = []
    matrix, upstream = matrix_of(read(y, "y"), "y"), matrix_of(read(dy, "dy"), "dy")
    if tuple(upstream.view[1]) != tuple(matrix.view[1]):
        raise InvalidArgument(
            f"dy has the shape {tuple(upstream.view[1])}; it must be {tuple(matrix.view[1])}, that of y"
        )
    dx, target = _output(matrix, dx, "dx")
    numbers = None
    if dt is not None and dt is not False:
        dt, numbers = _row_numbers(matrix, None if dt is True else dt, "dt")
    structs = (_struct(c.heed_const_rows, matrix), _struct(c.heed_const_rows, upstream), _struct(c.heed_rows, target))
    told = options.struct(matrix, keep)
    check(function(*map(address, structs), numbers and numbers[0], address(told)))
    return dx if numbers is None else (dx, dt)


def softmax_gradient(
    y: Any,
    dy: Any,
    *,
    dx: Any = None,
    dt: Any = None,
    scale: float = 1.0,
    temperature: Any = 1.0,
    mask: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """The gradient by x through y = softmax(x), given dy: `dx`, which may be y or dy, or a new tensor.

    Where `dt` is True, or float32 with a number for each row, the result is (dx, dt), dt the gradient by the T of
    each row. Other arguments are those of softmax; T = 0 has no gradient.
    """
    return _gradient(
        lib.heed_softmax_gradient, y, dy, dx, dt, _Options(scale, temperature, mask, executor, workers, isa)
    )


def log_softmax_gradient(
    y: Any,
    dy: Any,
    *,
    dx: Any = None,
    dt: Any = None,
    scale: float = 1.0,
    temperature: Any = 1.0,
    mask: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """The same through y = log_softmax(x)."""
    return _gradient(
        lib.heed_log_softmax_gradient, y, dy, dx, dt, _Options(scale, temperature, mask, executor, workers, isa)
    )

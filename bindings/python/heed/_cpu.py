"""What heed runs on, and small helpers."""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

from . import _structs as c
from ._library import address, check, lib, make, text_of
from ._options import whole
from ._plan import Executor, run_options
from ._tensors import View, axes_of, contiguous, element_type, look, named_type, numpy_empty, read, read_output
from .errors import InvalidArgument


class Isa(NamedTuple):
    """An instruction set of this build."""

    name: str
    supported: bool  #: this machine can run it
    chosen: bool  #: what a plan uses that names none


class CpuInfo(NamedTuple):
    """The processor, and what heed may use of it; 0 is unknown, of the quota no limit."""

    vendor: str
    model: str
    logical_cpus: int
    physical_cores: int
    cpu_quota: float
    default_workers: int
    memory_bytes: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    features: tuple[str, ...]


def version() -> str:
    """ "major.minor.patch" of the library that runs."""
    return lib.heed_version().decode()


def thread_library() -> str:
    """What spreads work over threads where no executor does: "tbb" (oneTBB, in the arena of the calling thread), "std"
    (threads of heed's own) or "none" (the calling thread does all of it)."""
    return lib.heed_thread_library().decode()


def isas() -> list[Isa]:
    """The instruction sets of this build, best first."""
    count = ctypes.c_size_t()
    check(lib.heed_isas(ctypes.byref(count)))
    result = []
    for index in range(count.value):
        info = make(c.heed_isa_info)
        check(lib.heed_get_isa_info(index, address(info)))
        result.append(Isa(info.name.decode(), bool(info.supported), bool(info.chosen)))
    return result


def chosen_isa() -> str:
    """The instruction set of plans that name none; raises where HEED_ISA names one that cannot run."""
    name = ctypes.c_char_p()
    check(lib.heed_chosen_isa(ctypes.byref(name)))
    return (name.value or b"").decode()


def cpu_info() -> CpuInfo:
    """The processor of this machine."""
    info = make(c.heed_cpu_info)
    check(lib.heed_get_cpu_info(address(info)))
    numbers = {name: getattr(info, name) for name in CpuInfo._fields[2:-1]}
    return CpuInfo(
        info.vendor.decode(), info.model.decode(), **numbers, features=tuple(text_of(lib.heed_cpu_features).split())
    )


def alibi_slopes(heads: int) -> Any:
    """The slopes of ALiBi's authors for so many heads, float32 of NumPy."""
    count = whole("heads", heads, 32)
    if count < 0:
        raise InvalidArgument(f"heads ({count}) must be 0 or more")
    slopes = numpy_empty((count,), "f32")
    check(lib.heed_alibi_slopes(read(slopes, "slopes")[0], count))
    return slopes


def convert(
    x: Any,
    to: str,
    *,
    x_type: str | None = None,
    out: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """The numbers of a tensor without gaps as those of another type, rounded as heed.append rounds them.

    `to` and `x_type` are heed's names; x_type says what bytes or words hold. Vectors become vectors: the last
    dimension of the result counts elements of float32, float16 and bfloat16 (words of NumPy's), else bytes. int8 and
    int4, which have scales, are not for this function.
    """
    view = read(x, "x")
    source, target = element_type(view, x_type, "x"), named_type(to, "to")
    axes = axes_of(view, source, "x")
    if not _dense(view):
        raise InvalidArgument("x has gaps; its vectors must lie one after the other")
    if axes.extents[-1] % target.block_elements:
        raise InvalidArgument(
            f"x has vectors of {axes.extents[-1]} elements; those of {to} are multiples of " f"{target.block_elements}"
        )
    count = axes.extents[-1] // target.block_elements
    shape = (*axes.extents[:-1], count if target.computes else count * target.block_bytes)
    if out is None:
        out = view[3].empty(shape, to if target.computes else "uint8")
    written = read_output(out, "out")
    element_type(written, to if written[3].dtype is not target else None, "out")
    if tuple(written[1]) != shape or not _dense(written):
        raise InvalidArgument(f"out has the shape {tuple(written[1])}; it must be {shape}, without gaps")
    options = run_options(executor, workers, isa)
    check(
        lib.heed_convert(
            c.heed_input_data(view[0], source.number),
            c.heed_output_data(written[0], target.number),
            math.prod(axes.extents),
            address(options),
        )
    )
    return out


def _dense(view: View) -> bool:
    _, shape, strides, kind, _, _ = view
    return 0 in shape or look(shape, strides, kind.unit, "") == look(shape, contiguous(shape, kind.size), 1, "")

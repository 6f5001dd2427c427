"""What a run is told beside its four tensors: modifiers of scores, scales, page tables."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import _structs as c
from ._describe import Description
from ._library import address, make
from ._options import real
from ._tensors import View, int_array, integers, read, require_f32, require_like, strides_in, vector
from .errors import InvalidArgument


class Modifiers(NamedTuple):
    """What happens to scores before they become weights, as heed.attention takes it."""

    softcap: float = 0.0
    alibi_slopes: Any = None
    bias: Any = None
    sinks: Any = None
    temperatures: Any = None


class ZeroPoints(NamedTuple):
    """The zero points of keys and values of int8 and int4; None where there are none."""

    k: Any = None
    v: Any = None


class PageTable(NamedTuple):
    """Which pages hold the keys of each sequence: a row for each, or one after the other with indptr (CSR)."""

    pages: Any = None
    indptr: Any = None


def bind(
    d: Description,
    tensors: c.heed_attention_tensors,
    views: tuple,
    modifiers: Modifiers,
    zero_points: ZeroPoints,
    table: PageTable,
    keep: list,
) -> bool:
    """Writes modifiers, scales and page tables to a run's tensors, and what they point to to `keep`; whether there
    are any."""
    bound = False
    if modifiers.softcap != 0 or any(tensor is not None for tensor in modifiers[1:]):
        bound = True
        keep.append(score_modifiers(d, modifiers, keep))
        tensors.modifiers = address(keep[-1])
    for name, scales, zeros in (("k", views[5], zero_points.k), ("v", views[6], zero_points.v)):
        if scales is not None:
            bound = True
            _bind_scales(getattr(tensors, name + "_scales"), name, scales, zeros, keep)
        elif zeros is not None:
            raise InvalidArgument(f"{name}_zero_points need {name}_scales")
    paged = bool(d.batch.pages)
    if paged != (table.pages is not None):
        raise InvalidArgument(
            "page_table must " + ("be given: k and v are pages" if paged else "not be given: the plan is not of pages")
        )
    if paged:
        bound = True
        keep.append(_page_tables(d, table, keep))
        tensors.tables = address(keep[-1])
    return bound


def score_modifiers(d: Description, given: Modifiers, keep: list) -> c.heed_score_modifiers:
    """The struct of modifiers, which points to what `keep` holds."""
    heads = d.config.query_heads
    struct = make(c.heed_score_modifiers, softcap=real("softcap", given.softcap))
    for name in ("alibi_slopes", "sinks"):
        tensor = getattr(given, name)
        if tensor is not None:
            keep.append(vector(tensor, name, heads))
            setattr(struct, name, keep[-1][0])
    if given.bias is not None:
        keep.append(_bias(d, given.bias, keep))
        struct.bias = address(keep[-1])
    if given.temperatures is not None:
        keep.append(_temperatures(d, given.temperatures, keep))
        struct.temperatures = address(keep[-1])
    return struct


def _bias(d: Description, bias: Any, keep: list) -> c.heed_score_bias:
    view = read(bias, "bias")
    keep.append(view)
    dtype = view[3].dtype
    if dtype is None or not dtype.computes:
        raise InvalidArgument(f"bias has elements of {view[3].element}; they must be float32, float16 or bfloat16")
    meaning = "[heads, queries, keys]" if d.ragged else "[batch, heads, queries, keys]"
    strides = strides_in(view, d.scores_shape, meaning, "bias")
    if d.scores_shape[-1] > 1 and strides[-1] not in (0, 1):
        raise InvalidArgument(f"bias has a last dimension of stride {strides[-1]}; it must be 1, or shared")
    struct = make(
        c.heed_score_bias,
        sequence_stride=0 if d.ragged else strides[0],
        head_stride=strides[-3],
        query_stride=strides[-2],
        key_stride=strides[-1] if d.scores_shape[-1] > 1 else 1,
    )
    struct.data.data, struct.data.type = view[0], dtype.number
    return struct


def _temperatures(d: Description, temperatures: Any, keep: list) -> c.heed_row_temperatures:
    view = read(temperatures, "temperatures")
    keep.append(view)
    require_f32(view, "temperatures")
    rows = d.scores_shape[:-1]
    if len(view[1]) == 1:
        per_head = vector(temperatures, "temperatures", d.config.query_heads)
        return make(c.heed_row_temperatures, data=per_head[0], head_stride=1)
    meaning = "[heads, queries]" if d.ragged else "[batch, heads, queries]"
    strides = strides_in(view, rows, meaning, "temperatures")
    return make(
        c.heed_row_temperatures,
        data=view[0],
        sequence_stride=0 if d.ragged else strides[0],
        head_stride=strides[-2],
        query_stride=strides[-1],
    )


def _bind_scales(struct: c.heed_scales, name: str, scales: View, zeros: Any, keep: list) -> None:
    struct.scales, struct.zero_points = scales[0], None
    if zeros is None:
        return
    view = read(zeros, name + "_zero_points")
    keep.append(view)
    require_like(view, scales, f"{name}_zero_points", f"{name}_scales")
    struct.zero_points = view[0]


def _page_tables(d: Description, table: PageTable, keep: list) -> c.heed_page_tables:
    if table.indptr is not None:
        pages = int_array(integers(table.pages, "page_table"))
        indptr = int_array(integers(table.indptr, "page_indptr"))
        keep += (pages, indptr)
        return make(
            c.heed_page_tables,
            pages=address(pages),
            pages_count=len(pages),
            indptr=address(indptr),
            indptr_count=len(indptr),
        )
    view = read(table.pages, "page_table")
    keep.append(view)
    _, shape, strides, kind, _, _ = view
    if kind.element != "int32" or len(shape) != 2 or (shape[1] > 1 and strides[1] * kind.unit != 4):
        raise InvalidArgument(
            f"page_table must be int32 [batch, pages] without gaps in its rows, or with page_indptr "
            f"of one dimension; it is {kind.element} of shape {tuple(shape)}"
        )
    needed = -(-d.longest_key // c.heed_paged_layout.from_address(d.batch.pages).page_tokens)
    if shape[0] != d.sequences or shape[1] < needed:
        raise InvalidArgument(
            f"page_table has the shape {tuple(shape)}; it must have {d.sequences} rows, and for "
            f"{d.longest_key} keys {needed} pages in each"
        )
    stride = strides[0] * kind.unit // 4 if shape[0] > 1 else shape[1]
    if stride < shape[1]:
        raise InvalidArgument(f"page_table has rows at a distance of {stride} entries, less than their {shape[1]}")
    return make(c.heed_page_tables, pages=view[0], pages_count=max(shape[0] - 1, 0) * stride + shape[1], stride=stride)

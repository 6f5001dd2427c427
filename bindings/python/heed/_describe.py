"""From tensors and options to the structs that heed_plan_attention reads."""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

from . import _structs as c
from ._library import address, make
from ._options import UNLIMITED, KeyMask, KeyShard, Options, choice, pair, real, whole, word
from ._tensors import (
    ELEMENT_TYPES,
    Axes,
    ElementType,
    View,
    Views,
    axes_of,
    computing_type,
    element_type,
    int_array,
    integers,
    read,
    require_f32,
    strides_in,
)
from .errors import InvalidArgument

_PRODUCTS = ("automatic", "f32", "bf16")
_ALIGNMENTS = ("end", "start")
_LAYOUTS = ("bshd", "bhsd")
_MASKS = {"uint8": 1, "bool": 1, "int8": 1, "float32": 2, "float16": 3, "bfloat16": 4}


class Side(NamedTuple):
    """Queries or keys of a batch: how many sequences, tokens of a slot or of all (ragged), heads and dimensions."""

    sequences: int
    tokens: int
    heads: int
    dim: int
    layout: c.heed_layout


class Description(NamedTuple):
    """What a plan is made from, and what its tensors look like."""

    config: c.heed_attention_config
    batch: c.heed_batch
    options: c.heed_plan_options
    keep: list  #: what the structs point to
    out_type: ElementType
    out_shape: tuple[int, ...]
    lse_shape: tuple[int, ...]
    sequences: int
    ragged: bool
    queries: int  #: of a slot; of all sequences where they are ragged
    longest_query: int
    longest_key: int
    scores_shape: tuple[int, ...]  #: what masks and biases read as


def c_float(name: str, given: Any) -> ctypes.c_float:
    """A float in memory of its own."""
    return ctypes.c_float(real(name, given))


def side_of(axes: Axes, name: str, layout: str, ragged: bool) -> Side:
    """The axes of q, k, v or out in their order: with 3 dimensions there is no axis of sequences."""
    choice("layout", layout, _LAYOUTS)
    rank = len(axes.extents)
    order = ("batch, tokens, heads, dim" if layout == "bshd" else "batch, heads, tokens, dim")[7 * (rank == 3) :]
    if rank not in (3, 4) or (ragged and rank != 3):
        order = "tokens, heads, dim" if layout == "bshd" else "heads, tokens, dim"
        wanted = f"3, [{order}]" if ragged else f"4, [batch, {order}], or 3, [{order}]"
        raise InvalidArgument(f"{name} has {rank} dimensions; it must have {wanted}")
    missing = 4 - rank
    extents, strides = (1,) * missing + axes.extents, (0,) * missing + axes.strides
    token, head = (1, 2) if layout == "bshd" else (2, 1)
    return Side(
        extents[0], extents[token], extents[head], extents[3], c.heed_layout(strides[0], strides[token], strides[head])
    )


def shape_like(side: Side, dim: int | None, layout: str, rank: int) -> tuple[int, ...]:
    """The shape of outputs of a side's tokens; without dim that of the log-sum-exp."""
    shape: tuple[int, ...] = (side.sequences, side.heads, side.tokens)
    if dim is not None:
        shape = (*(shape if layout == "bhsd" else (side.sequences, side.tokens, side.heads)), dim)
    return shape if rank == 4 else shape[1:]


def describe(views: Views, o: Options, mask: Any, key_lists: Any) -> Description:
    """Everything that heed_plan_attention is told."""
    q, k, v, out, lse, k_scales, v_scales = views
    types = [
        element_type(view, given, name)
        for view, given, name in ((q, o.q_type, "q"), (k, o.k_type, "k"), (v, o.v_type, "v"))
    ]
    kv_layout = o.kv_layout or o.layout
    query = side_of(axes_of(q, types[0], "q"), "q", o.layout, o.query_offsets is not None)
    key = side_of(axes_of(k, types[1], "k"), "k", kv_layout, o.key_offsets is not None and not o.paged)
    value = side_of(axes_of(v, types[2], "v"), "v", kv_layout, o.key_offsets is not None and not o.paged)
    _check_sides(query, key, value, o)
    rank = len(q[1])
    out_shape = shape_like(query, value.dim, o.layout, rank)
    lse_shape = shape_like(query, None, o.layout, rank)
    keep: list = []
    config = _config(query, key, value, types, _out_type(out, types[0], o), o, keep)
    batch = _batch(query, key, value, o, keep)
    _outputs(out, lse, out_shape, lse_shape, config, batch, o, keep)
    longest_key = _longest(key, o.key_lengths, o.key_offsets)
    keys = longest_key if o.paged or o.key_offsets is not None else key.tokens
    rows = (query.heads, query.tokens) if o.query_offsets is not None else (batch.sequences, query.heads, query.tokens)
    result = Description(
        config,
        batch,
        _plan_options(o),
        keep,
        _by_number(config.out_type),
        out_shape,
        lse_shape,
        batch.sequences,
        o.query_offsets is not None,
        query.tokens,
        _longest(query, o.query_lengths, o.query_offsets),
        longest_key,
        (*rows, keys),
    )
    for name, scales, side, dtype in (("k_scales", k_scales, key, types[1]), ("v_scales", v_scales, value, types[2])):
        _scales(name, scales, side, dtype, kv_layout, o.paged, batch, keep)
    _visibility(mask, key_lists, result)
    return result


def _by_number(number: int) -> ElementType:
    return next(t for t in ELEMENT_TYPES.values() if t.number == number)


def _out_type(out: View | None, q_type: ElementType, o: Options) -> ElementType:
    if out is not None:
        return element_type(out, o.out_type, "out")
    if o.out_type is None:
        return q_type
    return computing_type(o.out_type, "out_type")


def _check_sides(query: Side, key: Side, value: Side, o: Options) -> None:
    """What shapes must have in common; the rest is heed's to say."""
    for name, a, b in (
        ("heads", key.heads, value.heads),
        ("tokens", key.tokens, value.tokens),
        ("batch", key.sequences, value.sequences),
    ):
        if a != b:
            raise InvalidArgument(f"v has {name} {b}; it must be that of k ({a})")
    if key.dim != query.dim:
        raise InvalidArgument(f"k has a head_dim of {key.dim}; it must be that of q ({query.dim})")
    sequences = _sequences(query, o)
    if o.query_offsets is None and query.sequences != sequences:
        raise InvalidArgument(f"q has a batch of {query.sequences}; key_offsets are of {sequences} sequences")
    if o.key_offsets is None and not o.paged and key.sequences != sequences:
        raise InvalidArgument(f"k has a batch of {key.sequences}; it must be that of q ({sequences})")


def _config(
    query: Side, key: Side, value: Side, types: list[ElementType], out_type: ElementType, o: Options, keep: list
) -> c.heed_attention_config:
    config = make(
        c.heed_attention_config,
        query_heads=query.heads,
        kv_heads=key.heads,
        head_dim=query.dim,
        value_head_dim=value.dim,
        causal=int(bool(o.causal)),
        alignment=choice("alignment", o.alignment, _ALIGNMENTS),
        window_left=UNLIMITED if o.window_left is None else whole("window_left", o.window_left),
        window_right=UNLIMITED if o.window_right is None else whole("window_right", o.window_right),
        keep_first=whole("keep_first", o.keep_first),
        temperature=real("temperature", o.temperature),
        products=choice("products", o.products, _PRODUCTS),
        q_type=types[0].number,
        k_type=types[1].number,
        v_type=types[2].number,
        out_type=out_type.number,
    )
    if value.dim == 0:
        raise InvalidArgument("v has a head_dim of 0; it must be from 1 to 1024")
    if o.scale is not None:
        keep.append(c_float("scale", o.scale))
        config.scale = address(keep[-1])
    return config


def _sequences(query: Side, o: Options) -> int:
    """The sequences of a batch: ragged ones are counted by their offsets."""
    for offsets, name in ((o.query_offsets, "query_offsets"), (o.key_offsets, "key_offsets")):
        if offsets is not None:
            if len(offsets) < 4:
                raise InvalidArgument(f"{name} must have one entry more than there are sequences; it is empty")
            return len(offsets) // 4 - 1
    return query.sequences


def _batch(query: Side, key: Side, value: Side, o: Options, keep: list) -> c.heed_batch:
    batch = make(c.heed_batch, sequences=_sequences(query, o), q=address(query.layout))
    keep += (query, key, value)
    _check_ragged(query, o.query_offsets, "query_offsets", "q")
    for name, side, lengths, offsets in (
        ("query", query, o.query_lengths, o.query_offsets),
        ("key", key, o.key_lengths, o.key_offsets),
    ):
        struct = getattr(batch, name)
        _numbers(struct, "lengths", lengths, keep)
        _numbers(struct, "offsets", offsets, keep)
        if offsets is None:
            struct.length = side.tokens
    _numbers(batch, "visible_prefixes", o.visible_prefixes, keep)
    _numbers(batch, "shared_prefixes", o.shared_prefixes, keep)
    if o.paged:
        _pages(batch, key, value, o, keep)
    else:
        _check_ragged(key, o.key_offsets, "key_offsets", "k")
        batch.k, batch.v = address(key.layout), address(value.layout)
    if o.shard is not None:
        _shard(batch, o.shard, keep)
    return batch


def _numbers(struct: ctypes.Structure, name: str, data: bytes | None, keep: list) -> None:
    """An array of int32 as a member, with its count."""
    if data is None:
        return
    keep.append(int_array(data))
    setattr(struct, name, address(keep[-1]))
    setattr(struct, name + "_count", len(keep[-1]))


def _check_ragged(side: Side, offsets: bytes | None, name: str, tensor: str) -> None:
    """Ragged sequences lie within their tensor."""
    if offsets is None:
        return
    if side.sequences != 1:
        raise InvalidArgument(
            f"{tensor} has a batch of {side.sequences}; with {name} sequences lie one after the other"
        )
    end = max(int_array(offsets), default=0)
    if end > side.tokens:
        raise InvalidArgument(f"{name} ends at {end}; {tensor} has {side.tokens} tokens")


def _pages(batch: c.heed_batch, key: Side, value: Side, o: Options, keep: list) -> None:
    """Keys and values in pools of pages: the axis of sequences counts pages."""
    if o.key_offsets is None:
        if o.key_lengths is None:
            raise InvalidArgument("key_lengths must say how many keys each sequence has, where page_table is given")
        batch.key.length = max(int_array(o.key_lengths), default=0)
    strides = [
        c.heed_page_strides(side.layout.sequence_stride, side.layout.token_stride, side.layout.head_stride)
        for side in (key, value)
    ]
    pages = make(
        c.heed_paged_layout,
        pages=key.sequences,
        page_tokens=key.tokens,
        kv_heads=key.heads,
        head_dim=key.dim,
        value_head_dim=value.dim,
        k=strides[0],
        v=strides[1],
    )
    keep.append(pages)
    batch.pages = address(pages)


def _shard(batch: c.heed_batch, given: KeyShard, keep: list) -> None:
    shard = make(c.heed_key_shard)
    keep.append(shard)
    batch.shard = address(shard)
    for name, value in zip(("first_key", "whole_length"), given):
        if isinstance(value, bytes):
            _numbers(shard, name + "s", value, keep)
        else:
            setattr(shard, name, whole("shard." + name, value))


def _outputs(
    out: View | None,
    lse: View | None,
    out_shape: tuple[int, ...],
    lse_shape: tuple[int, ...],
    config: c.heed_attention_config,
    batch: c.heed_batch,
    o: Options,
    keep: list,
) -> None:
    """The layouts of outputs; those that are made for the call have no gaps."""
    if out is not None:
        axes = axes_of(out, _by_number(config.out_type), "out")
        if axes.extents != out_shape:
            raise InvalidArgument(f"out has the shape {axes.extents}; it must be {out_shape}")
    else:
        axes = Axes(out_shape, tuple(math.prod(out_shape[i + 1 :]) for i in range(len(out_shape) - 1)))
    layout = side_of(axes, "out", o.layout, False).layout
    keep.append(layout)
    batch.out = address(layout)
    if lse is None:
        return
    require_f32(lse, "lse")
    if tuple(lse[1]) != lse_shape:
        raise InvalidArgument(f"lse has the shape {tuple(lse[1])}; it must be {lse_shape}, [batch, heads, tokens]")
    strides = strides_in(lse, (1,) * (3 - len(lse_shape)) + lse_shape, "[batch, heads, tokens]", "lse")
    layout = c.heed_layout(strides[0], strides[2], strides[1])
    keep.append(layout)
    batch.lse = address(layout)


def _longest(side: Side, lengths: bytes | None, offsets: bytes | None) -> int:
    """Tokens of the longest sequence."""
    if offsets is not None:
        ends = int_array(offsets)
        return max((b - a for a, b in zip(ends, ends[1:])), default=0)
    return max(int_array(lengths), default=0) if lengths is not None else side.tokens


def _plan_options(o: Options) -> c.heed_plan_options:
    return make(
        c.heed_plan_options,
        isa=word("isa", o.isa),
        workers=whole("workers", o.workers, 32),
        tile_keys=whole("tile_keys", o.tile_keys, 32),
        item_rows=whole("item_rows", o.item_rows, 32),
    )


def scale_layout(name: str, scales: View, side: Side, layout: str) -> c.heed_scale_layout:
    """Where the scales of keys or values lie: their axes are those of the tensor, with 1 for what shares them; the
    last one counts groups of neighbouring elements."""
    require_f32(scales, name)
    shape = tuple(scales[1])
    groups = shape[-1] if shape else 0
    if groups < 1 or side.dim % groups:
        raise InvalidArgument(f"{name} has {groups} groups of a vector; they must divide its {side.dim} elements")
    full = (side.sequences, side.tokens, side.heads, groups)
    if layout == "bhsd":
        full = (side.sequences, side.heads, side.tokens, groups)
    strides = strides_in(
        scales, full, f"[batch or page, {'heads, tokens' if layout == 'bhsd' else 'tokens, heads'}, " "groups]", name
    )
    if groups > 1 and strides[3] != 1:
        raise InvalidArgument(f"{name} has a last dimension of stride {strides[3]}; it must be 1")
    token, head = (1, 2) if layout == "bshd" else (2, 1)
    return c.heed_scale_layout(0 if groups == 1 else side.dim // groups, strides[0], strides[token], strides[head])


def _scales(
    name: str,
    scales: View | None,
    side: Side,
    dtype: ElementType,
    layout: str,
    paged: bool,
    batch: c.heed_batch,
    keep: list,
) -> None:
    if (scales is not None) != dtype.scaled:
        raise InvalidArgument(
            f"{name} "
            + (
                "must be given: codes of " + dtype.name + " mean nothing without"
                if dtype.scaled
                else f"are of int8 and int4, not of {dtype.name}"
            )
        )
    if scales is None:
        return
    made = scale_layout(name, scales, side, layout)
    keep.append(made)
    target = c.heed_paged_layout.from_address(batch.pages) if paged else batch
    setattr(target, name, address(made))


def _visibility(mask: Any, key_lists: Any, d: Description) -> None:
    """Masks and lists of keys, which are read while planning."""
    if mask is not None:
        struct = _mask(mask if isinstance(mask, KeyMask) else KeyMask(mask), d)
        d.keep.append(struct)
        d.batch.mask = address(struct)
    if key_lists is not None:
        offsets, keys = pair("key_lists", key_lists)
        arrays = int_array(integers(offsets, "key_lists.offsets", 8), 8), int_array(integers(keys, "key_lists.keys"))
        lists = make(
            c.heed_key_lists,
            offsets=address(arrays[0]),
            offsets_count=len(arrays[0]),
            keys=address(arrays[1]),
            keys_count=len(arrays[1]),
        )
        d.keep.extend((*arrays, lists))
        d.batch.key_lists = address(lists)


def _mask(mask: KeyMask, d: Description) -> c.heed_key_mask:
    view = read(mask.data, "mask")
    d.keep.append(view)
    element = view[3].element
    if element not in _MASKS or (mask.bits and element != "uint8"):
        raise InvalidArgument(
            f"mask has elements of {element}; they must be "
            + ("uint8: bits of 8 keys" if mask.bits else "bool, uint8, float32, float16 or bfloat16")
        )
    blocks = [whole("mask." + name, getattr(mask, name)) for name in ("query_block", "key_block", "last_keys")]
    query_block, key_block, last_keys = blocks
    if query_block < 1 or key_block < 1 or last_keys < 0:
        raise InvalidArgument(
            f"mask: query_block ({query_block}) and key_block ({key_block}) must be 1 or more, and "
            f"last_keys ({last_keys}) 0 or more"
        )
    *rows, queries, keys = d.scores_shape
    keys = min(keys, last_keys) if last_keys else keys
    elements = -(-keys // key_block)
    shape = (*rows, -(-queries // query_block), -(-elements // 8) if mask.bits else elements)
    meaning = "[heads, queries, keys]" if d.ragged else "[batch, heads, queries, keys]"
    strides = strides_in(view, shape, meaning, "mask")
    if shape[-1] > 1 and strides[-1] == 0 and not mask.bits:
        key_block = max(keys, 1)
    elif shape[-1] > 1 and strides[-1] != 1:
        raise InvalidArgument(f"mask has a last dimension of stride {strides[-1]}; it must be 1")
    unit = 8 if mask.bits else 1
    sequence, head, query = (0, *strides[:2]) if d.ragged else strides[:3]
    return make(
        c.heed_key_mask,
        data=view[0],
        type=0 if mask.bits else _MASKS[element],
        sequence_stride=unit * sequence,
        head_stride=unit * head,
        query_stride=unit * query,
        query_block=query_block,
        key_block=key_block,
        last_keys=last_keys,
    )

"""Attention over a part of the keys, and the merge of the parts."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, Sequence

from . import _structs as c
from ._bind import Modifiers, PageTable, ZeroPoints, score_modifiers
from ._library import address, check, lib
from ._plan import Executor, Plan, Workspace, read_all, spare_workspaces, take_workspace
from ._tensors import View, contiguous, read, read_output, require_f32
from .errors import InvalidArgument


class PartialStates(NamedTuple):
    """The states of a plan's run, float32 without gaps: of each partition of 256 keys and each row (sequence, token,
    head) the integer m, the sum l of 2^(t − m) and the sum o of 2^(t − m) · value."""

    m: Any  #: [partitions, rows]
    l: Any  #: [partitions, rows]
    o: Any  #: [partitions, rows, value_head_dim]


def empty_states(plan: Plan, partitions: int | None = None) -> PartialStates:
    """States of a plan's run, which see no key; of as many partitions, or of those given (1 for merge_into)."""
    shape = plan.state_shape
    count = shape.partitions if partitions is None else partitions
    empty = plan._empty
    states = PartialStates(
        empty((count, shape.rows), "f32"),
        empty((count, shape.rows), "f32"),
        empty((count, shape.rows, shape.value_head_dim), "f32"),
    )
    if count > 0:
        clear(plan, states)
    return states


def _struct(plan: Plan, states: PartialStates, kind: Any, reader: Any, name: str, keep: list) -> Any:
    """States as C takes them; their shape is that of the plan's rows."""
    shape = plan.state_shape
    views: list[View] = [reader(array, f"{name}.{member}") for member, array in zip("mlo", states)]
    keep += views
    partitions = views[0][1][0] if views[0][1] else 0
    for view, member, tail in zip(views, "mlo", ((), (), (shape.value_head_dim,))):
        wanted = (partitions, shape.rows, *tail)
        require_f32(view, f"{name}.{member}")
        gap = [stride * view[3].unit for extent, stride in zip(view[1], view[2]) if extent > 1]
        dense = [stride for extent, stride in zip(wanted, contiguous(wanted, 4)) if extent > 1]
        if tuple(view[1]) != wanted or gap != dense:
            raise InvalidArgument(f"{name}.{member} has the shape {tuple(view[1])}; it must be {wanted}, without gaps")
    return kind(*(view[0] for view in views), partitions)


def run_partial(
    plan: Plan,
    q: Any,
    k: Any,
    v: Any,
    *,
    states: PartialStates | None = None,
    softcap: float = 0.0,
    alibi_slopes: Any = None,
    bias: Any = None,
    temperatures: Any = None,
    k_scales: Any = None,
    v_scales: Any = None,
    k_zero_points: Any = None,
    v_zero_points: Any = None,
    page_table: Any = None,
    page_indptr: Any = None,
    executor: Executor | None = None,
    workspace: Workspace | None = None,
) -> PartialStates:
    """Runs a plan, but gives the state of every partition and row in place of outputs, to merge with those of other
    keys. `shard` of the plan says which keys of longer sequences its keys are. Sinks are for merge."""
    views = read_all(q, k, v, None, None, k_scales, v_scales)
    plan._accept_inputs(views)
    keep: list = []
    tensors = plan._tensors(
        views,
        Modifiers(softcap, alibi_slopes, bias, None, temperatures),
        ZeroPoints(k_zero_points, v_zero_points),
        PageTable(page_table, page_indptr),
        keep,
    )
    if states is None:
        states = empty_states(plan)
    struct = _struct(plan, states, c.heed_partial_states, read_output, "states", keep)
    mine = workspace or take_workspace()
    mine.reserve(plan)
    check(
        lib.heed_run_partial(
            plan._handle, address(tensors), address(struct), mine._handle, executor and executor._handle
        )
    )
    if workspace is None:
        spare_workspaces.append(mine)
    return states


def merge(
    plan: Plan,
    shards: Sequence[PartialStates],
    *,
    out: Any = None,
    lse: Any = None,
    sinks: Any = None,
    temperatures: Any = None,
    executor: Executor | None = None,
) -> Any:
    """Adds the states of each row, shard by shard in the order of their keys: the bits of one run of all keys.

    The plan may be that of any of the shards. The result is as that of heed.attention: `out`, or (out, lse) where
    `lse` is True or a tensor. At most 256 shards."""
    keep: list = []
    structs = [
        _struct(plan, shard, c.heed_const_partial_states, read, f"shards[{i}]", keep) for i, shard in enumerate(shards)
    ]
    array = (c.heed_const_partial_states * len(structs))(*structs)
    if out is None:
        out = plan._make_out()
    if lse is True:
        lse = plan._empty(plan.lse_shape, "f32")
    out_view, lse_view = read_output(out, "out"), None if lse is None else read_output(lse, "lse")
    plan._accept_outputs(out_view, lse_view)
    data = c.heed_output_data(out_view[0], plan._d.config.out_type)
    check(
        lib.heed_merge(
            plan._handle,
            address(array),
            len(array),
            data,
            lse_view and lse_view[0],
            _modifiers(plan, sinks, temperatures, keep),
            executor and executor._handle,
        )
    )
    return out if lse is None else (out, lse)


def merge_into(
    plan: Plan,
    total: PartialStates,
    states: PartialStates,
    *,
    temperatures: Any = None,
    executor: Executor | None = None,
) -> None:
    """total += states; `total` has one partition, and begins as empty_states(plan, 1)."""
    keep: list = []
    target = _struct(plan, total, c.heed_partial_states, read_output, "total", keep)
    source = _struct(plan, states, c.heed_const_partial_states, read, "states", keep)
    check(
        lib.heed_merge_into(
            plan._handle,
            address(target),
            address(source),
            _modifiers(plan, None, temperatures, keep),
            executor and executor._handle,
        )
    )


def clear(plan: Plan, states: PartialStates) -> None:
    """Makes all states empty."""
    keep: list = []
    struct = _struct(plan, states, c.heed_partial_states, read_output, "states", keep)
    check(lib.heed_clear(plan._handle, address(struct)))


def _modifiers(plan: Plan, sinks: Any, temperatures: Any, keep: list) -> int | None:
    """The address of the modifiers of a merge."""
    if sinks is None and temperatures is None:
        return None
    keep.append(score_modifiers(plan._d, Modifiers(sinks=sinks, temperatures=temperatures), keep))
    return ctypes.addressof(keep[-1])

"""heed.attention, and the cache of plans that makes it cheap to call."""

from __future__ import annotations

import threading
from typing import Any

from ._bind import Modifiers, PageTable, ZeroPoints, bind
from ._options import KeyLists, KeyMask, KeyShard, Options, real
from ._plan import Executor, Plan, Workspace, spare_workspaces
from ._tensors import Views, read, read_output
from .errors import InvalidArgument

#: The most plans that heed.attention keeps: those that were made last.
PLANS = 256

_plans: dict[tuple, Plan] = {}
_lock = threading.Lock()


def clear_plans() -> None:
    """Forgets the plans that heed.attention keeps, and the workspaces that no run uses now."""
    with _lock:
        _plans.clear()
        spare_workspaces.clear()


def _kept_plan(key: tuple, views: Views, options: Options) -> Plan:
    """Makes and keeps the plan of a key that has none; the oldest one gives place."""
    plan = Plan._of(views, options, None, None)
    with _lock:
        while len(_plans) >= PLANS:
            del _plans[next(iter(_plans))]
        _plans[key] = plan
    return plan


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    layout: str = "bshd",
    kv_layout: str | None = None,
    causal: bool = False,
    alignment: str = "end",
    window_left: int | None = None,
    window_right: int | None = None,
    keep_first: int = 0,
    scale: float | None = None,
    temperature: float = 1.0,
    products: str = "automatic",
    q_type: str | None = None,
    k_type: str | None = None,
    v_type: str | None = None,
    out_type: str | None = None,
    query_lengths: Any = None,
    key_lengths: Any = None,
    query_offsets: Any = None,
    key_offsets: Any = None,
    page_table: Any = None,
    page_indptr: Any = None,
    shared_prefixes: Any = None,
    visible_prefixes: Any = None,
    shard: KeyShard | None = None,
    mask: Any | KeyMask = None,
    key_lists: KeyLists | None = None,
    softcap: float = 0.0,
    alibi_slopes: Any = None,
    bias: Any = None,
    sinks: Any = None,
    temperatures: Any = None,
    k_scales: Any = None,
    v_scales: Any = None,
    k_zero_points: Any = None,
    v_zero_points: Any = None,
    out: Any = None,
    lse: Any = None,
    isa: str | None = None,
    workers: int = 0,
    tile_keys: int = 0,
    item_rows: int = 0,
    executor: Executor | None = None,
    workspace: Workspace | None = None,
) -> Any:
    """Multi-head attention: softmax(scale · q·kᵀ) · v over the keys that each query sees.

    Tensors are arrays of NumPy, tensors of PyTorch on the CPU, or whatever has `__dlpack__` or
    `__array_interface__`. They are read where they lie, with any strides but that the elements of a vector lie one
    after the other; nothing is copied. Names and defaults are those of heed's C++ interface; None is its default.

    Shapes
        q, k, v: [batch, tokens, heads, head_dim], which `layout="bshd"` says, or [batch, heads, tokens, head_dim],
            `"bhsd"`, PyTorch's order. Without a batch they have 3 dimensions. Heads of k and v divide those of q;
            v may have another head_dim. `kv_layout`: of k and v, where it differs.
        query_lengths, key_lengths: one per sequence, of padded tensors.
        query_offsets, key_offsets: ragged sequences lie one after the other in 3 dimensions, sequence b from
            offsets[b] to offsets[b + 1] − 1.
        page_table: k and v are pools of pages, [page, tokens of a page, heads, head_dim] or in the order of
            kv_layout; the table is int32 [batch, pages], or with `page_indptr` one list of all (CSR). `key_lengths`
            says how many keys there are. `shared_prefixes[b]`: tokens that sequence b has in common with b − 1.

    What queries see
        causal: no key after the query's position; `alignment`: "end", the last query stands at the last key, or
            "start". window_left, window_right: keys visible before and after the position; keep_first: the first
            keys, which windows do not hide. visible_prefixes: first keys of each sequence that all its queries see.
        mask: bool, bytes (0: hidden) or floats of 0 and −inf that read as [batch, heads, queries, keys], axes of 1
            and missing first ones being shared; or a KeyMask. key_lists: a KeyLists. shard: a KeyShard.

    What scores become: y = c·tanh(x/c) + slope·(j − i) + bias, weight = exp(y / T − lse)
        scale: 1/√head_dim. softcap: c. alibi_slopes: [heads]. bias: float32, float16 or bfloat16 of the shape of
            masks. sinks: [heads]. temperature: T, 0 (the argmax) and inf (the mean) included; temperatures:
            [heads], or of each row, [batch, heads, queries]. products: "automatic", "f32" or "bf16".

    Element types
        float32, float16 and bfloat16, k and v also int8 and float8, are known by themselves. `q_type`, `k_type`,
        `v_type` say what bytes or 16-bit words hold: "bf16", "fp8_e4m3", "fp8_e5m2", "int4", "q8_0", "q4_0"; the
        last dimension then counts bytes or words. k_scales, v_scales, k_zero_points, v_zero_points are float32 of
        k's and v's axes, with 1 for what shares a number, and groups of neighbouring elements last.

    Results
        The output has q's layout, library and type, or `out_type` ("f32", "f16", "bf16", which NumPy keeps in
        uint16); `out` is written to instead where it is given, and returned. `lse`: True, or a float32 tensor
        [batch, heads, tokens]: the log-sum-exp of each row; the result is then (out, lse).

    How: `isa`, `workers`, `tile_keys` and `item_rows` as in PlanOptions. `executor` and `workspace` are kept by the
    caller; else runs take the calling thread's arena and memory that heed keeps. The last 256 plans are kept by
    shapes and options, but for those with masks or key_lists. Any threads may call at once; Python's lock is
    released while heed computes.

    Raises InvalidArgument, with a sentence, where arguments break a rule; nothing is written then.
    """
    vq, vk, vv = read(q, "q"), read(k, "k"), read(v, "v")
    views: Views = (vq, vk, vv, None, None, None, None)
    key: tuple = (vq[1], vq[2], vq[3], vk[1], vk[2], vk[3], vv[1], vv[2], vv[3])
    if not (out is None and (lse is None or lse is True) and k_scales is None and v_scales is None):
        others = (
            ("out", out, read_output),
            ("lse", None if lse is True else lse, read_output),
            ("k_scales", k_scales, read),
            ("v_scales", v_scales, read),
        )
        views = (vq, vk, vv, *(None if tensor is None else how(tensor, name) for name, tensor, how in others))
        key += tuple(view and (tuple(view[1]), tuple(view[2]), view[3]) for view in views[3:])
    options: tuple = (
        layout,
        kv_layout,
        causal,
        alignment,
        window_left,
        window_right,
        keep_first,
        scale if scale is None else real("scale", scale),
        real("temperature", temperature),
        products,
        q_type,
        k_type,
        v_type,
        out_type,
        query_lengths,
        key_lengths,
        query_offsets,
        key_offsets,
        page_table is not None,
        shared_prefixes,
        visible_prefixes,
        shard,
        isa,
        workers,
        tile_keys,
        item_rows,
    )
    if not (
        query_lengths is None
        and key_lengths is None
        and query_offsets is None
        and key_offsets is None
        and shared_prefixes is None
        and visible_prefixes is None
        and shard is None
    ):
        options = Options._make(options).hashable()
    if mask is None and key_lists is None:
        key += options
        try:
            plan: Plan | None = _plans.get(key)
        except TypeError as error:
            raise InvalidArgument(f"an option must be a number or a word: {error}") from None
        if plan is None:
            plan = _kept_plan(key, views, Options._make(options))
    else:
        plan = Plan._of(views, Options._make(options), mask, key_lists)
    runner = plan._runner()
    keep: list = []
    bound = False
    if not (
        softcap == 0
        and alibi_slopes is None
        and bias is None
        and sinks is None
        and temperatures is None
        and page_table is None
        and views[5] is None
        and views[6] is None
        and k_zero_points is None
        and v_zero_points is None
    ):
        bound = bind(
            plan._d,
            runner.struct,
            views,
            Modifiers(softcap, alibi_slopes, bias, sinks, temperatures),
            ZeroPoints(k_zero_points, v_zero_points),
            PageTable(page_table, page_indptr),
            keep,
        )
    return plan._finish(runner, views, out, lse, executor, workspace, bound)

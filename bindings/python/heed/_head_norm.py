"""The norm of queries and keys, one for each head."""

from __future__ import annotations

from typing import Any

from . import _structs as c
from ._heads import heads_of
from ._library import address, check, lib, make
from ._options import real
from ._plan import Executor, run_options
from ._tensors import vector


def normalise_heads(
    x: Any,
    weight: Any = None,
    *,
    out: Any = None,
    weight_offset: float = 0.0,
    epsilon: float = 1e-6,
    layout: str = "bshd",
    x_type: str | None = None,
    out_type: str | None = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """x / √(mean of x² + epsilon) · (weight + weight_offset) over the last dimension: the RMS norm that models such as
    Qwen 3 and Gemma 3 take of queries and keys before they turn.

    x is [tokens, heads, head_dim] or, with layout="bhsd", [heads, tokens, head_dim], in float32, float16 or bfloat16;
    `weight` is float32 [head_dim] without gaps, the same for all heads, and 1 where there is none; Gemma's offset is 1.
    The result is `out`, which may be x, or a new tensor of `out_type`, else of x's type; `x_type` and `out_type` ("f32",
    "f16", "bf16") also name bfloat16 where words hold it.
    """
    heads = heads_of(x, out, layout, x_type, out_type)
    weights = None if weight is None else vector(weight, "weight", heads.x_side.dim)
    norm = make(
        c.heed_rms_norm,
        weight=weights and weights[0],
        weight_offset=real("weight_offset", weight_offset),
        epsilon=real("epsilon", epsilon),
    )
    tensors = make(
        c.heed_head_tensors,
        x=heads.x[0],
        y=heads.y[0],
        tokens=heads.x_side.tokens,
        heads=heads.x_side.heads,
        head_dim=heads.x_side.dim,
        x_layout=address(heads.x_side.layout),
        y_layout=address(heads.y_side.layout),
        x_type=heads.x_type.number,
        y_type=heads.y_type.number,
    )
    options = run_options(executor, workers, isa)
    check(lib.heed_normalise_heads(address(norm), address(tensors), address(options)))
    return heads.out

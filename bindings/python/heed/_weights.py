"""What the weights of attention tell."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import _structs as c
from ._bind import Modifiers, PageTable, ZeroPoints
from ._library import address, check, lib, make
from ._options import whole
from ._plan import Executor, Plan, Workspace, read_all, spare_workspaces, take_workspace
from ._tensors import computing_type, read
from .errors import InvalidArgument


class AttentionWeights(NamedTuple):
    """What was asked for; else None. Rows are those of the log-sum-exp: [batch, heads, tokens], or [heads, tokens]."""

    weights: Any = None  #: [sequences, heads, queries, keys] of the longest sequence; hidden keys have 0
    entropy: Any = None  #: [row], in nats
    top_weights: Any = None  #: [row, top], the largest first
    top_keys: Any = None  #: [row, top], int32; −1 where no key has weight
    mass: Any = None  #: [sequences, heads, keys]: the sum of the weights that all queries give a key
    out: Any = None
    lse: Any = None


def attention_weights(
    q: Any,
    k: Any,
    v: Any,
    *,
    weights: bool | str = False,
    entropy: bool = False,
    top: int = 0,
    mass: bool = False,
    out: bool = False,
    lse: bool = False,
    mask: Any = None,
    key_lists: Any = None,
    softcap: float = 0.0,
    alibi_slopes: Any = None,
    bias: Any = None,
    sinks: Any = None,
    temperatures: Any = None,
    k_scales: Any = None,
    v_scales: Any = None,
    k_zero_points: Any = None,
    v_zero_points: Any = None,
    page_table: Any = None,
    page_indptr: Any = None,
    executor: Executor | None = None,
    workspace: Workspace | None = None,
    **options: Any,
) -> AttentionWeights:
    """What the weights of heed.attention with the same arguments tell, in one pass that can compute outputs too.

    `weights` is True, or the type that they are written in ("f32", "f16", "bf16"); `top` how many of the largest
    weights of each row, up to 16; `out` and `lse` ask for the results of a run, which have its bits. Memory for the
    weights themselves grows with queries times keys.
    """
    options.setdefault("paged", page_table is not None)
    plan = Plan(q, k, v, k_scales=k_scales, v_scales=v_scales, mask=mask, key_lists=key_lists, **options)
    views = read_all(q, k, v, None, None, k_scales, v_scales)
    keep: list = []
    tensors = plan._tensors(
        views,
        Modifiers(softcap, alibi_slopes, bias, sinks, temperatures),
        ZeroPoints(k_zero_points, v_zero_points),
        PageTable(page_table, page_indptr),
        keep,
    )
    struct, result = _answers(plan, weights, entropy, whole("top", top, 32), mass, keep)
    if lse and not out:
        raise InvalidArgument("lse needs out: log-sum-exps are computed with the outputs")
    if out:
        result = result._replace(out=plan._make_out(), lse=plan._empty(plan.lse_shape, "f32") if lse else None)
        tensors.out.data = read(result.out, "out")[0]
        tensors.lse = read(result.lse, "lse")[0] if lse else None
    mine = workspace or take_workspace()
    check(lib.heed_workspace_reserve_weights(mine._handle, plan._handle, address(struct)))
    check(
        lib.heed_get_attention_weights(
            plan._handle, address(tensors), address(struct), mine._handle, executor and executor._handle
        )
    )
    if workspace is None:
        spare_workspaces.append(mine)
    return result


def _answers(
    plan: Plan, weights: bool | str, entropy: bool, top: int, mass: bool, keep: list
) -> tuple[c.heed_attention_weights, AttentionWeights]:
    """Room for what is asked for; what heed does not write is 0."""
    d = plan._d
    struct = make(c.heed_attention_weights)
    heads = d.config.query_heads
    matrix = (d.sequences, heads, d.longest_query if d.ragged else d.queries, d.scores_shape[-1])
    answers: dict[str, Any] = {}

    def room(name: str, shape: tuple[int, ...], element: str) -> int:
        answers[name] = plan._empty(shape, element)
        answers[name][...] = 0
        return read(answers[name], name)[0]

    if weights:
        dtype = computing_type("f32" if weights is True else weights, "weights")
        struct.weights.data, struct.weights.type = room("weights", matrix, dtype.name), dtype.number
        keep.append(c.heed_weight_layout(matrix[1] * matrix[2] * matrix[3], matrix[2] * matrix[3], matrix[3]))
        struct.layout = address(keep[-1])
    if entropy:
        struct.entropy = room("entropy", d.lse_shape, "f32")
    if top:
        struct.top = top
        struct.top_weights = room("top_weights", (*d.lse_shape, max(top, 0)), "f32")
        struct.top_keys = room("top_keys", (*d.lse_shape, max(top, 0)), "int32")
    if mass:
        struct.mass = room("mass", (d.sequences, heads, d.scores_shape[-1]), "f32")
        keep.append(c.heed_mass_layout(heads * matrix[3], matrix[3]))
        struct.mass_layout = address(keep[-1])
    return struct, AttentionWeights(**answers)

"""PyTorch's scaled_dot_product_attention, computed by heed.

    import heed.torch
    out = heed.torch.scaled_dot_product_attention(query, key, value, is_causal=True)

    with heed.torch.replaced():   # torch.nn.functional's is heed's meanwhile
        out = model(x)
"""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch
from torch import Tensor

from ._attention import attention
from .errors import InvalidArgument, Unsupported

_TYPES = (torch.float32, torch.float16, torch.bfloat16)

#: PyTorch's own, which versions before 2.0 do not have.
_own = getattr(torch.nn.functional, "scaled_dot_product_attention", None)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query · keyᵀ · scale + attn_mask) · value, as torch.nn.functional.scaled_dot_product_attention.

    query is [..., heads, L, E], key [..., heads, S, E] and value [..., heads, S, Ev]; with `enable_gqa` the heads of
    key and value divide those of query. `attn_mask` can be broadcast to [..., heads, L, S]: bool (True takes part),
    or floats that are added to scores. `is_causal` masks by the upper left corner, as PyTorch does: query i sees
    keys 0 … i, and excludes attn_mask. `scale` is 1/√E by default. A query that sees no key gives 0.

    Dropout, gradients (tensors that require one while gradients are computed), other devices, other types than
    float32, float16 and bfloat16, and subclasses of Tensor go to PyTorch's own function. Where this PyTorch has none
    (before 2.0), they raise heed.Unsupported with a sentence that names the reason.
    """
    tensors = (query, key, value) if attn_mask is None else (query, key, value, attn_mask)
    reason = _reason(tensors, dropout_p)
    if reason is not None:
        if _own is None:
            raise Unsupported(
                f"heed does not compute {reason}, and PyTorch {torch.__version__} has no "
                "scaled_dot_product_attention of its own"
            )
        # Older versions of PyTorch 2 do not have these.
        newer = {
            name: given for name, given in (("scale", scale), ("enable_gqa", enable_gqa or None)) if given is not None
        }
        return _own(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, **newer)
    if is_causal and attn_mask is not None:
        raise InvalidArgument("attn_mask must not be given where is_causal is True")
    for name, tensor in (("query", query), ("key", key), ("value", value), ("attn_mask", attn_mask)):
        if tensor is not None and tensor.dim() < 2:
            raise InvalidArgument(f"{name} has {tensor.dim()} dimensions; it must have 2 or more")
    q, k, v = _four(query, key, value, enable_gqa)
    mask = bias = None
    if attn_mask is not None:
        heads = attn_mask.shape[-3] if attn_mask.dim() > 2 else 1
        full = (q.shape[1], q.shape[2], k.shape[2])
        if any(a not in (1, b) for a, b in zip((heads, *attn_mask.shape[-2:]), full)):
            raise InvalidArgument(
                f"attn_mask has the shape {tuple(attn_mask.shape)}, which does not broadcast to "
                f"{(*query.shape[:-3], *full)}"
            )
        shared = _batched(attn_mask, query.shape[:-3], heads, "attn_mask")
        mask, bias = (shared, None) if attn_mask.dtype is torch.bool else (None, _floats(shared))
    out = attention(q, k, v, layout="bhsd", causal=is_causal, alignment="start", scale=scale, mask=mask, bias=bias)
    return out if query.dim() == 4 else out.reshape(*query.shape[:-1], value.shape[-1])


@contextlib.contextmanager
def replaced() -> Iterator[None]:
    """Makes torch.nn.functional.scaled_dot_product_attention heed's, in all threads, until the block ends."""
    name, functions = "scaled_dot_product_attention", torch.nn.functional
    before = getattr(functions, name, None)
    setattr(functions, name, scaled_dot_product_attention)
    try:
        yield
    finally:
        if before is None:
            delattr(functions, name)
        else:
            setattr(functions, name, before)


def _reason(tensors: tuple[Tensor, ...], dropout_p: float) -> str | None:
    """What heed leaves to PyTorch; None where there is nothing."""
    if dropout_p > 0:
        return f"dropout (dropout_p is {dropout_p})"
    for tensor in tensors:
        if type(tensor) not in (Tensor, torch.nn.Parameter):
            return f"on a {type(tensor).__name__}"
        if tensor.device.type != "cpu":
            return f"on the device {tensor.device}"
        if tensor.requires_grad and torch.is_grad_enabled():
            return "gradients (a tensor requires one; call it under torch.no_grad())"
    for tensor in tensors[:3]:
        if tensor.dtype not in _TYPES:
            return f"with {tensor.dtype}"
    return None


def _four(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The tensors as [batch, heads, tokens, dim]; whole vectors, copied only where they have gaps."""
    heads = query.shape[-3] if query.dim() > 2 else 1
    for name, tensor in (("key", key), ("value", value)):
        count = tensor.shape[-3] if tensor.dim() > 2 else 1
        if count not in (1, heads) and not enable_gqa:
            raise InvalidArgument(
                f"{name} has {count} heads and query {heads}; enable_gqa must be True where they " "differ"
            )
    kv_heads = max(t.shape[-3] if t.dim() > 2 else 1 for t in (key, value))
    batch = query.shape[:-3]
    return (
        _batched(query, batch, heads, "query"),
        _batched(key, batch, kv_heads, "key"),
        _batched(value, batch, kv_heads, "value"),
    )


def _batched(tensor: Tensor, batch: torch.Size, heads: int, name: str) -> Tensor:
    """A tensor as [batch, heads, rows, columns], its leading dimensions broadcast to those of the query."""
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        tensor = tensor.contiguous()
    if tensor.shape[:-2] == (*batch, heads) and len(batch) == 1:
        return tensor
    matrix = tensor.shape[-2:]
    try:
        spread = tensor.expand(*batch, heads, *matrix)
    except RuntimeError:
        raise InvalidArgument(
            f"{name} has the shape {tuple(tensor.shape)}, which does not broadcast to " f"{(*batch, heads, *matrix)}"
        ) from None
    return spread if len(batch) == 1 else spread.reshape(batch.numel(), heads, *matrix)


def _floats(mask: Tensor) -> Tensor:
    """A bias of a type that heed adds."""
    return mask if mask.dtype in _TYPES else mask.to(torch.float32)

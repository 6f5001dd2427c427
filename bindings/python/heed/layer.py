"""An attention layer of a language model on a paged cache: projections, norms, rotary embedding, attention.

    HEED_LIBRARY=libheed_layer_c.so.1 python …

It needs OpenBLAS, and so a library of its own, libheed_layer_c, which has all of libheed_c besides: HEED_LIBRARY names
it before heed is imported. heed/layer.h has the formula and the order of operations.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int64
from typing import Any, Iterable, NamedTuple, Sequence

from . import _layer_structs as c
from . import _structs
from ._cache import KvCache
from ._describe import c_float
from ._library import Handle, address, check, declare_layer, lib, make, text_of
from ._options import UNLIMITED, pair, real, whole
from ._plan import Executor, run_options
from ._rotary import Rotary
from ._tensors import View, read, read_output, require_f32, vector
from .errors import InvalidArgument

__all__ = ["AttentionStep", "LayerConfig", "MultiHeadAttention", "project", "RmsNorm"]

declare_layer()


class RmsNorm(NamedTuple):
    """The norm of queries or keys before they turn, as heed.normalise_heads takes it."""

    weight: Any = None  #: float32 [head_dim]; 1 where there is none
    weight_offset: float = 0.0  #: added to weights, 1 in Gemma
    epsilon: float = 1e-6


class LayerConfig(NamedTuple):
    """What a model fixes of its attention layers. The sizes of heads may have nothing to do with `dim`."""

    dim: int  #: of hidden states
    query_heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int = 0  #: 0: head_dim
    causal: bool = False
    window_left: int | None = None  #: keys visible before a query's position; None: all
    window_right: int | None = None
    keep_first: int = 0  #: first keys that window_left does not hide
    scale: float | None = None  #: 1 / √head_dim where it is None
    temperature: float = 1.0
    rotary: Rotary | None = None  #: of queries and keys


def project(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    out: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> Any:
    """x · weightᵀ + bias, through OpenBLAS: float32 [tokens, inputs], [outputs, inputs] and [outputs], without gaps.
    The result is `out`, which may not overlap x, or a new tensor. Where OpenBLAS is set to one thread, workers of
    `executor` share the work."""
    view, weights = read(x, "x"), read(weight, "weight")
    tokens, (outputs, inputs) = _extents(view, "x")[0], _extents(weights, "weight")
    _matrix(weights, "weight", (outputs, inputs))
    _matrix(view, "x", (tokens, inputs))
    out, target = _output(view, out, (tokens, outputs))
    biases = None if bias is None else vector(bias, "bias", outputs)
    linear = make(c.heed_linear, weight=weights[0], bias=biases and biases[0], outputs=outputs, inputs=inputs)
    options = run_options(executor, workers, isa)
    check(lib.heed_project(address(linear), tokens, view[0], target[0], address(options)))
    return out


class AttentionStep(Handle):
    """The new tokens of many sequences, and what all layers need to know of them. For one thread at a time."""

    __slots__ = ("_config", "_executor", "_cache")
    _name = "attention_step"

    def __init__(
        self, config: LayerConfig, *, executor: Executor | None = None, workers: int = 0, isa: str | None = None
    ) -> None:
        """An empty step of layers of this configuration. The options are those of all that runs."""
        keep: list = []
        struct, options = _config(config, keep), run_options(executor, workers, isa)
        super().__init__(address(struct), address(options))
        self._config, self._executor = config, executor  # which the library only points to
        self._cache: KvCache | None = None

    def prepare(self, cache: KvCache, sequences: Iterable[tuple[int, int]]) -> None:
        """Prepares a step of these sequences, each with its number of new tokens, its last ones, for which
        cache.extend has made room. The cache must not change until the last layer is through. A call that fails
        changes nothing."""
        if not isinstance(cache, KvCache):
            raise InvalidArgument(f"cache is a {type(cache).__name__}; it must be a heed.KvCache")
        pairs = [pair("sequences", given) for given in sequences]
        tokens = (c.heed_step_tokens * len(pairs))(
            *(c.heed_step_tokens(whole("sequence", id, 32), whole("tokens", count)) for id, count in pairs)
        )
        check(lib.heed_attention_step_prepare(self._handle, cache._handle, address(tokens), len(tokens)))
        self._cache = cache

    @property
    def tokens(self) -> int:
        """The new tokens of all sequences: the rows of x."""
        return self._number("tokens", c_int64)

    def describe(self) -> str:
        """The plan of its attention in words."""
        return text_of(lib.heed_attention_step_describe, self._handle)


class MultiHeadAttention(Handle):
    """One layer. Several threads may use it at once, with a step each."""

    __slots__ = ("_dim", "_keep")
    _name = "multi_head_attention"

    def __init__(
        self,
        config: LayerConfig,
        *,
        wq: Any,
        wk: Any,
        wv: Any,
        wo: Any,
        bq: Any = None,
        bk: Any = None,
        bv: Any = None,
        bo: Any = None,
        q_norm: RmsNorm | None = None,
        k_norm: RmsNorm | None = None,
    ) -> None:
        """Weights are float32 [outputs, inputs] without gaps, as torch.nn.Linear has them, and are not copied: wq
        [query_heads · head_dim, dim], wk and wv for the key/value heads, wo [dim, query_heads · value_head_dim];
        biases are [outputs]."""
        keep: list = []
        struct = _config(config, keep)
        values = config.value_head_dim or config.head_dim
        weights = make(c.heed_layer_weights)
        for letter, weight, bias, outputs, inputs in (
            ("q", wq, bq, config.query_heads * config.head_dim, config.dim),
            ("k", wk, bk, config.kv_heads * config.head_dim, config.dim),
            ("v", wv, bv, config.kv_heads * values, config.dim),
            ("o", wo, bo, config.dim, config.query_heads * values),
        ):
            view = _matrix(read(weight, "w" + letter), "w" + letter, (outputs, inputs))
            setattr(weights, "w" + letter, view[0])
            keep += (weight, view)
            if bias is not None:
                view = vector(bias, "b" + letter, outputs)
                setattr(weights, "b" + letter, view[0])
                keep += (bias, view)
        for name, norm in (("q_norm", q_norm), ("k_norm", k_norm)):
            if norm is not None:
                setattr(weights, name, address(_norm(norm, name, config.head_dim, keep)))
        super().__init__(address(struct), address(weights))
        self._dim, self._keep = config.dim, keep

    def forward(self, step: AttentionStep, x: Any, *, layer: int = 0, out: Any = None) -> Any:
        """The layer's output for the hidden states x of the step's tokens, float32 [tokens, dim] without gaps both.
        Writes the keys and values of the tokens to the pages of layer number `layer` of the step's cache. The result is
        `out`, which may be x, or a new tensor."""
        if not isinstance(step, AttentionStep) or step._cache is None:
            raise InvalidArgument("step must be an AttentionStep, and prepared")
        shape = (step.tokens, self._dim)
        view = _matrix(read(x, "x"), "x", shape)
        out, target = _output(view, out, shape)
        pages = step._cache._layer_pages(layer)
        check(lib.heed_multi_head_attention_forward(self._handle, step._handle, address(pages), view[0], target[0]))
        return out


def _extents(view: View, name: str) -> tuple[int, int]:
    """Those of a matrix."""
    if len(view[1]) != 2:
        raise InvalidArgument(f"{name} has {len(view[1])} dimensions; it must have 2")
    return view[1][0], view[1][1]


def _matrix(view: View, name: str, shape: tuple[int, int]) -> View:
    """The view, of float32 elements that lie one after the other."""
    require_f32(view, name)
    _, extents, strides, kind, _, _ = view
    gaps = any(
        extent > 1 and stride * kind.unit != wanted * kind.size
        for extent, stride, wanted in zip(extents, strides, (shape[1], 1))
    )
    if tuple(extents) != shape or (gaps and 0 not in shape):
        raise InvalidArgument(f"{name} must have the shape {shape}, without gaps; its shape is {tuple(extents)}")
    return view


def _output(like: View, out: Any, shape: tuple[int, int]) -> tuple[Any, View]:
    """`out`, or a new tensor of the same library, and its view."""
    if out is None:
        out = like[3].empty(shape, "f32")
    return out, _matrix(read_output(out, "out"), "out", shape)


def _norm(norm: RmsNorm, name: str, head_dim: int, keep: list) -> _structs.heed_rms_norm:
    if not isinstance(norm, RmsNorm):
        raise InvalidArgument(f"{name} is a {type(norm).__name__}; it must be a heed.layer.RmsNorm")
    struct = make(
        _structs.heed_rms_norm,
        weight_offset=real(f"{name}.weight_offset", norm.weight_offset),
        epsilon=real(f"{name}.epsilon", norm.epsilon),
    )
    if norm.weight is not None:
        view = vector(norm.weight, f"{name}.weight", head_dim)
        struct.weight = view[0]
        keep += (norm.weight, view)
    keep.append(struct)
    return struct


def _config(given: LayerConfig, keep: list) -> ctypes.Structure:
    """The struct of a configuration, which points to what `keep` holds."""
    if not isinstance(given, LayerConfig):
        raise InvalidArgument(f"config is a {type(given).__name__}; it must be a heed.layer.LayerConfig")
    sizes: Sequence[str] = ("query_heads", "kv_heads", "head_dim", "value_head_dim", "keep_first")
    attention = make(
        _structs.heed_attention_config,
        causal=int(bool(given.causal)),
        window_left=UNLIMITED if given.window_left is None else whole("window_left", given.window_left),
        window_right=UNLIMITED if given.window_right is None else whole("window_right", given.window_right),
        temperature=real("temperature", given.temperature),
        **{name: whole(name, getattr(given, name)) for name in sizes},
    )
    if given.scale is not None:
        keep.append(c_float("scale", given.scale))
        attention.scale = address(keep[-1])
    keep.append(attention)
    return make(
        c.heed_layer_config,
        dim=whole("dim", given.dim),
        attention=address(attention),
        rotary=given.rotary and given.rotary._handle,
    )

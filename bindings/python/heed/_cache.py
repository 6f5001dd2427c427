"""Paged caches of keys and values, and page tables for storage of one's own."""

from __future__ import annotations

import array
import ctypes
from ctypes import c_int32, c_int64, c_size_t
from typing import Any, NamedTuple, Sequence

from . import _structs as c
from ._attention import attention
from ._describe import scale_layout, side_of
from ._library import Handle, address, check, lib, make
from ._options import choice, whole
from ._plan import Executor, run_options
from ._rotary import Rotary
from ._tensors import (
    ELEMENT_TYPES,
    ElementType,
    axes_of,
    contiguous,
    element_type,
    int_array,
    integers,
    named_type,
    read,
    read_output,
    require_like,
)
from .errors import InvalidArgument


#: What stands in the place of a page that a sequence has given back by forget.
FORGOTTEN_PAGE = -1


class PageCopy(NamedTuple):
    """The first `tokens` tokens of page `source` must be copied to page `target`; 0 tokens: nothing."""

    source: int
    target: int
    tokens: int


class _Sequences(Handle):
    """Sequences of tokens on pages that they share. A call that fails changes nothing.

    Not for several threads at once, save for calls that only read.
    """

    __slots__ = ("_pages", "_page_tokens")
    _pages: int
    _page_tokens: int

    def _call(self, function: str, *arguments: Any) -> None:
        check(getattr(lib, f"heed_{self._name}_{function}")(self._handle, *arguments))

    def add(self) -> int:
        """A new, empty sequence; the number that it goes by, which is used again after remove."""
        number = c_int32()
        self._call("add", ctypes.byref(number))
        return number.value

    def begin(self, tokens: Any) -> tuple[int, int]:
        """A new sequence for a text with these tokens, integers of 32 bits: its number, and how many of the tokens, the
        first ones, it has already. The others follow by extend. Needs prefixes=True.

        It shares the whole pages of earlier texts that begin alike, ended ones included, as far as they were
        published and are still there; at least one token is left to compute. Published pages that no sequence holds
        are kept until there is no other free page, and then the one goes first that no sequence has held for longest.
        """
        numbers, sequence, found = int_array(integers(tokens, "tokens")), c_int32(), c_int64()
        self._call("begin", address(numbers), len(numbers), ctypes.byref(sequence), ctypes.byref(found))
        return sequence.value, found.value

    def publish(self, sequence: int, tokens: Any) -> None:
        """Says what the first tokens of a sequence are, from the first on, whose keys and values have been written in
        every layer: begin finds full pages of them. Of a growing text only what is new is looked at. Needs
        prefixes=True."""
        numbers = int_array(integers(tokens, "tokens"))
        self._call("publish", whole("sequence", sequence, 32), address(numbers), len(numbers))

    def forget(self, sequence: int, tokens: int, keep_first: int = 0) -> None:
        """Gives back the pages that hold only tokens before `tokens`, but for the first `keep_first` ones: no later
        query sees them through its window (`window_left`, `keep_first` of heed.attention).

        The sequence keeps its length and its positions; pages and page tables have FORGOTTEN_PAGE there, and
        attention that would see one of these keys is refused. Nothing that was forgotten comes back.
        """
        numbers = whole("tokens", tokens), whole("keep_first", keep_first)
        self._call("forget", whole("sequence", sequence, 32), *numbers)

    def fork(self, sequence: int, tokens: int) -> int:
        """A new sequence that shares the first `tokens` tokens of another, and needs no page for them. They may not end
        within a page that was forgotten, nor may those of truncate."""
        child = c_int32()
        self._call("fork", whole("sequence", sequence, 32), whole("tokens", tokens), ctypes.byref(child))
        return child.value

    def truncate(self, sequence: int, tokens: int) -> None:
        """Forgets all but the first `tokens` tokens, for instance those that were speculated in vain."""
        self._call("truncate", whole("sequence", sequence, 32), whole("tokens", tokens))

    def remove(self, sequence: int) -> None:
        """Ends a sequence; pages that no other sequence shares are free again."""
        self._call("remove", whole("sequence", sequence, 32))

    def tokens(self, sequence: int) -> int:
        """The tokens of a sequence; −1 where its number is not in use."""
        count = c_int64()
        self._call("tokens", whole("sequence", sequence, 32), ctypes.byref(count))
        return count.value

    def pages(self, sequence: int) -> list[int]:
        """The pages of a sequence, in the order of its tokens, FORGOTTEN_PAGE among them; none where its number is not
        in use."""
        return self._list("pages", c_int32, whole("sequence", sequence, 32))

    @property
    def free_pages(self) -> int:
        """The pages that no sequence holds, those that begin could find included."""
        return self._number("free_pages", c_int64)

    def block_table(self, sequences: Sequence[int]) -> Any:
        """The page table of a batch, int32 [sequences, pages of the longest], for heed.attention's `page_table`."""
        ids = int_array(integers(sequences, "sequences"))
        width = max(1, *(-(-self.tokens(number) // self._page_tokens) for number in ids)) if len(ids) else 1
        table = Memory.of(array.array("i", bytes(4 * len(ids) * width)), "int32", (len(ids), width))
        self._call("block_table", address(ids), len(ids), width, table.address, len(ids) * width)
        return table

    def page_lists(self, sequences: Sequence[int]) -> tuple[Any, Any]:
        """The page table of a batch as CSR: `page_indptr` and `page_table` of heed.attention, arrays of int32."""
        ids = int_array(integers(sequences, "sequences"))
        count = sum(len(self.pages(number)) for number in ids)
        indptr = array.array("i", bytes(4 * (len(ids) + 1)))
        indices = array.array("i", bytes(4 * count))
        self._call("page_lists", address(ids), len(ids), indptr.buffer_info()[0], indices.buffer_info()[0], count)
        return Memory.of(indptr, "int32", (len(ids) + 1,)), Memory.of(indices, "int32", (count,))

    def shared_prefixes(self, sequences: Sequence[int]) -> list[int]:
        """How many tokens, the first ones, each sequence of a batch has in common with the one before it."""
        ids = int_array(integers(sequences, "sequences"))
        prefixes = (c_int32 * len(ids))()
        self._call("shared_prefixes", address(ids), len(ids), address(prefixes))
        return list(prefixes)


class PagedSequences(_Sequences):
    """Which page holds what, for pools of pages that the caller has; KvCache has memory too."""

    __slots__ = ()
    _name = "paged_sequences"

    def __init__(
        self, pages: int, page_tokens: int, sequences: int, sequence_tokens: int = 0, prefixes: bool = False
    ) -> None:
        """`sequences` at once, of at most `sequence_tokens` tokens each (0: as many as the pages hold). `prefixes`:
        whether pages can be found by their tokens."""
        budget = make(
            c.heed_page_budget,
            pages=whole("pages", pages),
            page_tokens=whole("page_tokens", page_tokens),
            sequences=whole("sequences", sequences),
            sequence_tokens=whole("sequence_tokens", sequence_tokens),
            prefixes=int(bool(prefixes)),
        )
        super().__init__(address(budget))
        self._pages, self._page_tokens = budget.pages, budget.page_tokens

    def extend(self, sequence: int, tokens: int) -> tuple[array.array, PageCopy]:
        """Makes room for more tokens: their slots, page · page_tokens + offset, and what must be copied before
        anything is written to them."""
        slots, copy = _slots(tokens), c.heed_page_copy()
        self._call("extend", whole("sequence", sequence, 32), slots.buffer_info()[0], len(slots), address(copy))
        return slots, PageCopy(getattr(copy, "from"), copy.to, copy.tokens)


def _slots(tokens: int) -> array.array:
    count = whole("tokens", tokens)
    if count < 0:
        raise InvalidArgument(f"tokens ({count}) must be 0 or more")
    return array.array("q", bytes(8 * count))


class Memory:
    """Elements that heed keeps, or that it made without NumPy, as what has __array_interface__: numpy.asarray(memory)
    shows them. Elements that NumPy has no name for are uint8, or uint16."""

    __slots__ = ("address", "shape", "element", "_strides", "_owner")
    _TYPESTRS = {"float32": "<f4", "float16": "<f2", "uint16": "<u2", "int8": "|i1", "uint8": "|u1", "int32": "<i4"}

    def __init__(self, where: int, element: str, shape: tuple[int, ...], strides: tuple[int, ...], owner: Any) -> None:
        self.address, self.element, self.shape, self._strides, self._owner = where, element, shape, strides, owner

    @classmethod
    def of(cls, values: array.array, element: str, shape: tuple[int, ...]) -> Memory:
        """The elements of an array, without gaps."""
        return cls(values.buffer_info()[0], element, shape, contiguous(shape, values.itemsize), values)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {
            "version": 3,
            "data": (self.address, False),
            "typestr": self._TYPESTRS[self.element],
            "shape": self.shape,
            "strides": self._strides,
            "owner": self._owner,
        }


class KvPages(NamedTuple):
    """The pages of one layer, [page, heads, tokens, dim] or in the order that the cache was made with, and their
    scales, [page, heads, tokens, 1], where keys or values are int8 or int4."""

    k: Any
    v: Any
    k_scales: Any = None
    v_scales: Any = None
    k_zero_points: Any = None
    v_zero_points: Any = None


#: What shows elements of heed's types in arrays of NumPy.
_SHOWN = {"f32": "float32", "f16": "float16", "bf16": "uint16", "int8": "int8"}


class KvCache(_Sequences):
    """Paged sequences with the memory of their keys and values, in all layers. Nothing is allocated later."""

    __slots__ = ("layout", "layers", "k_type", "v_type", "_heads", "_k_dim", "_v_dim")
    _name = "kv_cache"

    def __init__(
        self,
        *,
        pages: int,
        page_tokens: int,
        kv_heads: int,
        head_dim: int,
        value_head_dim: int = 0,
        layers: int = 1,
        sequences: int,
        sequence_tokens: int = 0,
        layout: str = "bhsd",
        k_type: str = "f32",
        v_type: str = "f32",
        k_zero_points: bool = False,
        v_zero_points: bool = False,
        prefixes: bool = False,
    ) -> None:
        """`layout`: of a page, [heads, tokens, dim] ("bhsd") or [tokens, heads, dim] ("bshd"). `sequences` at once,
        of at most `sequence_tokens` tokens each (0: as many as the pages hold). Types are any of heed's; those of
        int8 and int4 have a scale for each token and head, and zero points where asked for. `prefixes`: whether
        pages can be found by their tokens."""
        choice("layout", layout, ("bshd", "bhsd"))
        pool = make(c.heed_paged_layout)
        self.layout, self.layers = layout, whole("layers", layers)
        self.k_type, self.v_type = k_type, v_type
        self._pages, self._page_tokens, self._heads = (
            whole(name, value)
            for name, value in (("pages", pages), ("page_tokens", page_tokens), ("kv_heads", kv_heads))
        )
        self._k_dim = whole("head_dim", head_dim)
        self._v_dim = whole("value_head_dim", value_head_dim) or self._k_dim
        pool.pages, pool.page_tokens, pool.kv_heads = self._pages, self._page_tokens, self._heads
        pool.head_dim, pool.value_head_dim = self._k_dim, self._v_dim
        pool.k, pool.v = (c.heed_page_strides(*self._strides(dim)) for dim in (self._k_dim, self._v_dim))
        config = make(
            c.heed_kv_cache_config,
            layout=address(pool),
            layers=self.layers,
            sequences=whole("sequences", sequences),
            sequence_tokens=whole("sequence_tokens", sequence_tokens),
            k_type=named_type(k_type, "k_type").number,
            v_type=named_type(v_type, "v_type").number,
            k_zero_points=int(bool(k_zero_points)),
            v_zero_points=int(bool(v_zero_points)),
            prefixes=int(bool(prefixes)),
        )
        super().__init__(address(config))

    def _strides(self, dim: int) -> tuple[int, int, int]:
        """From page to page, token to token and head to head, in elements."""
        tokens, heads = self._page_tokens, self._heads
        token, head = (heads * dim, dim) if self.layout == "bshd" else (dim, tokens * dim)
        strides = (tokens * heads * dim, token, head)
        if max(abs(stride) for stride in strides) >= 1 << 63:
            raise InvalidArgument(f"pages of {tokens} tokens of {heads} heads of {dim} reach beyond the address space")
        return strides

    @property
    def bytes(self) -> int:
        """Of the memory for keys, values and scales."""
        return self._number("bytes", c_size_t)

    def extend(self, sequence: int, tokens: int) -> array.array:
        """Makes room for more tokens, and gives their slots, page · page_tokens + offset. Raises Exhausted where the
        pages do not suffice."""
        slots = _slots(tokens)
        self._call("extend", whole("sequence", sequence, 32), slots.buffer_info()[0], len(slots))
        return slots

    def layer(self, index: int = 0) -> KvPages:
        """The pages of a layer, as tensors for heed.attention and heed.append."""
        pages = self._layer_pages(index)
        k_scales, v_scales = pages.k_scales, pages.v_scales
        return KvPages(
            self._vectors(pages.k.data, self.k_type, self._k_dim, self.layout),
            self._vectors(pages.v.data, self.v_type, self._v_dim, self.layout),
            *(
                self._vectors(data, "f32", 1, "bshd") if data else None
                for data in (k_scales.scales, v_scales.scales, k_scales.zero_points, v_scales.zero_points)
            ),
        )

    def _layer_pages(self, index: int) -> c.heed_kv_pages:
        """The pages of a layer as C has them."""
        pages = make(c.heed_kv_pages)
        self._call("layer", whole("layer", index), address(pages))
        if not pages.k.data:
            raise InvalidArgument(f"layer ({index}) must be from 0 to {self.layers - 1}")
        return pages

    def _vectors(self, where: int, type_name: str, dim: int, order: str) -> Memory:
        """A vector of so many elements for each page, token and head, which lie in this order, and show in that of
        the cache."""
        dtype = ELEMENT_TYPES[type_name]
        tokens, heads = self._page_tokens, self._heads
        size = dim // dtype.block_elements * dtype.block_bytes
        token, head = (heads * size, size) if order == "bshd" else (size, tokens * size)
        element = _SHOWN.get(type_name, "uint8")
        unit = {"float32": 4, "float16": 2, "uint16": 2}.get(element, 1)
        axes, steps = ((tokens, heads), (token, head)) if self.layout == "bshd" else ((heads, tokens), (head, token))
        return Memory(where, element, (self._pages, *axes, size // unit), (tokens * heads * size, *steps, unit), self)

    def append(
        self,
        k: Any,
        v: Any,
        slots: Any,
        *,
        layer: int = 0,
        layout: str = "bshd",
        rotary: Rotary | None = None,
        positions: Any = None,
        executor: Executor | None = None,
        workers: int = 0,
        isa: str | None = None,
    ) -> None:
        """Writes the keys and values of new tokens to their slots, as heed.append."""
        append(
            self.layer(layer),
            k,
            v,
            slots,
            layout=layout,
            kv_layout=self.layout,
            k_type=self.k_type,
            v_type=self.v_type,
            rotary=rotary,
            positions=positions,
            executor=executor,
            workers=workers,
            isa=isa,
        )

    def attention(
        self, q: Any, sequences: Sequence[int], *, layer: int = 0, share_prefixes: bool = True, **options: Any
    ) -> Any:
        """Attention of queries to the tokens of these sequences, one for each of the batch; all else is as in
        heed.attention, `causal` and `query_offsets` among it. Prefixes that neighbours share are read once."""
        pages = self.layer(layer)
        if share_prefixes:
            options.setdefault("shared_prefixes", self.shared_prefixes(sequences))
        lengths = [self.tokens(number) for number in int_array(integers(sequences, "sequences"))]
        return attention(
            q,
            *pages[:2],
            kv_layout=self.layout,
            k_type=self.k_type,
            v_type=self.v_type,
            k_scales=pages.k_scales,
            v_scales=pages.v_scales,
            k_zero_points=pages.k_zero_points,
            v_zero_points=pages.v_zero_points,
            page_table=self.block_table(sequences),
            key_lengths=lengths,
            **options,
        )


def append(
    pages: KvPages,
    k: Any,
    v: Any,
    slots: Any,
    *,
    layout: str = "bshd",
    kv_layout: str | None = None,
    k_type: str | None = None,
    v_type: str | None = None,
    rotary: Rotary | None = None,
    positions: Any = None,
    executor: Executor | None = None,
    workers: int = 0,
    isa: str | None = None,
) -> None:
    """Writes the keys and values of new tokens to their slots (page · page_tokens + offset) in pools of pages.

    k and v are [tokens, heads, dim], or [heads, tokens, dim] with layout="bhsd", in float32, float16 or bfloat16;
    `pages` holds pools [page, tokens, heads, dim], or in the order of `kv_layout`, of any type, which k_type and
    v_type name where bytes hold it. Keys turn by `rotary` at `positions`, one per token, on their way. A token whose
    slot is negative is skipped. Scales that belong to one token alone are written, others are read.
    """
    keep: list = []
    struct, pool = make(c.heed_kv_pages), make(c.heed_paged_layout)
    tokens = make(c.heed_new_tokens)
    order = kv_layout or layout
    sides, fresh = [], []
    for name, target, source, given in (("k", pages.k, k, k_type), ("v", pages.v, v, v_type)):
        view, new = read_output(target, f"pages.{name}"), read(source, name)
        dtype, new_type = element_type(view, given, f"pages.{name}"), element_type(new, None, name)
        sides.append(side_of(axes_of(view, dtype, f"pages.{name}"), f"pages.{name}", order, False))
        fresh.append(side_of(axes_of(new, new_type, name), name, layout, True))
        _point(getattr(struct, name), view[0], dtype)
        _point(getattr(tokens, name), new[0], new_type)
        setattr(tokens, name + "_layout", address(fresh[-1].layout))
        place = sides[-1].layout
        setattr(pool, name, c.heed_page_strides(place.sequence_stride, place.token_stride, place.head_stride))
        keep += (view, new)
        _append_scales(struct, pool, pages, name, sides[-1], dtype, order, keep)
    _check_append(sides, fresh)
    pool.pages, pool.page_tokens, pool.kv_heads, pool.head_dim = sides[0][:4]
    pool.value_head_dim = sides[1].dim
    for name, values in (("slots", slots), ("positions", positions)):
        if values is not None:
            numbers = int_array(integers(values, name, 8), 8)
            keep.append(numbers)
            setattr(tokens, name, address(numbers))
            setattr(tokens, name + "_count", len(numbers))
    if tokens.slots_count != fresh[0].tokens:
        raise InvalidArgument(
            f"slots has {tokens.slots_count} entries; there must be one for each of {fresh[0].tokens} " "tokens"
        )
    tokens.rotary = rotary and rotary._handle
    options = run_options(executor, workers, isa)
    check(lib.heed_append(address(pool), address(struct), address(tokens), address(options)))


def _point(data: Any, where: int, dtype: ElementType) -> None:
    data.data, data.type = where, dtype.number


def _check_append(sides: list, fresh: list) -> None:
    """What pools and new tokens must have in common, so that nothing outside of them is touched."""
    if sides[0][:3] != sides[1][:3]:
        raise InvalidArgument(
            f"pages.v has {sides[1][:3]} pages, tokens and heads; they must be those of pages.k " f"{sides[0][:3]}"
        )
    for name, side, new in zip("kv", sides, fresh):
        if (new.heads, new.dim) != (side.heads, side.dim):
            raise InvalidArgument(
                f"{name} has {new.heads} heads of {new.dim}; pages.{name} has {side.heads} of " f"{side.dim}"
            )
    if fresh[0].tokens != fresh[1].tokens:
        raise InvalidArgument(f"v has {fresh[1].tokens} tokens; k has {fresh[0].tokens}")


def _append_scales(
    struct: c.heed_kv_pages,
    pool: c.heed_paged_layout,
    pages: KvPages,
    name: str,
    side: Any,
    dtype: ElementType,
    order: str,
    keep: list,
) -> None:
    """Where scales and zero points of a pool go."""
    scales, zeros = getattr(pages, name + "_scales"), getattr(pages, name + "_zero_points")
    if scales is None:
        if dtype.scaled:
            raise InvalidArgument(f"pages.{name}_scales must be given: codes of {dtype.name} mean nothing without")
        return
    view = read_output(scales, f"pages.{name}_scales")
    made = scale_layout(f"pages.{name}_scales", view, side, order)
    setattr(pool, name + "_scales", address(made))
    target = getattr(struct, name + "_scales")
    target.scales = view[0]
    keep += (view, made)
    if zeros is not None:
        zero_view = read_output(zeros, f"pages.{name}_zero_points")
        require_like(zero_view, view, f"pages.{name}_zero_points", f"pages.{name}_scales")
        target.zero_points = zero_view[0]
        keep.append(zero_view)

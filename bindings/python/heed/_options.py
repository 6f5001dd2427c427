"""What attention can be told beside its tensors, and the words and numbers that it is told in."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from ._tensors import integers
from .errors import InvalidArgument

#: Not a limit: of a window's side.
UNLIMITED = 2**63 - 1


class KeyMask(NamedTuple):
    """A mask whose elements stand for more than one query or key, that is packed, or of the last keys alone.

    `data` reads as [batch, heads, query blocks, key blocks], with 1 for what is shared and first axes left out;
    ragged queries have no batch axis. Its elements are bool or bytes (0: hidden), or floats of 0 (visible) and −inf
    (hidden). With `bits` they are bytes of 8 keys each, the lowest bit first.
    """

    data: Any
    bits: bool = False
    query_block: int = 1  #: queries that share an element
    key_block: int = 1  #: keys that share an element
    last_keys: int = 0  #: the mask is of so many keys, the last ones of each sequence; 0: of all


class KeyLists(NamedTuple):
    """The keys that each query sees: those of query i are keys[offsets[i]] … keys[offsets[i + 1] − 1].

    `offsets` has one entry more than all sequences have queries; `keys` are numbers of keys in their sequence.
    """

    offsets: Any
    keys: Any


class KeyShard(NamedTuple):
    """Which keys of longer sequences k and v are: a number for all sequences, or one for each.

    `first_key` is the position of the first key here, a multiple of 256, `whole_length` the number of all keys.
    """

    first_key: Any
    whole_length: Any


class Options(NamedTuple):
    """What heed.attention takes beside tensors and modifiers, under the same names, hashable but for mask and
    key_lists."""

    layout: str = "bshd"
    kv_layout: str | None = None
    causal: bool = False
    alignment: str = "end"
    window_left: int | None = None
    window_right: int | None = None
    keep_first: int = 0
    scale: float | None = None
    temperature: float = 1.0
    products: str = "automatic"
    q_type: str | None = None
    k_type: str | None = None
    v_type: str | None = None
    out_type: str | None = None
    query_lengths: Any = None
    key_lengths: Any = None
    query_offsets: Any = None
    key_offsets: Any = None
    paged: bool = False
    shared_prefixes: Any = None
    visible_prefixes: Any = None
    shard: KeyShard | None = None
    isa: str | None = None
    workers: int = 0
    tile_keys: int = 0
    item_rows: int = 0

    def hashable(self) -> Options:
        """The same with arrays of numbers as bytes."""
        arrays = ("query_lengths", "key_lengths", "query_offsets", "key_offsets", "shared_prefixes", "visible_prefixes")
        changes: dict[str, Any] = {
            name: integers(getattr(self, name), name) for name in arrays if getattr(self, name) is not None
        }
        if self.shard is not None:
            first, whole_length = pair("shard", self.shard)
            changes["shard"] = KeyShard(
                *(value if isinstance(value, int) else integers(value, "shard") for value in (first, whole_length))
            )
        return self._replace(**changes)


def choice(name: str, given: Any, choices: Sequence[str]) -> int:
    """The number of a word in an enumeration of heed/c/*.h."""
    if given not in choices:
        raise InvalidArgument(f"{name} ({given!r}) must be one of {', '.join(choices)}")
    return choices.index(given)


def whole(name: str, given: Any, bits: int = 64) -> int:
    """An integer of so many bits."""
    try:
        number = given.__index__()
    except (AttributeError, TypeError):
        raise InvalidArgument(f"{name} ({given!r}) must be an integer") from None
    if not -(1 << (bits - 1)) <= number < 1 << (bits - 1):
        raise InvalidArgument(f"{name} ({number}) must be an integer of {bits} bits")
    return number


def real(name: str, given: Any) -> float:
    """A number, rounded to float32 by who stores it."""
    try:
        return float(given)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(f"{name} ({given!r}) must be a number") from None


def word(name: str, given: Any) -> bytes | None:
    """A name as C takes it; None is its default."""
    if given is not None and not isinstance(given, str):
        raise InvalidArgument(f"{name} ({given!r}) must be a word")
    return None if given is None else given.encode()


def pair(name: str, given: Any) -> tuple[Any, Any]:
    """The two things that a tuple has."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InvalidArgument(f"{name} ({given!r}) must be two things, as its class in heed says")
    return given[0], given[1]

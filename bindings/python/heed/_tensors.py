"""Reading tensors where they lie: NumPy arrays, PyTorch tensors, and whatever has __dlpack__ or
__array_interface__.

A view is a tuple (address, shape, strides, kind, writable, owner): strides count what the kind says,
and the owner keeps the memory alive. Arrays of NumPy and tensors of PyTorch are asked directly, which
costs a microsecond less than a capsule, and lets read-only arrays through.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any, Callable, NamedTuple, Sequence

from ._library import lib, make
from ._structs import heed_dtype_info
from .errors import InvalidArgument


class ElementType(NamedTuple):
    """One of heed_dtype: its number, and how its elements lie in memory."""

    number: int
    name: str
    block_elements: int
    block_bytes: int
    computes: bool
    scaled: bool


def _element_types() -> dict[str, ElementType]:
    types: dict[str, ElementType] = {}
    info = make(heed_dtype_info)
    while lib.heed_get_dtype_info(len(types), ctypes.addressof(info)) == 0:
        name = info.name.decode()
        types[name] = ElementType(
            len(types), name, info.block_elements, info.block_bytes, bool(info.computes), bool(info.scaled)
        )
    return types


#: heed's element types by name, in the order of heed_dtype.
ELEMENT_TYPES = _element_types()

#: What elements of arrays are called here: (name, bytes, heed's type of the same elements or none).
_ELEMENTS = {
    "float32": (4, "f32"),
    "float16": (2, "f16"),
    "bfloat16": (2, "bf16"),
    "int8": (1, "int8"),
    "float8_e4m3fn": (1, "fp8_e4m3"),
    "float8_e5m2": (1, "fp8_e5m2"),
    "uint8": (1, None),
    "uint16": (2, None),
    "int16": (2, None),
    "bool": (1, None),
    "int32": (4, None),
    "int64": (8, None),
    "uint64": (8, None),
    "float64": (8, None),
}

#: Elements that hold heed's types for want of a name of their own, where the caller says so.
_CONTAINERS = {"bf16": ("uint16", "int16"), "f16": ("uint16", "int16")}
_BYTES = ("uint8", "int8")

#: The type of an array of NumPy's that holds elements of a type.
_NUMPY_TYPES = {"f32": "float32", "f16": "float16", "bf16": "uint16", "int8": "int8"}


class Kind:
    """The elements of a library's arrays. Views of one kind count strides in the same unit."""

    __slots__ = ("element", "size", "unit", "dtype", "empty")

    def __init__(self, element: str, unit: int, empty: Callable[[Sequence[int], str], Any]) -> None:
        self.element = element
        self.size, natural = _ELEMENTS.get(element, (0, None))
        #: What a stride of 1 means, in bytes.
        self.unit = unit
        #: heed's type of the elements; None where arrays of them have no such meaning by themselves.
        self.dtype = ELEMENT_TYPES.get(natural) if natural else None
        #: empty(shape, name) makes an array of the same library for results: elements of one of heed's types, or
        #: of an element by its name here.
        self.empty = empty


#: (address, shape, strides, kind, writable, owner)
View = tuple
#: The views of q, k, v, out, lse, k_scales and v_scales; None where there is none.
Views = tuple


def read(tensor: Any, name: str) -> View:
    """The view of a tensor; `name` is what sentences call it."""
    reader = _readers.get(type(tensor)) or _reader_of(type(tensor), tensor, name)
    return reader(tensor, name)


def read_output(tensor: Any, name: str) -> View:
    """The view of a tensor that is written to."""
    view = read(tensor, name)
    if not view[4]:
        raise InvalidArgument(f"{name} is read-only, and heed would write to it")
    return view


def _reader_of(kind: type, tensor: Any, name: str) -> Callable[[Any, str], View]:
    """How tensors of a type are read; it is remembered."""
    names = [f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind.__mro__]
    if "numpy.MaskedArray" in names:
        raise InvalidArgument(f"{name} is a masked array, whose mask heed would not see")
    if names[0] in ("torch.Tensor", "torch.Parameter"):
        reader: Callable[[Any, str], View] = _torch_reader()
    elif "numpy.ndarray" in names or not hasattr(tensor, "__dlpack__"):
        if not hasattr(tensor, "__array_interface__"):
            raise InvalidArgument(
                f"{name} is a {kind.__name__}; it must be a tensor: what has __dlpack__ or "
                "__array_interface__, such as arrays of NumPy and tensors of PyTorch"
            )
        reader = _read_array
    else:
        reader = _read_dlpack
    _readers[kind] = reader
    return reader


_readers: dict[type, Callable[[Any, str], View]] = {}


# --- NumPy, and what has its interface


def numpy_empty(shape: Sequence[int], name: str) -> Any:
    """An array of NumPy's for results, as Kind.empty."""
    empty, types = _numpy_makers()
    dtype = types.get(name)
    return empty(shape, name if dtype is None else dtype)


@functools.cache
def _numpy_makers() -> tuple[Any, dict[str, Any]]:
    """What makes arrays, and the types of those that hold heed's elements."""
    try:
        import numpy
    except ImportError:
        raise InvalidArgument("there is no numpy to make an output with: give out") from None
    return numpy.empty, {name: numpy.dtype(held) for name, held in _NUMPY_TYPES.items()}


_ARRAY_ELEMENTS = {
    "<f4": "float32",
    "<f2": "float16",
    "<f8": "float64",
    "|i1": "int8",
    "|u1": "uint8",
    "|b1": "bool",
    "<u2": "uint16",
    "<i2": "int16",
    "<i4": "int32",
    "<i8": "int64",
    "<u8": "uint64",
}
_array_kinds: dict[str, Kind] = {}


def _array_kind(typestr: str, tensor: Any) -> Kind:
    # Types that packages add to NumPy, such as ml_dtypes.bfloat16, are nameless but for their dtype.
    element = _ARRAY_ELEMENTS.get(typestr) or str(getattr(tensor, "dtype", typestr))
    kind = _array_kinds.get(element)
    if kind is None:
        kind = _array_kinds[element] = Kind(element, 1, numpy_empty)
    if typestr in _ARRAY_ELEMENTS:
        _array_kinds[typestr] = kind
    return kind


def _read_array(tensor: Any, name: str) -> View:
    interface = tensor.__array_interface__
    data, shape, typestr = interface.get("data"), interface["shape"], interface["typestr"]
    kind = _array_kinds.get(typestr) or _array_kind(typestr, tensor)
    if not isinstance(data, tuple):
        raise InvalidArgument(f"{name} does not say where its elements lie: __array_interface__ has no address")
    strides = interface.get("strides")
    if strides is None:
        strides = contiguous(shape, kind.size)
    return data[0], shape, strides, kind, not data[1], interface


def contiguous(shape: Sequence[int], unit: int = 1) -> tuple[int, ...]:
    """The strides of an array without gaps, of which the last one is `unit`."""
    strides = []
    for extent in reversed(shape):
        strides.append(unit)
        unit *= extent
    return tuple(reversed(strides))


# --- PyTorch


def _torch_kinds() -> dict[Any, Kind]:
    torch = sys.modules["torch"]

    def empty(shape: Sequence[int], name: str) -> Any:
        element = next((e for e, (_, natural) in _ELEMENTS.items() if natural == name), name)
        return torch.empty(tuple(shape), dtype=getattr(torch, element))

    return {
        getattr(torch, element): Kind(element, size, empty)
        for element, (size, _) in _ELEMENTS.items()
        if hasattr(torch, element)
    }


@functools.cache
def _torch_reader() -> Callable[[Any, str], View]:
    torch = sys.modules["torch"]
    kinds, strided, grad_enabled = _torch_kinds(), torch.strided, torch.is_grad_enabled

    def refuse(tensor: Any, name: str) -> None:
        if not tensor.device.type == "cpu":
            raise InvalidArgument(f"{name} is on the device {tensor.device}; heed computes on CPUs: call {name}.cpu()")
        if tensor.layout is not strided or tensor.is_neg():
            raise InvalidArgument(
                f"{name} is a tensor of layout {tensor.layout} that does not hold its numbers one by "
                "one; heed needs torch.strided, and no pending negation"
            )
        if tensor.requires_grad and grad_enabled():
            raise InvalidArgument(
                f"{name} requires a gradient, and heed computes none: call it under "
                f"torch.no_grad(), or give {name}.detach()"
            )
        raise InvalidArgument(f"{name} is a tensor of {tensor.dtype}, which heed does not know")

    def read_torch(tensor: Any, name: str) -> View:
        kind = kinds.get(tensor.dtype)
        if (
            kind is None
            or not tensor.is_cpu
            or tensor.layout is not strided
            or tensor.is_neg()
            or (tensor.requires_grad and grad_enabled())
        ):
            refuse(tensor, name)
        return tensor.data_ptr(), tensor.shape, tensor.stride(), kind, True, None

    return read_torch


# --- DLPack


class _DLDevice(ctypes.Structure):
    _fields_ = [("device_type", c_int32), ("device_id", c_int32)]


class _DLDataType(ctypes.Structure):
    _fields_ = [("code", c_uint8), ("bits", c_uint8), ("lanes", c_uint16)]


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device", _DLDevice),
        ("ndim", c_int32),
        ("dtype", _DLDataType),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class _DLManagedTensorVersioned(ctypes.Structure):
    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("manager_ctx", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("dl_tensor", _DLTensor),
    ]


_CPU = 1
_READ_ONLY = 1
#: (code, bits) of DLDataType; float8 from DLPack 1.1 on.
_DLPACK_ELEMENTS = {
    (0, 8): "int8",
    (0, 16): "int16",
    (0, 32): "int32",
    (0, 64): "int64",
    (1, 8): "uint8",
    (1, 16): "uint16",
    (1, 64): "uint64",
    (2, 16): "float16",
    (2, 32): "float32",
    (2, 64): "float64",
    (4, 16): "bfloat16",
    (6, 8): "bool",
    (10, 8): "float8_e4m3fn",
    (12, 8): "float8_e5m2",
}
_dlpack_kinds = {code: Kind(element, _ELEMENTS[element][0], numpy_empty) for code, element in _DLPACK_ELEMENTS.items()}

_capsule_is = ctypes.pythonapi.PyCapsule_IsValid
_capsule_is.argtypes, _capsule_is.restype = (ctypes.py_object, c_char_p), c_int
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.argtypes, _capsule_pointer.restype = (ctypes.py_object, c_char_p), c_void_p


def _capsule(tensor: Any, name: str) -> Any:
    device = tensor.__dlpack_device__()[0]
    if device != _CPU:
        raise InvalidArgument(
            f"{name} is on a device of DLPack's type {int(device)}; heed computes on CPUs " f"(type {_CPU})"
        )
    try:
        try:
            return tensor.__dlpack__(max_version=(1, 1))
        except TypeError:  # it knows the first version alone
            return tensor.__dlpack__()
    except Exception as error:
        raise InvalidArgument(f"{name} does not show its elements: {error}") from error


def _read_dlpack(tensor: Any, name: str) -> View:
    """The capsule stays unused, and owned by the view: what made it takes it back."""
    capsule = _capsule(tensor, name)
    writable = True
    if _capsule_is(capsule, b"dltensor"):
        at = _DLTensor.from_address(_capsule_pointer(capsule, b"dltensor"))
    elif _capsule_is(capsule, b"dltensor_versioned"):
        managed = _DLManagedTensorVersioned.from_address(_capsule_pointer(capsule, b"dltensor_versioned"))
        if managed.major != 1:
            raise InvalidArgument(f"{name} is a DLPack of version {managed.major}; heed reads 0 and 1")
        at, writable = managed.dl_tensor, not managed.flags & _READ_ONLY
    else:
        raise InvalidArgument(f"{name} has a __dlpack__ that gives no tensor")
    if at.device.device_type != _CPU:
        raise InvalidArgument(f"{name} is on a device of DLPack's type {at.device.device_type}; heed computes on CPUs")
    kind = _dlpack_kinds.get((at.dtype.code, at.dtype.bits))
    if kind is None or at.dtype.lanes != 1:
        raise InvalidArgument(
            f"{name} has elements of DLPack's type {at.dtype.code} of {at.dtype.bits} bits, "
            f"{at.dtype.lanes} at a time, which heed does not know"
        )
    shape = tuple(at.shape[: at.ndim])
    strides = tuple(at.strides[: at.ndim]) if at.strides else contiguous(shape)
    return (at.data or 0) + at.byte_offset, shape, strides, kind, writable, capsule


# --- What views mean


def element_type(view: View, given: str | None, name: str) -> ElementType:
    """heed's type of a view's elements, which `given` may name where bytes or words hold them."""
    kind = view[3]
    if given is None:
        if kind.dtype is None:
            raise InvalidArgument(
                f"{name} has elements of {kind.element}; they must be float32, float16, bfloat16, "
                f"int8 or float8, or hold what {name}_type names"
            )
        return kind.dtype
    dtype = named_type(given, f"{name}_type")
    if kind.dtype is not dtype and kind.element not in _CONTAINERS.get(given, _BYTES):
        raise InvalidArgument(f"{name} has elements of {kind.element}, which do not hold {given}")
    return dtype


def named_type(given: str, name: str) -> ElementType:
    """One of heed's types by its name."""
    dtype = ELEMENT_TYPES.get(given) if isinstance(given, str) else None
    if dtype is None:
        raise InvalidArgument(f"{name} ({given!r}) must be one of {', '.join(ELEMENT_TYPES)}")
    return dtype


def computing_type(given: str, name: str) -> ElementType:
    """One of the types that outputs may have."""
    dtype = named_type(given, name)
    if not dtype.computes:
        raise InvalidArgument(f"{name} ({given!r}) must be f32, f16 or bf16")
    return dtype


class Axes(NamedTuple):
    """The axes of a tensor whose last one is contiguous, in elements."""

    extents: tuple[int, ...]
    strides: tuple[int, ...]  #: of all but the last axis


def axes_of(view: View, dtype: ElementType, name: str) -> Axes:
    """Extents and strides in elements of a type, which may be stored in blocks."""
    _, shape, strides, kind, _, _ = view
    if not shape:
        raise InvalidArgument(f"{name} has no dimensions")
    last = shape[-1] * kind.size
    if shape[-1] > 1 and strides[-1] * kind.unit != kind.size:
        raise InvalidArgument(
            f"{name} has a last dimension of stride {strides[-1] * kind.unit // kind.size}; the "
            "elements of a vector must lie one after the other"
        )
    if last % dtype.block_bytes:
        raise InvalidArgument(
            f"{name} has vectors of {last} bytes; those of {dtype.name} are multiples of " f"{dtype.block_bytes}"
        )

    def elements(stride: int, extent: int) -> int:
        count, rest = divmod(stride * kind.unit, dtype.block_bytes)
        if rest == 0:
            return count * dtype.block_elements
        if extent <= 1:
            return 0
        raise InvalidArgument(
            f"{name} has a stride of {stride * kind.unit} bytes; those of {dtype.name} are multiples "
            f"of {dtype.block_bytes}"
        )

    extents = (*shape[:-1], last // dtype.block_bytes * dtype.block_elements)
    return Axes(extents, tuple(map(elements, strides[:-1], shape[:-1])))


def require_f32(view: View, name: str) -> ElementType:
    """The type float32, which a view must have."""
    if view[3].element != "float32":
        raise InvalidArgument(f"{name} has elements of {view[3].element}; they must be float32")
    return ELEMENT_TYPES["f32"]


def look(shape: Sequence[int], strides: Sequence[int], unit: int, element: str) -> tuple:
    """What makes two tensors alike: shape, strides in bytes where there are more than one, elements."""
    return tuple(shape), tuple(unit * stride if extent > 1 else 0 for extent, stride in zip(shape, strides)), element


def require_like(view: View, other: View, name: str, other_name: str) -> None:
    """Refuses a view that does not lie as another one does."""
    got, wanted = (look(v[1], v[2], v[3].unit, v[3].element) for v in (view, other))
    if got != wanted:
        raise InvalidArgument(
            f"{name} has shape {got[0]}, strides {got[1]} in bytes and elements of {got[2]}; it must "
            f"be as {other_name}: {wanted[0]}, {wanted[1]} and {wanted[2]}"
        )


def vector(tensor: Any, name: str, count: int) -> View:
    """The view of so many floats that lie one after the other."""
    view = read(tensor, name)
    require_f32(view, name)
    _, shape, strides, kind, _, _ = view
    if tuple(shape) != (count,) or (count > 1 and strides[0] * kind.unit != kind.size):
        raise InvalidArgument(f"{name} must have the shape ({count},), without gaps; its shape is {tuple(shape)}")
    return view


def strides_in(view: View, shape: Sequence[int], meaning: str, name: str) -> list[int]:
    """The strides, in elements, with which a view reads as a tensor of another shape: its axes are the last ones of
    `shape`, and those of extent 1 are shared, with a stride of 0. `meaning` says what the axes of `shape` are."""
    _, extents, strides, kind, _, _ = view
    missing = len(shape) - len(extents)
    fits = missing >= 0 and all(a in (1, b) for a, b in zip(extents, shape[missing:]))
    if not fits:
        raise InvalidArgument(
            f"{name} has the shape {tuple(extents)}; it must be {tuple(shape)}, {meaning}, with 1 for "
            "what is shared, and first ones left out"
        )
    result = [0] * len(shape)
    for axis, (extent, stride) in enumerate(zip(extents, strides), missing):
        if extent > 1:
            result[axis], rest = divmod(stride * kind.unit, kind.size)
            if rest:
                raise InvalidArgument(
                    f"{name} has a stride of {stride} bytes; they must be multiples of an element's " f"{kind.size}"
                )
    return result


# --- Lists of numbers

_INTEGERS = {4: ("int32", c_int32), 8: ("int64", c_int64)}


def integers(values: Any, name: str, size: int = 4) -> bytes:
    """Integers of any sequence or tensor as so many bytes each."""
    if isinstance(values, bytes):
        return values
    element, number = _INTEGERS[size]
    if not isinstance(values, (list, tuple, range)):
        view = _read_integers(values, name)
        if view is not None and view[3].element == element and view[1] and view[2][-1] * view[3].unit == size:
            return ctypes.string_at(view[0], view[1][0] * size)
    try:
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        array = (number * len(values))(*values)
    except TypeError:
        raise InvalidArgument(f"{name} must be integers of one dimension") from None
    for given, kept in zip(values, array):
        if given != kept:
            raise InvalidArgument(f"{name} has {given}, which is no integer of {8 * size} bits")
    return bytes(array)


def _read_integers(values: Any, name: str) -> View | None:
    if not (hasattr(values, "__array_interface__") or hasattr(values, "__dlpack__")):
        return None
    view = read(values, name)
    if len(view[1]) != 1 or not view[3].element.startswith(("int", "uint")):
        raise InvalidArgument(
            f"{name} must be integers of one dimension; it has {len(view[1])} dimensions of " f"{view[3].element}"
        )
    return view


def int_array(data: bytes, size: int = 4) -> ctypes.Array:
    """A C array of what `integers` gave."""
    return (_INTEGERS[size][1] * (len(data) // size)).from_buffer_copy(data)


def doubles(values: Any, name: str) -> ctypes.Array:
    """A C array of the numbers of any sequence or tensor of one dimension."""
    try:
        numbers = values.tolist() if hasattr(values, "tolist") else list(values)
        return (c_double * len(numbers))(*numbers)
    except (TypeError, OverflowError):
        raise InvalidArgument(f"{name} must be numbers of one dimension") from None

"""libheed_c: where it is found, the signatures of its functions, and statuses as exceptions.

The library is, in this order, what the environment variable HEED_LIBRARY names, the one that lies
beside this file, as in a wheel, and the one that the system's loader finds. It may be libheed_layer_c,
which has all of libheed_c and what heed.layer needs.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from ctypes import POINTER, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, TypeVar

from . import _structs as structs
from .errors import BY_STATUS, Error

#: HEED_C_ABI of heed/c/version.h, and the name of the library that has it.
ABI = 1
NAME = "libheed_c.so.1"

_address = c_void_p
_id = c_int32
_new = POINTER(c_void_p)
_ids = (c_void_p, c_void_p, c_size_t)


def _sequences(prefix: str) -> dict[str, tuple]:
    """The functions that caches and page tables without memory have in common."""
    calls = {
        "add": (_address, POINTER(c_int32)),
        "begin": (_address, _address, c_size_t, POINTER(c_int32), POINTER(c_int64)),
        "publish": (_address, _id, _address, c_size_t),
        "forget": (_address, _id, c_int64, c_int64),
        "fork": (_address, _id, c_int64, POINTER(c_int32)),
        "truncate": (_address, _id, c_int64),
        "remove": (_address, _id),
        "tokens": (_address, _id, POINTER(c_int64)),
        "pages": (_address, _id, POINTER(c_void_p), POINTER(c_size_t)),
        "free_pages": (_address, POINTER(c_int64)),
        "block_table": (*_ids, c_int64, _address, c_size_t),
        "page_lists": (*_ids, _address, _address, c_size_t),
        "shared_prefixes": (*_ids, _address),
    }
    return {prefix + name: arguments for name, arguments in calls.items()}


#: The arguments of every function that returns a status; addresses of structs are plain addresses.
STATUS_FUNCTIONS: dict[str, tuple] = {
    **{
        name + "_init_sized": (_address, c_size_t)
        for name, struct in vars(structs).items()
        if name.startswith("heed_") and issubclass(struct, ctypes.Structure) and struct._fields_[0][0] == "struct_size"
    },
    **_sequences("heed_kv_cache_"),
    **_sequences("heed_paged_sequences_"),
    "heed_get_dtype_info": (c_int, _address),
    "heed_isas": (POINTER(c_size_t),),
    "heed_get_isa_info": (c_size_t, _address),
    "heed_chosen_isa": (POINTER(c_char_p),),
    "heed_get_cpu_info": (_address,),
    "heed_cpu_features": (c_char_p, c_size_t, POINTER(c_size_t)),
    "heed_executor_create": (c_int, _new),
    "heed_executor_adopt": (c_int, structs.heed_parallel_for_function, _address, _new),
    "heed_executor_threads": (_address, POINTER(c_int)),
    "heed_plan_create": (_new,),
    "heed_plan_attention": (_address, _address, _address, _address),
    "heed_plan_describe": (_address, c_char_p, c_size_t, POINTER(c_size_t)),
    "heed_plan_isa": (_address, POINTER(c_char_p)),
    "heed_plan_workers": (_address, POINTER(c_int)),
    "heed_plan_workspace_bytes": (_address, POINTER(c_size_t)),
    "heed_plan_visible_scores": (_address, POINTER(c_int64)),
    "heed_get_forecast": (_address, _address),
    "heed_workspace_create": (_new,),
    "heed_workspace_reserve": (_address, _address),
    "heed_workspace_bytes": (_address, POINTER(c_size_t)),
    "heed_alibi_slopes": (_address, c_size_t),
    "heed_run": (_address, _address, _address, _address),
    "heed_workspace_reserve_weights": (_address, _address, _address),
    "heed_get_attention_weights": (_address, _address, _address, _address, _address),
    "heed_get_state_shape": (_address, _address),
    "heed_run_partial": (_address, _address, _address, _address, _address),
    "heed_merge": (_address, _address, c_size_t, structs.heed_output_data, _address, _address, _address),
    "heed_merge_into": (_address, _address, _address, _address, _address),
    "heed_clear": (_address, _address),
    "heed_rotary_create": (_address, _new),
    "heed_rotary_frequencies": (_address, POINTER(c_void_p), POINTER(c_size_t)),
    "heed_rotary_attention_factor": (_address, POINTER(c_double)),
    "heed_normalise_heads": (_address, _address, _address),
    "heed_rotate": (_address, _address, _address),
    "heed_paged_sequences_create": (_address, _new),
    "heed_paged_sequences_extend": (_address, _id, _address, c_size_t, _address),
    "heed_kv_cache_create": (_address, _new),
    "heed_kv_cache_extend": (_address, _id, _address, c_size_t),
    "heed_kv_cache_layer": (_address, c_int64, _address),
    "heed_kv_cache_bytes": (_address, POINTER(c_size_t)),
    "heed_append": (_address, _address, _address, _address),
    "heed_convert": (structs.heed_input_data, structs.heed_output_data, c_int64, _address),
    "heed_softmax": (_address, _address, _address),
    "heed_log_softmax": (_address, _address, _address),
    "heed_log_sum_exp": (_address, _address, _address),
    "heed_softmax_gradient": (_address, _address, _address, _address, _address),
    "heed_log_softmax_gradient": (_address, _address, _address, _address, _address),
    "heed_sampling_workspace_create": (_new,),
    "heed_sample": (_address, _address, c_size_t, _address, c_size_t, _address, _address, _address),
}

#: The same of libheed_layer_c alone, which heed.layer needs.
LAYER_FUNCTIONS: dict[str, tuple] = {
    **{f"heed_{struct}_init_sized": (_address, c_size_t) for struct in ("linear", "layer_config", "layer_weights")},
    "heed_project": (_address, c_int64, _address, _address, _address),
    "heed_attention_step_create": (_address, _address, _new),
    "heed_attention_step_prepare": (_address, _address, _address, c_size_t),
    "heed_attention_step_tokens": (_address, POINTER(c_int64)),
    "heed_attention_step_describe": (_address, c_char_p, c_size_t, POINTER(c_size_t)),
    "heed_multi_head_attention_create": (_address, _address, _new),
    "heed_multi_head_attention_forward": (_address, _address, _address, _address, _address),
}
#: Its handles.
LAYER_HANDLES = ("attention_step", "multi_head_attention")

#: The results and arguments of all others.
OTHER_FUNCTIONS: dict[str, tuple] = {
    "heed_last_message": (c_char_p, ()),
    "heed_status_name": (c_char_p, (c_int,)),
    "heed_version": (c_char_p, ()),
    "heed_thread_library": (c_char_p, ()),
    "heed_abi": (c_int, ()),
    **{
        f"heed_{handle}_destroy": (None, (_address,))
        for handle in ("executor", "plan", "workspace", "rotary", "paged_sequences", "kv_cache", "sampling_workspace")
    },
}

#: Functions of the library that Python does without, and why.
ABSENT: dict[str, str] = {
    **dict.fromkeys(
        ("heed_run_share", "heed_run_partial_share"),
        "shares are for the thread pools of hosts; threads of Python call run, each with a workspace",
    ),
    "heed_parallel_for": "tasks of Python's would wait for its lock; concurrent.futures spreads what releases it",
    **dict.fromkeys(
        ("heed_paged_layout_bshd", "heed_paged_layout_bhsd", "heed_paged_layout_together"),
        "the strides of arrays say how pages lie",
    ),
    **dict.fromkeys(("heed_state_shape_floats", "heed_partial_states_in"), "states are three arrays"),
    **dict.fromkeys(
        (
            "heed_kv_cache_layout",
            "heed_kv_cache_layers",
            "heed_kv_cache_k_type",
            "heed_kv_cache_v_type",
            "heed_get_rotary_config",
        ),
        "objects keep what they were made with",
    ),
    **dict.fromkeys(
        ("heed_sampling_workspace_reserve", "heed_sampling_workspace_bytes"),
        "sample keeps workspaces, which grow by themselves",
    ),
}


def _open() -> ctypes.CDLL:
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), NAME)
    named = os.environ.get("HEED_LIBRARY")
    path = named or (beside if os.path.exists(beside) else NAME)
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"heed needs {NAME}, which is where HEED_LIBRARY says, beside {__file__}, or where the "
            f"system's loader looks: {error}"
        ) from error
    if not hasattr(library, "heed_abi") or library.heed_abi() != ABI:
        raise ImportError(f"{path} is not a {NAME}: heed for Python needs HEED_C_ABI {ABI}")
    for name, arguments in STATUS_FUNCTIONS.items():
        _declare(library, path, name, c_int, arguments)
    for name, (result, arguments) in OTHER_FUNCTIONS.items():
        _declare(library, path, name, result, arguments)
    return library


def _declare(library: ctypes.CDLL, path: str, name: str, result: Any, arguments: tuple) -> None:
    function = getattr(library, name, None)
    if function is None:
        raise ImportError(f"{path} is older than heed for Python: it has no {name}")
    function.restype = result
    function.argtypes = arguments


lib = _open()


#: Members of structs that are arguments here: key.lengths is key_lengths.
_MEMBERS = re.compile(r"\b(query|key)\.(lengths|offsets)\b")


def failure(status: int) -> Error:
    """The exception of a status, with the sentence of the calling thread's last failure."""
    kind = BY_STATUS[status] if 0 < status < len(BY_STATUS) else Error
    sentence = lib.heed_last_message().decode("utf-8", "replace")
    return kind(_MEMBERS.sub(r"\1_\2", sentence))


def check(status: int) -> None:
    """Raises what a status other than HEED_OK stands for."""
    if status:
        raise failure(status)


#: What a callback raised on a thread, within the call of heed that the thread is in.
_raised = threading.local()


def keep_raised(error: BaseException) -> None:
    """Keeps the first exception of a callback until the call that called it back ends, which raises it."""
    vars(_raised).setdefault("error", error)


def raise_kept() -> None:
    """From now on calls raise what keep_raised keeps."""
    for name in (*STATUS_FUNCTIONS, *(LAYER_FUNCTIONS if has_layer() else ())):
        getattr(lib, name).errcheck = _end_of_call


def has_layer() -> bool:
    """Whether the library is libheed_layer_c."""
    return hasattr(lib, "heed_project")


def declare_layer() -> None:
    """Declares the functions of libheed_layer_c."""
    if not has_layer():
        raise ImportError(
            f"heed.layer needs libheed_layer_c.so.1, and heed has loaded {lib._name}: HEED_LIBRARY must name it before "
            "heed is imported"
        )
    for name, arguments in LAYER_FUNCTIONS.items():
        _declare(lib, lib._name, name, c_int, arguments)
    for handle in LAYER_HANDLES:
        name = f"heed_{handle}_destroy"
        _declare(lib, lib._name, name, None, (_address,))
        _destroy[handle] = getattr(lib, name)


def _end_of_call(status: int, function: Any, arguments: tuple) -> int:
    error = vars(_raised).pop("error", None)
    if error is not None:
        raise error
    return status


Struct = TypeVar("Struct", bound=ctypes.Structure)


def make(kind: type[Struct], /, **members: Any) -> Struct:
    """A struct with the defaults of its init function, but for these members."""
    defaults = _defaults.get(kind)
    if defaults is None:
        fresh = kind()
        check(getattr(lib, kind.__name__ + "_init_sized")(ctypes.addressof(fresh), ctypes.sizeof(fresh)))
        defaults = _defaults[kind] = bytes(fresh)
    struct = kind.from_buffer_copy(defaults)
    for name, value in members.items():
        setattr(struct, name, value)
    return struct


#: What the init functions have written.
_defaults: dict[type, bytes] = {}


def address(struct: ctypes.Structure | ctypes.Array | None) -> int | None:
    """Where a struct or an array lies; it must be kept alive meanwhile. None is the null pointer."""
    return None if struct is None else ctypes.addressof(struct)


_destroy = {
    name[len("heed_") : -len("_destroy")]: getattr(lib, name) for name in OTHER_FUNCTIONS if name.endswith("_destroy")
}


class Handle:
    """An object of the library's, which ends with the Python object."""

    __slots__ = ("_handle", "__weakref__")
    #: The name of the functions that create and destroy it: heed_NAME_create.
    _name = ""

    def __init__(self, *arguments: Any) -> None:
        handle = c_void_p()
        self._handle: int | None = None
        check(getattr(lib, f"heed_{self._name}_create")(*arguments, ctypes.byref(handle)))
        self._handle = handle.value

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None:
            _destroy[self._name](handle)

    def _number(self, question: str, kind: Any) -> Any:
        """The answer of heed_NAME_QUESTION."""
        answer = kind()
        check(getattr(lib, f"heed_{self._name}_{question}")(self._handle, ctypes.byref(answer)))
        return answer.value

    def _list(self, question: str, kind: Any, *arguments: Any) -> list:
        """The numbers that heed_NAME_QUESTION points to."""
        where, count = c_void_p(), c_size_t()
        function = getattr(lib, f"heed_{self._name}_{question}")
        check(function(self._handle, *arguments, ctypes.byref(where), ctypes.byref(count)))
        return list(ctypes.cast(where, POINTER(kind))[: count.value]) if count.value else []


def text_of(function: Any, *arguments: Any) -> str:
    """What a function writes that tells the length of its text."""
    length = c_size_t()
    check(function(*arguments, None, 0, ctypes.byref(length)))
    text = ctypes.create_string_buffer(length.value + 1)
    check(function(*arguments, text, len(text), None))
    return text.value.decode()

"""The structs of heed/c/layer.h, member for member. A test compares them with the header."""

from __future__ import annotations

from ctypes import Structure, c_int32, c_int64, c_size_t, c_void_p

_SIZE = ("struct_size", c_size_t)


class heed_linear(Structure):
    _fields_ = [_SIZE, ("weight", c_void_p), ("bias", c_void_p), ("outputs", c_int64), ("inputs", c_int64)]


class heed_layer_config(Structure):
    _fields_ = [_SIZE, ("dim", c_int64), ("attention", c_void_p), ("rotary", c_void_p)]


class heed_step_tokens(Structure):
    _fields_ = [("sequence", c_int32), ("tokens", c_int64)]


class heed_layer_weights(Structure):
    _fields_ = [
        _SIZE,
        ("wq", c_void_p),
        ("bq", c_void_p),
        ("wk", c_void_p),
        ("bk", c_void_p),
        ("wv", c_void_p),
        ("bv", c_void_p),
        ("wo", c_void_p),
        ("bo", c_void_p),
        ("q_norm", c_void_p),
        ("k_norm", c_void_p),
    ]

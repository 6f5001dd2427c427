"""The structs of heed/c/*.h, member for member, and its types of functions, under their names there.

A test compares them with the headers. Pointers are plain addresses (c_void_p): what they point to is
kept alive by whoever fills them in.
"""

from __future__ import annotations

from ctypes import (
    CFUNCTYPE,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint64,
    c_void_p,
)

_SIZE = ("struct_size", c_size_t)

heed_task_function = CFUNCTYPE(None, c_void_p, c_int)
heed_parallel_for_function = CFUNCTYPE(None, c_void_p, c_int, heed_task_function, c_void_p)


class heed_dtype_info(Structure):
    _fields_ = [
        _SIZE,
        ("name", c_char_p),
        ("block_elements", c_int64),
        ("block_bytes", c_int64),
        ("alignment", c_int64),
        ("computes", c_int),
        ("scaled", c_int),
    ]


class heed_input_data(Structure):
    _fields_ = [("data", c_void_p), ("type", c_int)]


class heed_output_data(Structure):
    _fields_ = [("data", c_void_p), ("type", c_int)]


class heed_isa_info(Structure):
    _fields_ = [_SIZE, ("name", c_char_p), ("supported", c_int), ("chosen", c_int)]


class heed_cpu_info(Structure):
    _fields_ = [
        _SIZE,
        ("vendor", c_char_p),
        ("model", c_char_p),
        ("logical_cpus", c_int),
        ("physical_cores", c_int),
        ("cpu_quota", c_double),
        ("default_workers", c_int),
        ("reserved", c_int),
        ("memory_bytes", c_int64),
        ("l1d_bytes", c_int64),
        ("l2_bytes", c_int64),
        ("l3_bytes", c_int64),
    ]


class heed_run_options(Structure):
    _fields_ = [_SIZE, ("isa", c_char_p), ("workers", c_int), ("reserved", c_int), ("executor", c_void_p)]


class heed_attention_config(Structure):
    _fields_ = [
        _SIZE,
        ("query_heads", c_int64),
        ("kv_heads", c_int64),
        ("head_dim", c_int64),
        ("value_head_dim", c_int64),
        ("causal", c_int),
        ("alignment", c_int),
        ("window_left", c_int64),
        ("window_right", c_int64),
        ("keep_first", c_int64),
        ("scale", c_void_p),
        ("temperature", c_float),
        ("products", c_int),
        ("q_type", c_int),
        ("k_type", c_int),
        ("v_type", c_int),
        ("out_type", c_int),
    ]


class heed_lengths(Structure):
    _fields_ = [
        ("length", c_int64),
        ("lengths", c_void_p),
        ("lengths_count", c_size_t),
        ("offsets", c_void_p),
        ("offsets_count", c_size_t),
    ]


class heed_layout(Structure):
    _fields_ = [("sequence_stride", c_int64), ("token_stride", c_int64), ("head_stride", c_int64)]


class heed_scale_layout(Structure):
    _fields_ = [("group", c_int64), ("sequence_stride", c_int64), ("token_stride", c_int64), ("head_stride", c_int64)]


class heed_page_strides(Structure):
    _fields_ = [("page", c_int64), ("token", c_int64), ("head", c_int64)]


class heed_paged_layout(Structure):
    _fields_ = [
        _SIZE,
        ("pages", c_int64),
        ("page_tokens", c_int64),
        ("kv_heads", c_int64),
        ("head_dim", c_int64),
        ("value_head_dim", c_int64),
        ("k", heed_page_strides),
        ("v", heed_page_strides),
        ("k_scales", c_void_p),
        ("v_scales", c_void_p),
    ]


class heed_key_mask(Structure):
    _fields_ = [
        _SIZE,
        ("data", c_void_p),
        ("type", c_int),
        ("reserved", c_int),
        ("sequence_stride", c_int64),
        ("head_stride", c_int64),
        ("query_stride", c_int64),
        ("query_block", c_int64),
        ("key_block", c_int64),
        ("last_keys", c_int64),
    ]


class heed_key_lists(Structure):
    _fields_ = [_SIZE, ("offsets", c_void_p), ("offsets_count", c_size_t), ("keys", c_void_p), ("keys_count", c_size_t)]


class heed_key_shard(Structure):
    _fields_ = [
        _SIZE,
        ("first_key", c_int64),
        ("whole_length", c_int64),
        ("first_keys", c_void_p),
        ("first_keys_count", c_size_t),
        ("whole_lengths", c_void_p),
        ("whole_lengths_count", c_size_t),
    ]


class heed_batch(Structure):
    _fields_ = [
        _SIZE,
        ("sequences", c_int64),
        ("query", heed_lengths),
        ("key", heed_lengths),
        ("q", c_void_p),
        ("k", c_void_p),
        ("v", c_void_p),
        ("out", c_void_p),
        ("k_scales", c_void_p),
        ("v_scales", c_void_p),
        ("pages", c_void_p),
        ("shared_prefixes", c_void_p),
        ("shared_prefixes_count", c_size_t),
        ("visible_prefixes", c_void_p),
        ("visible_prefixes_count", c_size_t),
        ("mask", c_void_p),
        ("key_lists", c_void_p),
        ("lse", c_void_p),
        ("shard", c_void_p),
    ]


class heed_plan_options(Structure):
    _fields_ = [
        _SIZE,
        ("isa", c_char_p),
        ("workers", c_int),
        ("tile_keys", c_int),
        ("item_rows", c_int),
        ("reserved", c_int),
    ]


class heed_page_tables(Structure):
    _fields_ = [
        _SIZE,
        ("pages", c_void_p),
        ("pages_count", c_size_t),
        ("stride", c_int64),
        ("indptr", c_void_p),
        ("indptr_count", c_size_t),
    ]


class heed_scales(Structure):
    _fields_ = [("scales", c_void_p), ("zero_points", c_void_p)]


class heed_score_bias(Structure):
    _fields_ = [
        _SIZE,
        ("data", heed_input_data),
        ("sequence_stride", c_int64),
        ("head_stride", c_int64),
        ("query_stride", c_int64),
        ("key_stride", c_int64),
    ]


class heed_row_temperatures(Structure):
    _fields_ = [
        _SIZE,
        ("data", c_void_p),
        ("sequence_stride", c_int64),
        ("head_stride", c_int64),
        ("query_stride", c_int64),
    ]


class heed_score_modifiers(Structure):
    _fields_ = [
        _SIZE,
        ("alibi_slopes", c_void_p),
        ("sinks", c_void_p),
        ("bias", c_void_p),
        ("temperatures", c_void_p),
        ("softcap", c_float),
        ("reserved", c_int),
    ]


class heed_attention_tensors(Structure):
    _fields_ = [
        _SIZE,
        ("q", heed_input_data),
        ("k", heed_input_data),
        ("v", heed_input_data),
        ("out", heed_output_data),
        ("lse", c_void_p),
        ("tables", c_void_p),
        ("k_scales", heed_scales),
        ("v_scales", heed_scales),
        ("modifiers", c_void_p),
    ]


class heed_weight_layout(Structure):
    _fields_ = [("sequence_stride", c_int64), ("head_stride", c_int64), ("query_stride", c_int64)]


class heed_mass_layout(Structure):
    _fields_ = [("sequence_stride", c_int64), ("head_stride", c_int64)]


class heed_attention_weights(Structure):
    _fields_ = [
        _SIZE,
        ("weights", heed_output_data),
        ("layout", c_void_p),
        ("entropy", c_void_p),
        ("top_weights", c_void_p),
        ("top_keys", c_void_p),
        ("top", c_int32),
        ("reserved", c_int),
        ("mass", c_void_p),
        ("mass_layout", c_void_p),
    ]


class heed_forecast(Structure):
    _fields_ = [
        _SIZE,
        ("items", c_int64),
        ("splits", c_int64),
        ("work", c_double),
        ("longest", c_double),
        ("makespan", c_double),
    ]


class heed_state_shape(Structure):
    _fields_ = [("partitions", c_int64), ("rows", c_int64), ("value_head_dim", c_int64)]


class heed_partial_states(Structure):
    _fields_ = [("m", c_void_p), ("l", c_void_p), ("o", c_void_p), ("partitions", c_int64)]


class heed_const_partial_states(Structure):
    _fields_ = [("m", c_void_p), ("l", c_void_p), ("o", c_void_p), ("partitions", c_int64)]


class heed_rotary_scaling(Structure):
    _fields_ = [
        _SIZE,
        ("kind", c_int),
        ("truncate", c_int),
        ("factor", c_double),
        ("original_positions", c_int64),
        ("low_freq_factor", c_double),
        ("high_freq_factor", c_double),
        ("beta_fast", c_double),
        ("beta_slow", c_double),
        ("mscale", c_double),
        ("mscale_all_dim", c_double),
        ("attention_factor", c_double),
        ("short_factors", c_void_p),
        ("short_factors_count", c_size_t),
        ("long_factors", c_void_p),
        ("long_factors_count", c_size_t),
    ]


class heed_rotary_config(Structure):
    _fields_ = [
        _SIZE,
        ("rotary_dim", c_int64),
        ("pairs", c_int),
        ("reserved", c_int),
        ("base", c_double),
        ("position_scale", c_double),
        ("positions", c_int64),
        ("scaling", c_void_p),
        ("frequencies", c_void_p),
        ("frequencies_count", c_size_t),
        ("factors", c_void_p),
        ("factors_count", c_size_t),
    ]


class heed_rms_norm(Structure):
    _fields_ = [
        _SIZE,
        ("weight", c_void_p),
        ("weight_offset", c_float),
        ("reserved", c_int),
        ("epsilon", c_double),
    ]


class heed_head_tensors(Structure):
    _fields_ = [
        _SIZE,
        ("x", c_void_p),
        ("y", c_void_p),
        ("tokens", c_int64),
        ("heads", c_int64),
        ("head_dim", c_int64),
        ("x_layout", c_void_p),
        ("y_layout", c_void_p),
        ("x_type", c_int),
        ("y_type", c_int),
    ]


class heed_rotary_tensors(Structure):
    _fields_ = [
        _SIZE,
        ("x", heed_input_data),
        ("y", heed_output_data),
        ("heads", c_int64),
        ("head_dim", c_int64),
        ("x_layout", c_void_p),
        ("y_layout", c_void_p),
        ("positions", c_void_p),
        ("positions_count", c_size_t),
    ]


class heed_page_budget(Structure):
    _fields_ = [
        _SIZE,
        ("pages", c_int64),
        ("page_tokens", c_int64),
        ("sequences", c_int64),
        ("sequence_tokens", c_int64),
        ("prefixes", c_int),
        ("reserved", c_int),
    ]


class heed_page_copy(Structure):
    _fields_ = [("from", c_int32), ("to", c_int32), ("tokens", c_int32)]


class heed_mutable_scales(Structure):
    _fields_ = [("scales", c_void_p), ("zero_points", c_void_p)]


class heed_kv_pages(Structure):
    _fields_ = [
        _SIZE,
        ("k", heed_output_data),
        ("v", heed_output_data),
        ("k_scales", heed_mutable_scales),
        ("v_scales", heed_mutable_scales),
    ]


class heed_kv_cache_config(Structure):
    _fields_ = [
        _SIZE,
        ("layout", c_void_p),
        ("layers", c_int64),
        ("sequences", c_int64),
        ("sequence_tokens", c_int64),
        ("k_type", c_int),
        ("v_type", c_int),
        ("k_zero_points", c_int),
        ("v_zero_points", c_int),
        ("prefixes", c_int),
        ("reserved", c_int),
    ]


class heed_new_tokens(Structure):
    _fields_ = [
        _SIZE,
        ("k", heed_input_data),
        ("v", heed_input_data),
        ("k_layout", c_void_p),
        ("v_layout", c_void_p),
        ("slots", c_void_p),
        ("slots_count", c_size_t),
        ("rotary", c_void_p),
        ("positions", c_void_p),
        ("positions_count", c_size_t),
    ]


class heed_const_rows(Structure):
    _fields_ = [_SIZE, ("data", heed_input_data), ("rows", c_int64), ("length", c_int64), ("stride", c_int64)]


class heed_rows(Structure):
    _fields_ = [_SIZE, ("data", heed_output_data), ("rows", c_int64), ("length", c_int64), ("stride", c_int64)]


class heed_entry_mask(Structure):
    _fields_ = [("visible", c_void_p), ("stride", c_int64)]


class heed_softmax_options(Structure):
    _fields_ = [
        _SIZE,
        ("scale", c_float),
        ("temperature", c_float),
        ("temperatures", c_void_p),
        ("temperatures_count", c_size_t),
        ("mask", heed_entry_mask),
        ("isa", c_char_p),
        ("workers", c_int),
        ("reserved", c_int),
        ("executor", c_void_p),
    ]


class heed_logits(Structure):
    _fields_ = [_SIZE, ("data", heed_input_data), ("rows", c_int64), ("length", c_int64), ("stride", c_int64)]


class heed_sampling_rule(Structure):
    _fields_ = [
        _SIZE,
        ("top_k", c_int64),
        ("temperature", c_float),
        ("top_p", c_float),
        ("min_p", c_float),
        ("reserved", c_int),
    ]


class heed_draw(Structure):
    _fields_ = [("seed", c_uint64), ("counter", c_uint64)]


class heed_samples(Structure):
    _fields_ = [_SIZE, ("tokens", c_void_p), ("probabilities", c_void_p)]

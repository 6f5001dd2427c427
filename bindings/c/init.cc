// The init functions of all structs that may grow.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "bindings/c/arguments.h"

namespace {

template <class Struct, class Member>
constexpr std::size_t size_of(Member Struct::* /*member*/) {
  return sizeof(Member);  // NOLINT(bugprone-sizeof-expression): of pointers, too
}

template <class Struct>
heed_status init(Struct* value, std::size_t struct_size) {
  return heed::c::call([&] {
    Struct& struct_of_caller = heed::c::needed("value", value);
    heed::c::check_struct_size("value", struct_size);
    auto defaults = heed::c::defaults<Struct>();
    defaults.struct_size = struct_size;
    std::memset(static_cast<void*>(&struct_of_caller), 0, struct_size);
    std::memcpy(&struct_of_caller, &defaults, std::min(struct_size, sizeof defaults));
  });
}

}  // namespace

// A struct with its last member, behind which there is no padding: a member that is added there
// would be read from callers that do not have it. NOLINTBEGIN(bugprone-macro-parentheses)
#define HEED_C_DEFINE_INIT(type, last)                                        \
  static_assert(offsetof(type, last) + size_of(&type::last) == sizeof(type)); \
  static_assert(alignof(type) == sizeof(size_t));                             \
  heed_status type##_init_sized(type* value, size_t struct_size) {            \
    return init(value, struct_size);                                          \
  }                                                                           \
  static_assert(offsetof(type, struct_size) == 0)
// NOLINTEND(bugprone-macro-parentheses)

HEED_C_DEFINE_INIT(heed_dtype_info, scaled);
HEED_C_DEFINE_INIT(heed_isa_info, chosen);
HEED_C_DEFINE_INIT(heed_cpu_info, l3_bytes);
HEED_C_DEFINE_INIT(heed_run_options, executor);
HEED_C_DEFINE_INIT(heed_attention_config, out_type);
HEED_C_DEFINE_INIT(heed_paged_layout, v_scales);
HEED_C_DEFINE_INIT(heed_key_mask, last_keys);
HEED_C_DEFINE_INIT(heed_key_lists, keys_count);
HEED_C_DEFINE_INIT(heed_key_shard, whole_lengths_count);
HEED_C_DEFINE_INIT(heed_batch, shard);
HEED_C_DEFINE_INIT(heed_plan_options, reserved);
HEED_C_DEFINE_INIT(heed_page_tables, indptr_count);
HEED_C_DEFINE_INIT(heed_score_bias, key_stride);
HEED_C_DEFINE_INIT(heed_row_temperatures, query_stride);
HEED_C_DEFINE_INIT(heed_score_modifiers, reserved);
HEED_C_DEFINE_INIT(heed_attention_tensors, modifiers);
HEED_C_DEFINE_INIT(heed_attention_weights, mass_layout);
HEED_C_DEFINE_INIT(heed_rotary_scaling, long_factors_count);
HEED_C_DEFINE_INIT(heed_rotary_config, factors_count);
HEED_C_DEFINE_INIT(heed_rotary_tensors, positions_count);
HEED_C_DEFINE_INIT(heed_rms_norm, epsilon);
HEED_C_DEFINE_INIT(heed_head_tensors, y_type);
HEED_C_DEFINE_INIT(heed_page_budget, reserved);
HEED_C_DEFINE_INIT(heed_kv_pages, v_scales);
HEED_C_DEFINE_INIT(heed_kv_cache_config, reserved);
HEED_C_DEFINE_INIT(heed_new_tokens, positions_count);
HEED_C_DEFINE_INIT(heed_const_rows, stride);
HEED_C_DEFINE_INIT(heed_rows, stride);
HEED_C_DEFINE_INIT(heed_softmax_options, executor);
HEED_C_DEFINE_INIT(heed_logits, stride);
HEED_C_DEFINE_INIT(heed_sampling_rule, reserved);
HEED_C_DEFINE_INIT(heed_samples, probabilities);

// The defaults of the structs of the C interface, which are those of C++. What is not set here is 0
// or null in both.
#pragma once

#include <cstring>

#include "heed/heed.h"
#include "heed/heed_c.h"

namespace heed::c {

template <class Struct>
void set_defaults(Struct& /*c*/) {}

inline void set_defaults(heed_attention_config& c) {
  const AttentionConfig defaults;
  c.query_heads = defaults.query_heads;
  c.kv_heads = defaults.kv_heads;
  c.window_left = defaults.window_left;
  c.window_right = defaults.window_right;
  c.temperature = defaults.temperature;
}

inline void set_defaults(heed_batch& c) { c.sequences = Batch().sequences; }

inline void set_defaults(heed_key_mask& c) {
  const KeyMask defaults;
  c.type = static_cast<heed_mask_type>(defaults.type);
  c.query_block = defaults.query_block;
  c.key_block = defaults.key_block;
}

inline void set_defaults(heed_score_bias& c) { c.key_stride = ScoreBias().key_stride; }

inline void set_defaults(heed_attention_weights& c) { c.top = AttentionWeights().top; }

inline void set_defaults(heed_rotary_scaling& c) {
  const RotaryScaling defaults;
  c.truncate = defaults.truncate ? 1 : 0;
  c.factor = defaults.factor;
  c.low_freq_factor = defaults.low_freq_factor;
  c.high_freq_factor = defaults.high_freq_factor;
  c.beta_fast = defaults.beta_fast;
  c.beta_slow = defaults.beta_slow;
}

inline void set_defaults(heed_rotary_config& c) {
  const RotaryConfig defaults;
  c.base = defaults.base;
  c.position_scale = defaults.position_scale;
}

inline void set_defaults(heed_rotary_tensors& c) { c.heads = RotaryTensors().heads; }

inline void set_defaults(heed_rms_norm& c) { c.epsilon = RmsNorm().epsilon; }

inline void set_defaults(heed_head_tensors& c) { c.heads = HeadTensors().heads; }

inline void set_defaults(heed_kv_cache_config& c) { c.layers = KvCacheConfig().layers; }

inline void set_defaults(heed_softmax_options& c) {
  const SoftmaxOptions defaults;
  c.scale = defaults.scale;
  c.temperature = defaults.temperature;
}

inline void set_defaults(heed_sampling_rule& c) {
  const SamplingRule defaults;
  c.temperature = defaults.temperature;
  c.top_p = defaults.top_p;
}

/// Its padding is 0, too.
template <class Struct>
Struct defaults() {
  Struct c;
  std::memset(&c, 0, sizeof c);
  c.struct_size = sizeof(Struct);
  set_defaults(c);
  return c;
}

}  // namespace heed::c

// What changes the scores of queries and keys before they become weights, told at every run.
#pragma once

#include <cstdint>
#include <span>

#include "heed/export.h"
#include "heed/tensor_data.h"

namespace heed {

/// Numbers that are added to scores, of f32, f16 or bf16: that of (sequence, head, query, key) is
/// sequence · sequence_stride + head · head_stride + query · query_stride + key · key_stride
/// elements from the first one. A stride of 0 means that all share it; keys lie one after the other
/// or have one bias in common. Ragged queries are counted through all sequences, and do not use the
/// sequence stride; keys are counted in each sequence, where a batch has shards of them from the
/// shard's first one.
struct ScoreBias {
  InputData data = {};  ///< null: there is none
  std::int64_t sequence_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t query_stride = 0;
  std::int64_t key_stride = 1;  ///< 1 or 0

  /// [sequence, head, query, key], contiguous.
  static constexpr ScoreBias bhqk(InputData data, std::int64_t heads, std::int64_t queries,
                                  std::int64_t keys) {
    return {data, heads * queries * keys, queries * keys, keys, 1};
  }
};

/// From the product x = scale · q·k of a query and a key to the weight exp(y / T − lse):
///
///     y = c · tanh(x / c)               softcap, as in Gemma 2 (arXiv 2408.00118)
///       + slope · (j − i)               ALiBi (Press et al., arXiv 2108.12409): the key at
///       position j,
///                                       the query at position i
///       + bias                          −∞ hides the key, whatever x is
///
/// Masks apply as ever, and T = 0 takes the largest y. Any of them may be used with any element
/// types, masks, layouts and prefixes. Absent ones cost nothing.
struct ScoreModifiers {
  float softcap = 0;                    ///< c > 0; 0: none
  const float* alibi_slopes = nullptr;  ///< [query_heads]; null: none
  ScoreBias bias = {};
  /// [query_heads], null: none. A sink is a logit that takes weight and has no value, as in
  /// gpt-oss: exp(sink / T) is added to the sum of a row's weights, once. −∞ is none. A row that
  /// sees no key has output 0 and the log-sum-exp sink / T.
  const float* sinks = nullptr;
};

/// The slopes of ALiBi for so many heads: 2^(−8 · (h + 1) / n) for n heads, a power of two; else
/// those of the next smaller power of two, then every second one of the next larger, as the authors
/// have it.
HEED_API void alibi_slopes(std::span<float> slopes) noexcept;

}  // namespace heed

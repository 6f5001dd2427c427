// What changes the scores of queries and keys before they become weights, told at every run.
#pragma once

#include <cstdint>
#include <span>

#include "heed/export.h"
#include "heed/tensor_data.h"

namespace heed {

/// Numbers of f32, f16 or bf16 that are added to scores. The one of (sequence, head, query, key)
/// lies sequence · sequence_stride + head · head_stride + query · query_stride + key · key_stride
/// elements after the first one; a stride of 0 means that all share it. Ragged queries are counted
/// through all sequences, and the sequence stride is not used then. Keys are counted in each
/// sequence, from the first one of the batch's shard where there are shards.
struct ScoreBias {
  InputData data = {};  ///< null: there is none
  std::int64_t sequence_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t query_stride = 0;
  std::int64_t key_stride = 1;  ///< 1, or 0 for one bias of all keys

  /// [sequence, head, query, key], contiguous.
  static constexpr ScoreBias bhqk(InputData data, std::int64_t heads, std::int64_t queries,
                                  std::int64_t keys) {
    return {data, heads * queries * keys, queries * keys, keys, 1};
  }
  friend constexpr bool operator==(const ScoreBias&, const ScoreBias&) noexcept = default;
};

/// Temperatures of heads or of query rows: that of (sequence, head, query) lies sequence ·
/// sequence_stride + head · head_stride + query · query_stride elements after the first one; a
/// stride of 0 means that all share it. Ragged queries are counted through all sequences, and the
/// sequence stride is not used then. Each is 0 (the argmax) or more, or infinity (the mean).
struct RowTemperatures {
  const float* data = nullptr;  ///< null: there are none
  std::int64_t sequence_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t query_stride = 0;

  /// [head]: one for each query head.
  static constexpr RowTemperatures per_head(const float* data) { return {data, 0, 1, 0}; }
  /// [sequence, head, query], contiguous.
  static constexpr RowTemperatures bhq(const float* data, std::int64_t heads,
                                       std::int64_t queries) {
    return {data, heads * queries, queries, 1};
  }
  friend constexpr bool operator==(const RowTemperatures&,
                                   const RowTemperatures&) noexcept = default;
};

/// What happens to the product x = scale · q·k of a query at position i and a key at position j
/// before it becomes the weight exp(y / T − lse):
///
///     y = c · tanh(x / c) + slope · (j − i) + bias
///
/// The masks apply to y, and T = 0 takes the largest y. Any modifiers may be used together, with
/// any element types, masks, layouts and prefixes. Absent ones cost nothing.
struct ScoreModifiers {
  /// c > 0, as in Gemma 2 (arXiv 2408.00118); 0: none. Its term is at most c · (1 + 2⁻²¹).
  float softcap = 0;
  /// ALiBi (Press et al., arXiv 2108.12409): [query_heads]; null: none.
  const float* alibi_slopes = nullptr;
  /// −∞, or a number whose product with log2 e / T is, gives the key no weight, whatever x is. Its
  /// value still counts, as 0 · v: what masks hide may be anything, what biases hide must be
  /// finite.
  ScoreBias bias = {};
  /// [query_heads]; null: none. A sink is a logit that takes weight and has no value, as in
  /// gpt-oss: exp(sink / T) is added to the sum of a row's weights, once. −∞ is none. A row that
  /// sees no key has output 0 and the log-sum-exp sink / T.
  const float* sinks = nullptr;
  /// T of each head or of each row, in the place of AttentionConfig::temperature; null: none. A row
  /// has the bits that it has in a run with its T for all. Where rows with T = 0 and with others
  /// meet in an item of work, as heads of a group do, the item is computed twice.
  RowTemperatures temperatures = {};

  friend constexpr bool operator==(const ScoreModifiers&, const ScoreModifiers&) noexcept = default;
};

/// The slopes of ALiBi: for n heads, n a power of two, 2^(−8 · (h + 1) / n); else those of the next
/// smaller power of two, then every second one of the next larger, as the authors have it.
HEED_API void alibi_slopes(std::span<float> slopes) noexcept;

}  // namespace heed

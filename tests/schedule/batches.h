// Batches for tests of schedules: of chance, and as servers have them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/schedule/schedule.h"

namespace heed::tests {

inline constexpr std::int64_t kAll = 0x7FFFFFFF;  ///< a window side without an end

/// What a batch asks for, on whatever kernels.
struct BatchShape {
  std::string name;
  std::int64_t query_heads, kv_heads;
  std::int32_t head_dim;
  bool causal;
  std::vector<std::int64_t> queries, keys;
  std::vector<std::int32_t> shared = {};  ///< partitions, as Work has them

  std::vector<detail::Visibility> masks() const;
};

/// Of 32 query heads, 8 KV heads and head_dim 128, causal.
BatchShape llama(std::string name, std::vector<std::int64_t> queries,
                 std::vector<std::int64_t> keys);

/// Prompts of these lengths.
BatchShape prompts(std::string name, const std::vector<std::int64_t>& lengths);

/// Tokens of so many sequences, with contexts of chance.
BatchShape decodes(std::size_t sequences);

/// Answers to so many questions about some long texts, after a common introduction.
BatchShape shared_prefixes(std::int32_t texts, std::int32_t questions);

/// What servers and encoders are asked for: prompts, decodes, steps with both, shared prefixes.
std::vector<BatchShape> real_batches();

/// The batch on kernels with so many lanes, for one worker; refers to both.
detail::Work work_on(const BatchShape& batch, const std::vector<detail::Visibility>& masks,
                     std::int32_t lanes);

detail::Schedule schedule_of(const detail::Work& work);

/// The schedule of a batch on AVX-512 for so many workers.
detail::Schedule schedule_of(const BatchShape& batch, int workers);

}  // namespace heed::tests

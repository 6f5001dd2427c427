// What an AttentionStep holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/layer.h"

namespace heed::detail {

/// The sequences of a step, and the plan of their attention.
struct StepBatch {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> query_offsets;  ///< a sequence's rows: sequences + 1, from 0
  std::vector<std::int32_t> key_lengths;
  std::vector<std::int32_t> page_offsets, page_numbers;  ///< CSR
  std::vector<std::int32_t> shared_prefixes;
  std::vector<std::int64_t> slots, positions;  ///< of each row
  PagedLayout layout;
  DType k_type = DType::f32, v_type = DType::f32;  ///< of the cache
  Plan plan;

  std::int64_t rows() const { return static_cast<std::int64_t>(slots.size()); }
};

/// [row, head, dim] each, for as many rows as any step has had.
struct StepScratch {
  std::vector<float> q, k, v, context;
};

struct StepData {
  LayerConfig config;  ///< its value_head_dim is never 0
  std::string isa;
  RunOptions options;  ///< refer to isa
  StepBatch now;
  StepBatch next;  ///< where a step is prepared, then swapped in
  StepScratch scratch;
  Workspace workspace;
};

/// Checks a configuration, and completes value_head_dim.
Status complete_config(LayerConfig& config);

}  // namespace heed::detail

// The operators that `heed check` checks: those of heed, except in tests, which put faults into
// them.
#pragma once

#include <functional>
#include <span>

#include "heed/heed.h"

namespace heed::tools {

struct Subject {
  /// Plans, and runs with a workspace of its own.
  std::function<Status(const AttentionConfig&, const Batch&, const PlanOptions&,
                       const AttentionTensors&)>
      attend;
  using Map = std::function<Status(const ConstRows&, const Rows&, const SoftmaxOptions&)>;
  using Gradient = std::function<Status(const ConstRows&, const ConstRows&, const Rows&, float*,
                                        const SoftmaxOptions&)>;
  Map softmax, log_softmax;
  std::function<Status(const ConstRows&, float*, const SoftmaxOptions&)> log_sum_exp;
  Gradient softmax_gradient, log_softmax_gradient;
  /// With a workspace of its own.
  std::function<Status(const Logits&, std::span<const SamplingRule>, std::span<const Draw>,
                       const Samples&, const RunOptions&)>
      sample;
};

/// heed's own operators.
Subject heed_operators();

}  // namespace heed::tools

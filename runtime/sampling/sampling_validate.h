// The door of `sample`: every fault of the caller is found here, before any work.
#pragma once

#include <span>

#include "heed/sampling.h"

namespace heed::detail {

/// Whether a token can be drawn from each row by its rule.
Status check_sampling(const Logits& logits, std::span<const SamplingRule> rules,
                      std::span<const Draw> draws, const Samples& samples);

}  // namespace heed::detail

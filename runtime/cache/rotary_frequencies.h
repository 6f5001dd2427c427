// How fast pairs turn: what follows from a RotaryConfig before any position is known.
#pragma once

#include <vector>

#include "heed/rotary.h"

namespace heed::detail {

/// Checks all of a configuration but its positions' number and angles.
Status check_frequencies(const RotaryConfig& config);

/// The frequency of each pair, of a configuration that was checked.
std::vector<double> rotary_frequencies(const RotaryConfig& config);

/// What cosines and sines are multiplied by, of a configuration that was checked.
double rotary_attention_factor(const RotaryConfig& config);

}  // namespace heed::detail

// Rotary embedding from its definition, in long double, and in the order of operations that kernels
// with FMA follow to the bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/rotary.h"
#include "tests/proof/softmax_reference.h"

namespace heed::tests {

/// How fast a pair turns, by the published formula of its scaling, and how far computing it in
/// double and turning by it may be off: E of heed/rotary.h.
struct RotaryFrequency {
  long double exact;
  double roundings;
};

/// Those of all pairs.
std::vector<RotaryFrequency> rotary_frequency_reference(const RotaryConfig& config);

/// What cosines and sines are multiplied by.
long double rotary_attention_reference(const RotaryConfig& config);

/// A vector rotated at a position, with the bounds of heed/rotary.h.
std::vector<Bounded> rotary_reference(std::span<const float> x, std::int64_t position,
                                      const RotaryConfig& config);

/// The same as every ISA with FMA must give it, bit for bit; without scaling.
std::vector<float> rotary_oracle(std::span<const float> x, std::int64_t position,
                                 const RotaryConfig& config);

}  // namespace heed::tests

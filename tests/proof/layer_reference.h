// An attention layer in double, from its definition, and how far float32 may be off.
//
// ε = 2⁻²⁴; e is the bound of what goes in. What double rounds itself is 2⁻²⁹ of these bounds.
//
// y = x Wᵀ + b   a term is rounded at most n + 1 times, in any order of the n products and the
// bias;
//                (n + 3)·ε of the terms' sizes covers the second order for n < 1000, and Σ |w|·e.
// norm           what proof/head_norm_reference.h says.
// rotation       what heed/rotary.h says of the element, and |cos|·e + |sin|·e of its pair.
// attention      a logit is off by D = scale · Σ (|q|·e_k + e_q·|k| + e_q·e_k) at most, and its
// weight w
//                by w·(e^D − 1). With R = Σ w·(e^D − 1) over Σ w, and V the largest |v|, outputs
//                are off by 2·V·R / (1 − R) + max e_v (proof/bounds.h derives the first term), and
//                by what it says of inputs without error.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/layer.h"
#include "tests/proof/softmax_reference.h"

namespace heed::tests {

/// The layer's output for all tokens of one sequence, [token, dim], from their hidden states. Keys
/// are seen causally; masks, scale and temperature of the configuration are not looked at.
std::vector<Bounded> layer_reference(const LayerConfig& config, const LayerWeights& weights,
                                     std::span<const float> x);

}  // namespace heed::tests

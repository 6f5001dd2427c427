// The norm of heads from its definition.
#pragma once

#include <span>
#include <vector>

#include "heed/head_norm.h"
#include "tests/proof/softmax_reference.h"

namespace heed::tests {

/// A head normalised, where each element may be off by its bound, with what heed/head_norm.h allows
/// besides.
///
/// With e what |x| may be off by, Σ x² lies between Σ max(|x| − e, 0)² and Σ (|x| + e)², which
/// bounds r = 1 / √(Σ x² / n + ε) from both sides; x · r moves by e · r's upper bound and by |x|
/// times what r may move.
std::vector<Bounded> head_norm_reference(const RmsNorm& norm, std::span<const Bounded> x);

/// The same as every machine must give it, bit for bit.
std::vector<float> head_norm_oracle(const RmsNorm& norm, std::span<const float> x);

}  // namespace heed::tests

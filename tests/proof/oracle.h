// The canonical row: the float32 operations that define a result bit for bit, in scalar code.
//
//   f   = (float)(scale · log2 e / T), in double from the float scale and T; q'_x = q_x · f
//   t_j = chain over x of q'_x · k_jx, from +0
//   e_j = floor(t_j), p_j = poly(t_j − e_j) · 2^(e_j − m); 0 below 2^−110; a logit of −∞ weighs 0
//   l, O = sums over the visible keys in order, from +0 in each partition of 256 key positions
//   merge of partitions, left to right, after exact scaling to the larger m, in sections of 64,
//   counted from the first that the row sees; merge of sections, likewise
//   out = O / l + 0 (a zero is +0: a product that underflows may be −0, until weights of 0 are
//   added, and how many are is free), lse = (m + log2 l) · ln 2
//
// m is an integer, and any choice of it gives the same bits; here it is the largest e_j of the
// partition. T = 0 replaces 2^(e_j − m) by t_j == m, and merges by dropping the smaller side.
#pragma once

#include <string_view>
#include <vector>

#include "tests/proof/geometry.h"

namespace heed::proof {

/// How products are added: rounded once, or rounded before the sum where an ISA has no FMA.
enum class Arithmetic { fused, separate };

/// The arithmetic of a heed ISA.
Arithmetic arithmetic_of(std::string_view isa);

struct OracleRow {
  std::vector<float> out;
  float lse = 0;
};

/// Computes one row. Only the inputs of `tensors` are read.
OracleRow oracle_row(const Geometry& geometry, const AttentionTensors& tensors, const Row& row,
                     Arithmetic arithmetic);

}  // namespace heed::proof

// The canonical row in scalar code: the oracle that every kernel is compared with, bit for bit.
// docs/canonical-row.md defines the row; the steps here are the steps there. Where definition and
// oracle disagree, one of them is wrong, and no kernel decides which.
//
// m is free in the definition; here it is the largest e_j of the partition.
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

// Adding the states of a row over consecutive ranges of keys, from left to right.
//
//   m = max(m₁, m₂)    l = l₁ · 2^(m₁ − m) + l₂ · 2^(m₂ − m)    O likewise
//
// The first state that has seen a key becomes the sum as it is, and one that has seen none changes
// nothing. Scaling is exact (kernels/attention/weights.inl.h), so each addition rounds once. Memory
// traffic: each state is read once; O is summed where it will stay, in L1.
#pragma once

#include "kernels/attention/rows.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// The state of one row, to be read.
struct RowState {
  float m, l;
  const float* o;
};

/// The state of one row, to be added to.
struct RowSum {
  float& m;
  float& l;
  float* o;
};

/// sum += part, both of which have seen keys, `sum` the earlier ones.
template <class Arch, WeightRule Rule>
HEED_INLINE void fold_row(RowSum sum, RowState part, std::int64_t dims) {
  using W = Weights<Arch, Rule>;
  const Vec<Arch> m_sum = splat<Arch>(sum.m), m_part = splat<Arch>(part.m);
  const Vec<Arch> m = Ops<Arch>::max(m_sum, m_part);
  const Vec<Arch> f_sum = W::rescale(m_sum, m), f_part = W::rescale(m_part, m);
  sum.m = first_lane<Arch>(m);
  sum.l = sum.l * first_lane<Arch>(f_sum) + part.l * first_lane<Arch>(f_part);
  for_each_vector<Arch, 1>(dims, [&](auto access, int, std::int64_t x) {
    access.store(sum.o + x,
                 access.load(sum.o + x, 0.0F) * f_sum + access.load(part.o + x, 0.0F) * f_part);
  });
}

/// sum += part, either of which may have seen no key.
template <class Arch, WeightRule Rule>
HEED_INLINE void add_state(RowSum sum, RowState part, std::int64_t dims) {
  if (part.m == kNoKey) return;
  if (sum.m != kNoKey) return fold_row<Arch, Rule>(sum, part, dims);
  sum.m = part.m;
  sum.l = part.l;
  for_each_vector<Arch, 1>(dims, [&](auto access, int, std::int64_t x) {
    access.store(sum.o + x, access.load(part.o + x, 0.0F));
  });
}

/// sum += the states of a row, one partition after the other.
template <class Arch, WeightRule Rule>
HEED_INLINE void add_states(RowSum sum, const ConstStates& states, std::ptrdiff_t row,
                            std::int64_t dims) {
  for (std::int32_t p = 0; p < states.partitions; ++p) {
    const std::ptrdiff_t i = p * states.rows + row;
    add_state<Arch, Rule>(sum, {states.m[i], states.l[i], states.o + i * dims}, dims);
  }
}

template <class Arch, WeightRule Rule>
void merge_by(const MergeRows& rows) {
  const std::int64_t dims = rows.value_head_dim;
  const RowMap states{rows.group, rows.state_stride}, outputs{rows.group, rows.out_stride},
      sums{rows.group, rows.lse_stride};
  for (std::int32_t row = rows.row_begin; row < rows.row_begin + rows.rows; ++row) {
    const std::ptrdiff_t first =
        rows.first_state + states.offset(row) - states.offset(rows.row_begin);
    float m = kNoKey, l = 0;
    float* const out = rows.out + outputs.offset(row);
    for (const ConstStates* s = rows.states; s < rows.states + rows.count; ++s) {
      add_states<Arch, Rule>({m, l, out}, *s, first, dims);
    }
    write_output<Arch>(out, l, dims, out);
    if (rows.lse != nullptr) rows.lse[sums.offset(row)] = lse_of<Rule>(m, l);
  }
}

template <class Arch, WeightRule Rule>
void accumulate_by(const SumRows& rows) {
  const std::int64_t dims = rows.value_head_dim;
  for (std::ptrdiff_t row = rows.first_row; row < rows.first_row + rows.rows; ++row) {
    add_states<Arch, Rule>({rows.sums.m[row], rows.sums.l[row], rows.sums.o + row * dims},
                           rows.states, row, dims);
  }
}

template <class Arch>
void merge_rows(const MergeRows& rows) {
  rows.rule == WeightRule::argmax ? merge_by<Arch, WeightRule::argmax>(rows)
                                  : merge_by<Arch, WeightRule::exponential>(rows);
}

template <class Arch>
void accumulate_rows(const SumRows& rows) {
  rows.rule == WeightRule::argmax ? accumulate_by<Arch, WeightRule::argmax>(rows)
                                  : accumulate_by<Arch, WeightRule::exponential>(rows);
}

}  // namespace
}  // namespace heed::kernels

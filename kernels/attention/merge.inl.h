// Merging the states of a row over consecutive ranges of keys, from left to right: those of
// partitions within each section, and those of sections.
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
#include "kernels/temperature.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// The state of one row, to be read.
struct RowState {
  float m, l;
  const float* o;
};

/// The state of one row, to be added to.
struct RowTotal {
  float& m;
  float& l;
  float* o;
};

/// total += state, both of which have seen keys, `total` the earlier ones.
template <class Arch>
HEED_INLINE void merge_row(WeightRule rule, RowTotal total, RowState state, std::int64_t dims) {
  const WeightsBy<Arch> weights(rule);
  const Vec<Arch> m_total = splat<Arch>(total.m), m_state = splat<Arch>(state.m);
  const Vec<Arch> m = Ops<Arch>::max(m_total, m_state);
  const Vec<Arch> f_total = weights.rescale(m_total, m);
  const Vec<Arch> f_state = weights.rescale(m_state, m);
  total.m = first_lane<Arch>(m);
  total.l = total.l * first_lane<Arch>(f_total) + state.l * first_lane<Arch>(f_state);
  for_each_vector<Arch, 1>(dims, [&](auto access, int, std::int64_t x) {
    access.store(total.o + x, access.load(total.o + x, 0.0F) * f_total +
                                  access.load(state.o + x, 0.0F) * f_state);
  });
}

/// total += state, either of which may have seen no key.
template <class Arch>
HEED_INLINE void merge_state(WeightRule rule, RowTotal total, RowState state, std::int64_t dims) {
  if (state.m == kNoKey) return;
  if (total.m != kNoKey) return merge_row<Arch>(rule, total, state, dims);
  total.m = state.m;
  total.l = state.l;
  for_each_vector<Arch, 1>(dims, [&](auto access, int, std::int64_t x) {
    access.store(total.o + x, access.load(state.o + x, 0.0F));
  });
}

/// Adds a sink to the state of all keys of a row, whose O becomes 0 where they have no weight.
template <class Arch>
void add_sink(WeightRule rule, RowTotal total, float sink_logit, float unit, std::int64_t dims) {
  const WeightsBy<Arch> weights(rule);
  const SinkState<Arch> sink(weights, splat<Arch>(sink_logit), splat<Arch>(unit));
  const Vec<Arch> m_keys = splat<Arch>(total.m), zero = splat<Arch>(0.0F);
  const Vec<Arch> m = Ops<Arch>::max(m_keys, sink.m);
  const FarFactor<Arch> of_keys = weights.rescale_far(m_keys, m);
  const bool none = total.l == 0.0F;
  total.m = first_lane<Arch>(m);
  total.l = first_lane<Arch>(of_keys(splat<Arch>(total.l)) + sink.l * weights.rescale(sink.m, m));
  for_each_vector<Arch, 1>(dims, [&](auto access, int, std::int64_t x) {
    access.store(total.o + x, none ? zero : of_keys(access.load(total.o + x, 0.0F)));
  });
}

/// The states of one row while they are merged in sections, the first of which is summed where the
/// result will stay.
template <class Arch>
class RowMerge {
 public:
  RowMerge(WeightRule rule, float* o, std::int64_t dims) : rule_(rule), o_(o), dims_(dims) {}

  HEED_INLINE void merge(const ConstStates& states, std::ptrdiff_t row) {
    for (std::int32_t p = 0; p < states.partitions; ++p) {
      const std::ptrdiff_t i = p * states.rows + row;
      if (partitions_ == 0 && states.m[i] == kNoKey) continue;
      const RowTotal section =
          first_ ? RowTotal{m_, l_, o_} : RowTotal{m_section_, l_section_, o_section_};
      merge_state<Arch>(rule_, section, {states.m[i], states.l[i], states.o + i * dims_}, dims_);
      partitions_ += states.merged;
      if (partitions_ % kSectionPartitions == 0) close_section();
    }
  }

  /// Merges the last section, and gives the state of the row.
  HEED_INLINE RowTotal finish() {
    close_section();
    return {m_, l_, o_};
  }

 private:
  HEED_INLINE void close_section() {
    if (!first_) {
      merge_state<Arch>(rule_, {m_, l_, o_}, {m_section_, l_section_, o_section_}, dims_);
    }
    first_ = false;
    m_section_ = kNoKey;
  }

  WeightRule rule_;
  float m_ = kNoKey, l_ = 0;
  float* o_;
  std::int64_t dims_;
  bool first_ = true;            ///< the first section is being summed
  std::int64_t partitions_ = 0;  ///< from the first one that the row sees
  float m_section_ = kNoKey, l_section_ = 0;
  alignas(kAlignment) float o_section_[kMaxHeadDim];  // NOLINT: written before it is read
};

template <class Arch>
void merge_all(const MergeRows& rows) {
  const std::int64_t dims = rows.value_head_dim;
  const RowMap states{rows.group, rows.state_stride}, outputs{rows.group, rows.out_stride},
      sums{rows.group, rows.lse_stride};
  for (std::int32_t row = rows.row_begin; row < rows.row_begin + rows.rows; ++row) {
    const std::ptrdiff_t first =
        rows.first_state + states.offset(row) - states.offset(rows.row_begin);
    std::byte* const out = rows.out + outputs.offset(row);
    alignas(kAlignment) float buffer[kMaxHeadDim];  // NOLINT: written before it is read
    float* const o = output_floats(rows.out_type, out, buffer);
    RowMerge<Arch> merge(rows.rule, o, dims);
    for (const ConstStates* s = rows.states; s < rows.states + rows.count; ++s) {
      merge.merge(*s, first);
    }
    const RowTotal state = merge.finish();
    if (rows.sinks != nullptr) {
      add_sink<Arch>(rows.rule, state, rows.sinks[row % rows.group], rows.unit, dims);
    }
    write_output<Arch>(state.o, state.l, dims, o);
    write_narrow<Arch>(rows.out_type, o, rows.value_head_dim, out);
    if (rows.lse != nullptr) rows.lse[sums.offset(row)] = lse_of(rows.rule, state.m, state.l);
  }
}

template <class Arch>
void merge_all_into(const MergeIntoRows& rows) {
  const std::int64_t dims = rows.value_head_dim;
  const ConstStates& states = rows.states;
  for (std::ptrdiff_t row = rows.first_row; row < rows.first_row + rows.rows; ++row) {
    const RowTotal total{rows.total.m[row], rows.total.l[row], rows.total.o + row * dims};
    for (std::int32_t p = 0; p < states.partitions; ++p) {
      const std::ptrdiff_t i = p * states.rows + row;
      merge_state<Arch>(rows.rule, total, {states.m[i], states.l[i], states.o + i * dims}, dims);
    }
  }
}

/// Rows with temperatures of their own are merged one by one.
template <class Arch>
void merge_rows(const MergeRows& rows) {
  if (rows.temperatures == nullptr) return merge_all<Arch>(rows);
  const RowMap states{rows.group, rows.state_stride};
  const RowMap temperatures{rows.group, rows.temperature_stride};
  MergeRows one = rows;
  one.rows = 1;
  for (std::int32_t row = rows.row_begin; row < rows.row_begin + rows.rows; ++row) {
    const float temperature = rows.temperatures[temperatures.offset(row)];
    one.row_begin = row;
    one.first_state = rows.first_state + states.offset(row) - states.offset(rows.row_begin);
    one.rule = rule_at(temperature);
    one.unit = static_cast<float>(unit_at(temperature));
    merge_all<Arch>(one);
  }
}

/// Likewise.
template <class Arch>
void merge_into_rows(const MergeIntoRows& rows) {
  if (rows.temperatures == nullptr) return merge_all_into<Arch>(rows);
  MergeIntoRows one = rows;
  one.rows = 1;
  for (std::ptrdiff_t row = 0; row < rows.rows; ++row) {
    const std::ptrdiff_t token = row / rows.query_heads, head = row % rows.query_heads;
    one.first_row = rows.first_row + row;
    one.rule = rule_at(rows.temperatures[token * rows.temperature_stride.token +
                                         head * rows.temperature_stride.head]);
    merge_all_into<Arch>(one);
  }
}

}  // namespace
}  // namespace heed::kernels

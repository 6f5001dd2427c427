// The query rows of one KV head in the decode kernel: the packed queries, their logits and weights,
// and the states that partitions are summed in.
#pragma once

#include "kernels/attention/decode_products.inl.h"
#include "kernels/attention/merge.inl.h"
#include "kernels/attention/modifiers.inl.h"
#include "kernels/attention/rows.inl.h"
#include "kernels/attention/states.inl.h"
#include "kernels/attention/tile.inl.h"
#include "kernels/attention/visible.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/scratch.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Keys whose weights are summed for each chunk that is prefetched meanwhile: those of a partition
/// prefetch a block of rows of 128.
inline constexpr std::int32_t kKeysPerChunk = 4;

/// What query rows are multiplied with.
enum class Operand { keys, values };

/// Scales that lie a number of floats further on.
HEED_INLINE TokenScales from(TokenScales scales, std::ptrdiff_t offset) {
  if (scales.scale != nullptr) scales.scale += offset;
  if (scales.zero_point != nullptr) scales.zero_point += offset;
  return scales;
}

/// One KV head of an item, as an item of its own.
HEED_INLINE AttentionItem head_of(const AttentionItem& item, std::int32_t head,
                                  std::int32_t group) {
  const HeadSteps& step = item.head_step;
  AttentionItem own = item;
  if (item.heads == 1) return own;
  own.heads = 1;
  own.q += head * step.q;
  if (own.slopes != nullptr) own.slopes += head * group;
  if (own.sinks != nullptr) own.sinks += head * group;
  if (own.bias != nullptr) own.bias += head * step.bias;
  if (own.temperatures != nullptr) own.temperatures += head * step.temperature;
  own.k += head * step.k;
  own.v += head * step.v;
  own.k_scales = from(item.k_scales, head * step.k_scales);
  own.v_scales = from(item.v_scales, head * step.v_scales);
  if (item.states.m == nullptr) {
    own.out += head * step.out;
    if (item.lse != nullptr) own.lse += head * step.lse;
  } else {
    own.states.m += head * step.state_sums;
    own.states.l += head * step.state_sums;
    own.states.o += head * step.state_outputs;
  }
  return own;
}

template <class Arch>
class DecodeHead {
 public:
  static constexpr int kWidth = kLanes<Arch>;
  static constexpr std::ptrdiff_t kWeightsStride = kDecodeWeightsStride;

  DecodeHead() = default;
  DecodeHead(const AttentionShape& shape, const AttentionItem& item, std::int32_t head,
             const ScratchLayout& layout, float* scratch)
      : shape_(&shape),
        item_(head_of(item, head, shape.group)),
        keys_(keys_of(shape, item_)),
        values_(values_of(shape, item_)) {
    head_dim_ = static_cast<std::int32_t>(decode_query_floats(shape.head_dim, kWidth));
    dims_ = static_cast<std::int32_t>(padded(shape.value_head_dim, kWidth));
    const auto at = [&](const ScratchRegion& region) {
      return scratch + region.begin +
             region.size / static_cast<std::size_t>(item.heads) * static_cast<std::size_t>(head);
    };
    q_ = at(layout.queries);
    partition_ = State::at(at(layout.partition), padded_rows());
    total_ = State::at(at(layout.total), padded_rows());
    sections_ = State::at(at(layout.sections), padded_rows());
    weights_ = at(layout.weights);
    next_state_ = item_.first_partition;
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      factors_[r] = factors_of(shape, item_, item_.row_begin + r);
    }
    for (std::int32_t r = 0; shape.sections && r < item_.rows; ++r) {
      first_partition_[r] = first_partition(item_, keys_of_row(shape, item_, item_.row_begin + r));
    }
    pack();
  }

  const Storage& rows(Operand operand) const { return operand == Operand::keys ? keys_ : values_; }

  /// All rows, and their logits from this key of the partition on.
  DecodeQueries queries(std::int32_t key) const {
    return {q_, head_dim_, weights_ + key, kWeightsStride};
  }
  /// The weights of the rows from `row` on, from this key of the partition on, and their outputs.
  DecodeOutputs outputs(std::int32_t row, std::int32_t key) const {
    return {weights_ + row * kWeightsStride + key, kWeightsStride, partition_.o + row * dims_,
            dims_};
  }

  void open_partition() const { clear(partition_); }

  void close_partition(std::int32_t partition) {
    if (item_.states.m == nullptr || item_.merge_partitions) return merge_partition(partition);
    write_unseen_states(partition);
    write_states(partition_, partition);
    next_state_ = partition + 1;
  }

  /// Turns the logits of rows [row, end), which see exactly the keys `seen`, into weights, and adds
  /// these to l. The logits begin with that of key `first`.
  void weigh(std::int32_t row, std::int32_t end, KeyInterval seen, std::int32_t first,
             Chunks<Cache::l2> coming) {
    const std::int32_t count = seen.last - seen.first;
    float* weights = weights_ + row * kWeightsStride + seen.first - first;
    for (std::int32_t r = row; r < end; ++r) {
      finish_logits(weights + (r - row) * kWeightsStride, seen.first, count, r);
      exponentiate_row(weights + (r - row) * kWeightsStride, count, r);
    }
    sum_weights(row, end, weights, count, coming);
  }

  /// The same for all rows and all keys of a partition, whose logits are known where any row sees
  /// the key: those that a row does not see have weight 0. The keys begin with a whole word.
  void weigh_visible(const RowKeys* rows, KeyInterval keys, std::int32_t first) {
    const std::int32_t count = keys.last - keys.first;
    float* const weights = weights_ + keys.first - first;
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      float* const t = weights + r * kWeightsStride;
      finish_logits(t, keys.first, count, r);
      hide(rows[r], keys, t);
      exponentiate_row(t, count, r);
    }
    sum_weights(0, item_.rows, weights, count, Chunks<Cache::l2>(ComingRows()));
  }

  /// Whether all numbers of the partition's O are finite.
  bool has_finite_outputs() const {
    return all_finite<Arch>(partition_.o, std::int64_t{item_.rows} * dims_);
  }

  void clear_outputs() const {
    for (std::ptrdiff_t x = 0; x < std::ptrdiff_t{item_.rows} * dims_; x += kWidth) {
      store<Arch>(partition_.o + x, splat<Arch>(0.0F));
    }
  }

  /// Writes outputs or states, after the last partition.
  void finish() {
    if (item_.states.m == nullptr) return write_rows_out();
    item_.merge_partitions ? write_states(total_, item_.first_partition)
                           : write_unseen_states(item_.first_partition + item_.states.partitions);
  }

 private:
  std::ptrdiff_t padded_rows() const {
    return static_cast<std::ptrdiff_t>(padded(item_.rows, kWidth));
  }

  /// Packs the query rows: widens them, pads them with zeros and scales them.
  void pack() const {
    const RowMap map{shape_->group, item_.q_stride};
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      float* const to = q_ + r * head_dim_;
      widen_row<Arch>(shape_->q_type, item_.q + map.offset(item_.row_begin + r), shape_->head_dim,
                      to);
      const float factor = shape_->pairs ? 1.0F : factors_[r].query;
      for (std::int32_t x = 0; x < shape_->head_dim; ++x) to[x] *= factor;
      for (std::int32_t x = shape_->head_dim; x < head_dim_; ++x) to[x] = 0.0F;
    }
  }

  /// Gives logits of keys from a whole word on that a row does not see −∞.
  void hide(const RowKeys& row, KeyInterval keys, float* t) const {
    alignas(kAlignment) std::int32_t shifts[kWidth];
    for (int i = 0; i < kWidth; ++i) shifts[i] = static_cast<std::int32_t>(1U << i);
    const auto lane = Integers<Arch>::load_unaligned(shifts);
    const Vec<Arch> hidden = splat<Arch>(-__builtin_inff());
    for (std::int32_t key = keys.first; key < keys.last; key += kWordKeys) {
      const std::uint32_t word =
          visible_word(item_, row, key) & bits_of(key, keys.first, keys.last);
      for (int i = 0; i < kWordKeys; i += kWidth, t += kWidth) {
        const Integers<Arch> own = Integers<Arch>(static_cast<std::int32_t>(word >> i)) & lane;
        const Mask<Arch> sees = Ops<Arch>::less(Integers<Arch>(0), own);
        store<Arch>(t, Ops<Arch>::select(sees, load<Arch>(t), hidden));
      }
    }
  }

  void clear(State state) const {
    clear_sums<Arch>(state, padded_rows());
    for (std::ptrdiff_t x = 0; x < std::ptrdiff_t{item_.rows} * dims_; x += kWidth) {
      store<Arch>(state.o + x, splat<Arch>(0.0F));
    }
  }

  void write_states(const State& state, std::int32_t partition) const {
    const StateRows<Arch> states(*shape_, item_);
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      if (!states.writes(r)) continue;
      states.write_sums(partition, r, state.m[r], state.l[r]);
      const float* from = state.o + r * dims_;
      float* to = states.o(partition, r);
      for_each_vector<Arch, 1>(shape_->value_head_dim, [&](auto access, int, std::int64_t x) {
        access.store(to + x, access.load(from + x, 0.0F));
      });
    }
  }

  /// Writes empty states for the partitions before `end` of which no row has seen a key.
  void write_unseen_states(std::int32_t end) const {
    const StateRows<Arch> states(*shape_, item_);
    for (std::int32_t p = next_state_; p < end; ++p) states.write_unseen(p, 0, item_.rows);
  }

  /// Merges the state of a partition into that of its section, which the first one becomes as it
  /// is. The steps are those of PrefillKernel::merge_partition, whose states have rows as lanes:
  /// the two share no line that does not depend on how states lie.
  void merge_partition(std::int32_t partition) {
    if (has_total_ && shape_->sections && !item_.merge_partitions) close_sections(partition);
    last_partition_ = partition;
    if (has_total_) {
      for (std::int32_t r = 0; r < item_.rows; ++r) merge_row_of(total_, partition_, r);
    } else {
      const State first = partition_;
      partition_ = total_;
      total_ = first;
      has_total_ = true;
    }
  }

  void merge_row_of(const State& total, const State& state, std::int32_t r) const {
    merge_row<Arch>(shape_->rule, {total.m[r], total.l[r], total.o + r * dims_},
                    {state.m[r], state.l[r], state.o + r * dims_}, dims_);
  }

  /// Merges the sections that ended before the partition into those before.
  void close_sections(std::int32_t partition) {
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      if (!ends_section(first_partition_[r], last_partition_, partition)) continue;
      if (!has_sections_) clear(sections_);
      has_sections_ = true;
      merge_row_of(sections_, total_, r);
      total_.m[r] = kNoMaximum;
      total_.l[r] = 0.0F;
      for (std::int32_t x = 0; x < dims_; x += kWidth) {
        store<Arch>(total_.o + r * dims_ + x, splat<Arch>(0.0F));
      }
    }
  }

  /// The state of all keys that the rows see.
  const State& final_state() {
    if (!has_total_) clear_sums<Arch>(total_, padded_rows());  // without weight, O does not matter
    if (!has_sections_) return total_;
    for (std::int32_t r = 0; r < item_.rows; ++r) merge_row_of(sections_, total_, r);
    return sections_;
  }

  /// Makes products logits: of pairs the factor is applied, then the modifiers are.
  void finish_logits(float* t, std::int32_t first, std::int32_t count, std::int32_t r) const {
    if (shape_->pairs) {
      const auto whole = static_cast<std::ptrdiff_t>(padded(count, kWidth));
      scale_logits<Arch>(t, whole, factors_[r].query);
    }
    if (modifies(*shape_, item_)) {
      modify_row<Arch>(*shape_, item_, factors_[r], t, first, count, item_.row_begin + r);
    }
  }

  /// Turns a row's logits into weights. Where m moves, l and O are rescaled before.
  void exponentiate_row(float* t, std::int32_t count, std::int32_t r) {
    if (shape_->rule == WeightRule::argmax) {
      exponentiate_by<Weights<Arch, WeightRule::argmax>>(t, count, r);
    } else {
      exponentiate_by<Weights<Arch, WeightRule::exponential>>(t, count, r);
    }
  }

  template <class W>
  void exponentiate_by(float* t, std::int32_t count, std::int32_t r) {
    // The lanes of the last vector that are past the end of the row have no weight.
    store<Arch>(t + count, splat<Arch>(-__builtin_inff()));
    Vec<Arch> top = splat<Arch>(-__builtin_inff());
    for (std::int32_t j = 0; j < count; j += kWidth) top = Ops<Arch>::max(load<Arch>(t + j), top);
    alignas(kAlignment) float lane[kWidth];
    store<Arch>(lane, top);
    float highest = lane[0];
    for (int i = 1; i < kWidth; ++i) highest = lane[i] > highest ? lane[i] : highest;
    const Vec<Arch> candidate = W::candidate(splat<Arch>(highest));
    Vec<Arch> m = splat<Arch>(partition_.m[r]);
    if (Ops<Arch>::any(W::moves(candidate, m))) {
      const Vec<Arch> factor = W::rescale(m, candidate);
      m = candidate;
      partition_.m[r] = first_lane<Arch>(m);
      partition_.l[r] *= first_lane<Arch>(factor);
      scale_output<Arch>(partition_.o + r * dims_, kWidth, dims_ / kWidth, factor);
    }
    for (std::int32_t j = 0; j < count; j += kWidth) {
      const Vec<Arch> p = W::weight(load<Arch>(t + j), m);
      store<Arch>(t + j, shape_->pairs ? nearest_bf16<Arch>(p) : p);
    }
  }

  /// Adds the weights of rows [row, end) to l.
  void sum_weights(std::int32_t row, std::int32_t end, const float* weights, std::int32_t count,
                   Chunks<Cache::l2> coming) {
    std::int32_t r = row;
    for (; r + 4 <= end; r += 4) {
      sum_rows<4>(weights + (r - row) * kWeightsStride, count, r, coming);
    }
    for (; r < end; ++r) sum_rows<1>(weights + (r - row) * kWeightsStride, count, r, coming);
  }

  /// l += the weights, key by key. Each row is a chain of additions, so several rows are summed
  /// side by side, and values are prefetched meanwhile.
  template <int Rows>
  void sum_rows(const float* weights, std::int32_t count, std::int32_t row,
                Chunks<Cache::l2>& coming) {
    float l[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) l[r] = partition_.l[row + r];
    for (std::int32_t j = 0; j < count; ++j) {
      if (j % kKeysPerChunk == 0) coming.prefetch();
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) l[r] += weights[r * kWeightsStride + j];
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) partition_.l[row + r] = l[r];
  }

  void write_rows_out() {
    const State& state = final_state();
    const RowMap map{shape_->group, item_.out_stride};
    const auto writes = [&](std::int32_t row) { return writes_row(*shape_, item_, row); };
    for (std::int32_t r = 0; r < item_.rows; ++r) {
      if (!writes(item_.row_begin + r)) continue;
      if (item_.sinks != nullptr) {
        add_sink<Arch>(shape_->rule, {state.m[r], state.l[r], state.o + r * dims_},
                       item_.sinks[(item_.row_begin + r) % shape_->group], factors_[r].unit, dims_);
      }
      std::byte* const out = item_.out + map.offset(item_.row_begin + r);
      float* const o = state.o + r * dims_;
      float* const row = output_floats(shape_->out_type, out, o);
      write_output<Arch>(o, state.l[r], shape_->value_head_dim, row);
      write_narrow<Arch>(shape_->out_type, row, shape_->value_head_dim, out);
    }
    if (item_.lse != nullptr) {
      write_lse(shape_->rule, state, item_.lse, RowMap{shape_->group, item_.lse_stride},
                item_.row_begin, item_.rows, writes);
    }
  }

  const AttentionShape* shape_ = nullptr;
  AttentionItem item_;
  Storage keys_, values_;
  std::int32_t head_dim_ = 0, dims_ = 0;  ///< padded
  float* q_ = nullptr;                    ///< rows × head_dim_
  /// Of the partition and of the section being summed, and of the sections before: m and l per row;
  /// O is rows × dims_.
  State partition_{}, total_{}, sections_{};
  bool has_total_ = false;           ///< total_ holds a state
  bool has_sections_ = false;        ///< sections_ holds a state
  float* weights_ = nullptr;         ///< logits, then weights: rows × kWeightsStride
  std::int32_t next_state_ = 0;      ///< the next partition whose states will be written
  std::int32_t last_partition_ = 0;  ///< that was merged into the total
  LogitFactors factors_[max_decode_rows(kWidth)] = {};          ///< of each row
  std::int32_t first_partition_[max_decode_rows(kWidth)] = {};  ///< that each row sees
};

}  // namespace
}  // namespace heed::kernels

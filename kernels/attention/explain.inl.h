// From a row of logits to its weights, and to what these tell.
//
//   w_j = p_j / l     p as in kernels/attention/weights.inl.h, m the row's own
//   entropy = −Σ w ln w = (log2 l − Σ p·(t − m) / l) · ln 2
//
// A sink is one more choice: it takes weight and adds to the entropy. Sums have sixteen columns,
// whatever the ISA, each of which starts afresh at every partition, so that no term meets more than
// 16 + n / 256 + 16 additions. Weights are products with 1 / l, which a division would take ten
// times as long for. Memory: a row is read three times and written once or twice, in L1 and L2.
#pragma once

#include "kernels/attention/rows.inl.h"
#include "kernels/attention/weights.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"
#include "kernels/vector/log.inl.h"

namespace heed::kernels {
namespace {

/// Columns of a sum over keys.
inline constexpr int kSumColumns = 16;
static_assert(kSumColumns * 4 == kAlignment, "rows of logits are whole groups of columns");

/// A sum over the keys of a row.
template <class Arch>
class KeySum {
 public:
  static constexpr int kVectors = kSumColumns / kLanes<Arch>;

  KeySum() { clear(); }
  HEED_INLINE Vec<Arch>& column(int v) { return columns_[v]; }

  /// Adds the columns of a partition to the total, from the first to the last.
  void close_partition() {
    alignas(kAlignment) float columns[kSumColumns];
    for (int v = 0; v < kVectors; ++v) store<Arch>(columns + v * kLanes<Arch>, columns_[v]);
    float sum = columns[0];
    for (int i = 1; i < kSumColumns; ++i) sum += columns[i];
    total_ += sum;
    clear();
  }
  float total() const { return total_; }

 private:
  void clear() {
    for (Vec<Arch>& column : columns_) column = splat<Arch>(0.0F);
  }

  Vec<Arch> columns_[kVectors];
  float total_ = 0.0F;
};

/// The largest weights of a row, the larger ones first and of equal ones the earlier key.
class LargestWeights {
 public:
  explicit LargestWeights(const WeightRow& row) : row_(row) {
    for (std::int32_t i = 0; i < row.top; ++i) row.top_weights[i] = 0.0F, row.top_keys[i] = -1;
  }

  /// What a weight must be above to be one of them.
  float least() const { return row_.top_weights[row_.top - 1]; }

  void insert(float weight, std::int32_t key) const {
    std::int32_t i = row_.top - 1;
    for (; i > 0 && weight > row_.top_weights[i - 1]; --i) {
      row_.top_weights[i] = row_.top_weights[i - 1];
      row_.top_keys[i] = row_.top_keys[i - 1];
    }
    row_.top_weights[i] = weight;
    row_.top_keys[i] = key;
  }

 private:
  const WeightRow& row_;
};

template <class Arch, WeightRule Rule>
class RowWeights {
 public:
  using W = Weights<Arch, Rule>;
  static constexpr int kWidth = kLanes<Arch>;

  explicit RowWeights(const WeightRow& row)
      : row_(row),
        begin_(row.first - row.first % kSumColumns),
        end_(static_cast<std::int32_t>(padded(row.last, kSumColumns))) {}

  void compute() {
    find_maximum();
    if (row_.entropy != nullptr) {
      sum_weights<true>();
      *row_.entropy = entropy();
    } else {
      sum_weights<false>();
    }
    tell();
    if (row_.weights != nullptr) write_weights();
  }

 private:
  bool has_sink() const { return row_.sink != nullptr; }

  void find_maximum() {
    Vec<Arch> top = splat<Arch>(-__builtin_inff());
    for (std::int32_t j = begin_; j < end_; j += kWidth) {
      top = Ops<Arch>::max(load<Arch>(row_.logits + j), top);
    }
    const float highest = Ops<Arch>::reduce(top, Maximum());
    Vec<Arch> m = Ops<Arch>::max(W::candidate(splat<Arch>(highest)), splat<Arch>(kNoMaximum));
    if (has_sink()) {
      sink_ = SinkState<Arch, Rule>(splat<Arch>(*row_.sink), splat<Arch>(row_.unit));
      m = Ops<Arch>::max(sink_.m, m);
    }
    m_ = first_lane<Arch>(m);
  }

  template <bool Entropy>
  void sum_weights() {
    KeySum<Arch> l, e;
    const Vec<Arch> m = splat<Arch>(m_), zero = splat<Arch>(0.0F);
    for (std::int32_t j = begin_; j < end_; j += kSumColumns) {
      for (int v = 0; v < KeySum<Arch>::kVectors; ++v) {
        float* const at = row_.logits + j + v * kWidth;
        const Vec<Arch> t = load<Arch>(at), p = W::weight(t, m);
        store<Arch>(at, p);
        l.column(v) = l.column(v) + p;
        if constexpr (!Entropy) continue;
        e.column(v) = e.column(v) + Ops<Arch>::select(p > zero, p * (t - m), zero);
      }
      if ((j + kSumColumns) % kPartitionKeys == 0) l.close_partition(), e.close_partition();
    }
    l.close_partition();
    e.close_partition();
    l_ = l.total();
    e_ = e.total();
    if (has_sink()) add_sink();
  }

  void add_sink() {
    const float own = first_lane<Arch>(sink_.l * W::rescale(sink_.m, splat<Arch>(m_)));
    const float t = *row_.sink * row_.unit;
    l_ += own;
    if (own > 0.0F) e_ += own * (t - m_);
  }

  float entropy() const {
    if (l_ == 0.0F) return 0.0F;
    if (!(l_ <= __FLT_MAX__)) return __builtin_nanf("");
    constexpr double ln2 = 0.693147180559945309417;
    const double h = (log2_of(l_) - static_cast<double>(e_) / static_cast<double>(l_)) * ln2;
    return h > 0.0 ? static_cast<float>(h) : 0.0F;
  }

  /// Makes p the weights, adds these to masses and finds the largest, in one pass.
  void tell() const {
    const LargestWeights largest(row_);
    const Vec<Arch> scale = splat<Arch>(l_ == 0.0F ? 0.0F : 1.0F / l_);
    const std::int32_t last = end_ < row_.keys ? end_ : row_.keys;
    for_each_vector<Arch, 1>(last - begin_, [&](auto access, int, std::int64_t i) {
      const std::int64_t j = begin_ + i;
      const Vec<Arch> w = load<Arch>(row_.logits + j) * scale;
      store<Arch>(row_.logits + j, w);
      if (row_.mass != nullptr) {
        access.store(row_.mass + j, access.load(row_.mass + j, 0.0F) + w);
      }
      if (row_.top > 0 && Ops<Arch>::any(w > splat<Arch>(largest.least()))) {
        insert_vector(largest, static_cast<std::int32_t>(j));
      }
    });
  }

  __attribute__((noinline)) void insert_vector(const LargestWeights& largest,
                                               std::int32_t first) const {
    for (std::int32_t j = first; j < first + kWidth; ++j) {
      if (row_.logits[j] > largest.least()) largest.insert(row_.logits[j], j);
    }
  }

  /// Writes the weights of all keys, those of hidden ones as zeros.
  void write_weights() const {
    for (std::int32_t j = 0; j < begin_; ++j) row_.logits[j] = 0.0F;
    for (std::int32_t j = end_; j < row_.keys; ++j) row_.logits[j] = 0.0F;
    if (row_.type != DType::f32) {
      return narrow_row<Arch>(row_.type, row_.logits, row_.keys, row_.weights);
    }
    auto* const to = reinterpret_cast<float*>(row_.weights);
    for_each_vector<Arch, 1>(row_.keys, [&](auto access, int, std::int64_t j) {
      access.store(to + j, access.load(row_.logits + j, 0.0F));
    });
  }

  SinkState<Arch, Rule> sink_{splat<Arch>(-__builtin_inff()), splat<Arch>(1.0F)};
  const WeightRow& row_;
  std::int32_t begin_, end_;     ///< keys that may be seen, rounded to whole groups
  float m_ = 0, l_ = 0, e_ = 0;  ///< e is Σ p·(t − m)
};

template <class Arch>
void weigh_row(const WeightRow& row) {
  row.rule == WeightRule::argmax ? RowWeights<Arch, WeightRule::argmax>(row).compute()
                                 : RowWeights<Arch, WeightRule::exponential>(row).compute();
}

}  // namespace
}  // namespace heed::kernels

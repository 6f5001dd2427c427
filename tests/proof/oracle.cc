#include "tests/proof/oracle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "kernels/vector/exp2_coefficients.h"
#include "kernels/vector/tanh_coefficients.h"
#include "tests/proof/elements.h"
#include "tests/proof/numbers.h"

namespace heed::proof {
namespace {

constexpr std::int64_t kPartitionKeys = 256;
constexpr std::int64_t kSectionPartitions = 64;

float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x; }

struct Fused {
  static float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
  static float multiply_add_flushed(float a, float b, float c) { return flush(std::fma(a, b, c)); }
};

struct Separate {
  static float multiply_add(float a, float b, float c) {
    const float product = a * b;
    return product + c;
  }
  static float multiply_add_flushed(float a, float b, float c) {
    const float product = flush(a * b);
    return flush(product + c);
  }
};

/// The sums over a range of keys, relative to m; −∞ where no logit was a number above −∞.
struct State {
  float m = -kInfinity;
  float l = 0;
  std::vector<float> o;
};

/// Chains of sums that are computed side by side: each sum waits 4 cycles for the one before it, on
/// a core that begins two in each cycle.
constexpr std::size_t kChains = 8;

template <class Arithmetic, bool Pairs>
class OracleOf {
 public:
  OracleOf(const Geometry& geometry, const AttentionTensors& tensors, const Row& row)
      : geometry_(geometry),
        tensors_(tensors),
        row_(row),
        temperature_(geometry.temperature(tensors.modifiers, row)),
        argmax_(temperature_ == 0),
        cap_(flushed(static_cast<float>(tensors.modifiers.softcap * unit()))),
        factor_(query_factor()),
        q_(query()) {}

  OracleRow compute() const {
    const std::vector<std::int64_t> keys = geometry_.seen(row_);
    std::optional<State> total, section;
    for (auto begin = keys.begin(); begin != keys.end();) {
      const std::int64_t partition = *begin / kPartitionKeys;
      const auto end = std::find_if(
          begin, keys.end(), [&](std::int64_t key) { return key / kPartitionKeys != partition; });
      merge(section, partition_of({begin, end}));
      if (end == keys.end() || section_of(*end, keys.front()) != section_of(*begin, keys.front())) {
        merge(total, *std::exchange(section, std::nullopt));
      }
      begin = end;
    }
    State all = total ? *total : no_keys();
    if (tensors_.modifiers.sinks != nullptr) add_sink(all);
    return finish(all);
  }

 private:
  /// The section that a key belongs to, of a row that sees `first` first.
  static std::int64_t section_of(std::int64_t key, std::int64_t first) {
    return (key / kPartitionKeys - first / kPartitionKeys) / kSectionPartitions;
  }

  State no_keys() const {
    State state;
    state.o.assign(static_cast<std::size_t>(geometry_.value_head_dim()), 0.0F);
    return state;
  }

  /// log2 e / T.
  double unit() const { return 1.4426950408889634 / (argmax_ ? 1.0 : double{temperature_}); }

  float query_factor() const {
    const AttentionConfig& config = geometry_.config();
    const float scale = config.scale.value_or(
        static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim))));
    if (cap_ > 0) return static_cast<float>(scale / double{tensors_.modifiers.softcap});
    const double temperature = argmax_ ? 1.0 : double{temperature_};
    return static_cast<float>(scale * 1.4426950408889634 / temperature);
  }

  /// Scaled, but for pairs, whose logits are.
  std::vector<float> query() const {
    std::vector<float> buffer;
    const std::span<const float> q =
        floats_of(tensors_.q + geometry_.q(row_), geometry_.config().head_dim, buffer);
    std::vector<float> scaled(q.begin(), q.end());
    for (float& x : scaled) x = Pairs ? x : x * factor_;
    return scaled;
  }

  /// With pairs denormal numbers count as zero.
  static float flushed(float x) { return Pairs ? flush(x) : x; }

  static float multiply_add(float a, float b, float c) {
    if constexpr (!Pairs) return Arithmetic::multiply_add(a, b, c);
    return Arithmetic::multiply_add_flushed(flushed(a), flushed(b), c);
  }

  /// Appends the logits of the first `Count` of these keys.
  template <std::size_t Count>
  void score(std::span<const std::int64_t> keys, std::vector<float>& logits) const {
    std::array<std::span<const float>, Count> k;
    for (std::size_t c = 0; c < Count; ++c) {
      k[c] = floats_of(tensors_.k + geometry_.k(row_, keys[c]),
                       geometry_.scales_of_k(row_, keys[c], tensors_.k_scales),
                       geometry_.config().head_dim, buffers_[c]);
    }
    std::array<float, Count> sums = {};
    for (std::size_t i = 0; i < q_.size(); ++i) {
      const std::size_t x = Pairs ? i ^ 1U : i;  // the second one of a pair first
      for (std::size_t c = 0; c < Count; ++c) sums[c] = multiply_add(q_[x], k[c][x], sums[c]);
    }
    for (std::size_t c = 0; c < Count; ++c) {
      const float t = Pairs ? flushed(sums[c] * flushed(factor_)) : sums[c];
      logits.push_back(modified(t, keys[c]));
    }
  }

  std::vector<float> logits_of(std::span<const std::int64_t> keys) const {
    std::vector<float> logits;
    for (; keys.size() >= kChains; keys = keys.subspan(kChains)) score<kChains>(keys, logits);
    for (; !keys.empty(); keys = keys.subspan(1)) score<1>(keys, logits);
    return logits;
  }

  /// The modifiers in their order. With pairs all operands and results count as zero where they are
  /// denormal.
  float modified(float t, std::int64_t key) const {
    const ScoreModifiers& modifiers = tensors_.modifiers;
    const float unit = flushed(static_cast<float>(this->unit()));
    if (cap_ > 0) t = flushed(hyperbolic_tangent(t) * flushed(cap_));
    if (modifiers.alibi_slopes != nullptr) {
      const float slope =
          flushed(flushed(modifiers.alibi_slopes[static_cast<std::size_t>(row_.head)]) * unit);
      t = multiply_add(slope, static_cast<float>(key - geometry_.position(row_)), t);
    }
    if (modifiers.bias.data != nullptr) {
      const float bias = floats_of(modifiers.bias.data + geometry_.bias(modifiers.bias, row_, key),
                                   1, bias_buffer_)[0];
      t = bias == -kInfinity ? bias : flushed(t + flushed(flushed(bias) * unit));
    }
    return t;
  }

  float hyperbolic_tangent(float t) const {
    const float u =
        std::isnan(t) ? t : std::clamp(t, -kernels::kTanhLargest, kernels::kTanhLargest);
    const float z = flushed(flushed(u) * flushed(u));
    float p = kernels::kTanhNumerator[4], q = kernels::kTanhDenominator[4];
    for (int i = 3; i >= 0; --i) {
      p = multiply_add(p, z, kernels::kTanhNumerator[i]);
      q = multiply_add(q, z, kernels::kTanhDenominator[i]);
    }
    return flushed(flushed(flushed(u) * p) / q);
  }

  /// Adds the sink to the state of all keys.
  void add_sink(State& keys) const {
    const float sink = tensors_.modifiers.sinks[static_cast<std::size_t>(row_.head)];
    if (keys.l == 0.0F) keys.o.assign(keys.o.size(), 0.0F);
    const float t = flushed(flushed(sink) * flushed(static_cast<float>(unit())));
    if (sink == -kInfinity || t == -kInfinity) return;
    State own = no_keys();
    own.m = level(t);
    own.l = weight_in_float(t, own.m);
    keys = merged(keys, own);
  }

  /// What m compares: logits for the argmax, else their integers.
  float level(float t) const { return argmax_ ? t : std::floor(t); }

  float weight(float t, float m) const {
    const float p = weight_in_float(t, m);
    return Pairs && !argmax_ ? nearest_bf16(p) : p;
  }

  float weight_in_float(float t, float m) const {
    if (t == -kInfinity) return 0.0F;
    if (argmax_) return t < m ? 0.0F : t == m ? 1.0F : t;
    const float e = std::floor(t), f = t - e;
    if (e - m < -110.0F) return 0.0F;
    float p = kernels::kExp2Coefficients[5];
    for (int i = 4; i >= 0; --i) {
      p = Arithmetic::multiply_add(p, f, kernels::kExp2Coefficients[i]);
    }
    return scaled(p, e - m);
  }

  static float nearest_bf16(float x) {
    BFloat16 rounded;
    narrow({&x, 1}, &rounded);
    return std::bit_cast<float>(static_cast<std::uint32_t>(rounded.bits) << 16);
  }

  /// x · 2^n for an integer n ≤ 0, or NaN.
  static float scaled(float x, float n) {
    if (std::isnan(n)) return n;
    constexpr int bias = 127, fraction_bits = 23;
    if (n > -bias) {  // 2^n is a normal number, so that the product is rounded once, as it should
      return x * std::bit_cast<float>((static_cast<std::int32_t>(n) + bias) << fraction_bits);
    }
    return std::ldexp(x, static_cast<int>(std::max(n, -10000.0F)));
  }

  /// The state of visible keys of one partition.
  State partition_of(std::span<const std::int64_t> keys) const {
    std::vector<float> logits = logits_of(keys);
    State state = no_keys();
    for (const float t : logits) {
      if (level(t) > state.m) state.m = level(t);
    }
    for (float& t : logits) {
      t = weight(t, state.m);
      state.l += t;
    }
    for (const std::size_t i : in_order(keys)) {
      const std::int64_t key = keys[i];
      const float p = logits[i];
      const std::span<const float> v = floats_of(
          tensors_.v + geometry_.v(row_, key), geometry_.scales_of_v(row_, key, tensors_.v_scales),
          geometry_.value_head_dim(), buffers_.front());
      for (std::size_t x = 0; x < v.size(); ++x) state.o[x] = multiply_add(p, v[x], state.o[x]);
    }
    return state;
  }

  /// The keys in the order in which their values are added: the second one of a pair first.
  std::vector<std::size_t> in_order(std::span<const std::int64_t> keys) const {
    std::vector<std::size_t> order(keys.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = 0; Pairs && i + 1 < keys.size(); ++i) {
      if (keys[i] % 2 == 0 && keys[i + 1] == keys[i] + 1) std::swap(order[i], order[i + 1]);
    }
    return order;
  }

  /// total += state; the first state becomes the total as it is.
  void merge(std::optional<State>& total, State state) const {
    total = total ? merged(*total, state) : std::move(state);
  }

  State merged(const State& a, const State& b) const {
    State sum{std::max(a.m, b.m), 0.0F, a.o};
    const auto add = [&](float x, float y) {
      return flushed(flushed(rescaled(x, a.m, sum.m)) + flushed(rescaled(y, b.m, sum.m)));
    };
    sum.l = add(a.l, b.l);
    for (std::size_t x = 0; x < sum.o.size(); ++x) sum.o[x] = add(a.o[x], b.o[x]);
    return sum;
  }

  float rescaled(float x, float from, float to) const {
    if (from == to) return x;
    return argmax_ ? x * 0.0F : scaled(x, from - to);
  }

  OracleRow finish(const State& total) const {
    OracleRow result;
    // Adding +0 turns −0 into it: see docs/canonical-row.md.
    for (const float o : total.o) {
      result.out.push_back(total.l == 0.0F ? 0.0F : flushed(o / total.l) + 0.0F);
    }
    if (total.l == 0.0F) {
      result.lse = -kInfinity;
    } else if (argmax_ || !std::isfinite(total.l)) {
      result.lse = std::numeric_limits<float>::quiet_NaN();
    } else {
      int exponent = 0;
      const double mantissa = 2.0 * std::frexp(static_cast<double>(total.l), &exponent);
      const double base2 = static_cast<double>(total.m) + (exponent - 1) + std::log2(mantissa);
      result.lse = static_cast<float>(base2 * 0.69314718055994531);
    }
    return result;
  }

  const Geometry& geometry_;
  const AttentionTensors& tensors_;
  const Row& row_;
  float temperature_;
  bool argmax_;
  float cap_;  ///< the softcap to base 2; 0: none
  float factor_;
  std::vector<float> q_;
  /// Rows of keys or of values that are not of floats.
  mutable std::array<std::vector<float>, kChains> buffers_;
  mutable std::vector<float> bias_buffer_;
};

template <class Arithmetic>
OracleRow row_of(const Geometry& geometry, const AttentionTensors& tensors, const Row& row) {
  if (geometry.pairs()) return OracleOf<Arithmetic, true>(geometry, tensors, row).compute();
  return OracleOf<Arithmetic, false>(geometry, tensors, row).compute();
}

#if defined(__x86_64__)
// std::fma calls a function where the compiler may not assume the instruction, and most of the time
// of proofs went into these calls. With everything inlined, this function alone is compiled for it.
[[gnu::target("fma"), gnu::flatten]] OracleRow row_by_instruction(const Geometry& geometry,
                                                                  const AttentionTensors& tensors,
                                                                  const Row& row) {
  return row_of<Fused>(geometry, tensors, row);
}
#endif

OracleRow fused_row(const Geometry& geometry, const AttentionTensors& tensors, const Row& row) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("fma") != 0;
  if (has_instruction) return row_by_instruction(geometry, tensors, row);
#endif
  return row_of<Fused>(geometry, tensors, row);
}

}  // namespace

Arithmetic arithmetic_of(std::string_view isa) {
#if defined(__aarch64__)
  constexpr bool all_processors_fuse = true;
#else
  constexpr bool all_processors_fuse = false;
#endif
  const bool of_all_processors = isa == "generic" || isa == "neon" || isa == "toy";
  return of_all_processors && !all_processors_fuse ? Arithmetic::separate : Arithmetic::fused;
}

OracleRow oracle_row(const Geometry& geometry, const AttentionTensors& tensors, const Row& row,
                     Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::separate) return row_of<Separate>(geometry, tensors, row);
  return fused_row(geometry, tensors, row);
}

}  // namespace heed::proof

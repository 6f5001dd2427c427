#include "tests/proof/layer_reference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "tests/proof/bounds.h"
#include "tests/proof/head_norm_reference.h"
#include "tests/proof/numbers.h"
#include "tests/proof/rotary_reference.h"

namespace heed::tests {
namespace {

using proof::kEpsilon;

/// Vectors of one size, one after the other.
struct Vectors {
  std::size_t size;
  std::vector<Bounded> elements;

  std::size_t count() const { return elements.size() / size; }
  std::span<Bounded> operator[](std::size_t i) {
    return std::span(elements).subspan(i * size, size);
  }
  std::span<const Bounded> operator[](std::size_t i) const {
    return std::span(elements).subspan(i * size, size);
  }
};

/// The same numbers, as vectors of another size.
Vectors cut(Vectors vectors, std::int64_t size) {
  return {static_cast<std::size_t>(size), std::move(vectors.elements)};
}

Vectors product(const Vectors& x, const float* weight, const float* bias, std::int64_t outputs) {
  Vectors y{static_cast<std::size_t>(outputs), {}};
  const double roundings = (static_cast<double>(x.size) + 3) * kEpsilon;
  for (std::size_t t = 0; t < x.count(); ++t) {
    for (std::size_t o = 0; o < y.size; ++o) {
      Bounded sum{bias == nullptr ? 0 : bias[o], 0};
      double sizes = std::abs(sum.exact);
      for (std::size_t i = 0; i < x.size; ++i) {
        const double w = weight[o * x.size + i];
        const auto [exact, bound] = x[t][i];
        sum.exact += w * exact;
        sum.bound += std::abs(w) * bound;
        sizes += std::abs(w) * (std::abs(exact) + bound);
      }
      sum.bound += roundings * sizes;
      y.elements.push_back(sum);
    }
  }
  return y;
}

Bounded turned(const Bounded& a, double by_a, const Bounded& b, double by_b, double relative) {
  const double size = std::abs(a.exact) + a.bound + std::abs(b.exact) + b.bound;
  return {by_a * a.exact + by_b * b.exact,
          std::abs(by_a) * a.bound + std::abs(by_b) * b.bound + size * relative + 0x1p-148};
}

void normalise(const std::optional<RmsNorm>& norm, Vectors& x) {
  if (!norm) return;
  for (std::size_t i = 0; i < x.count(); ++i) {
    std::ranges::copy(head_norm_reference(*norm, x[i]), x[i].begin());
  }
}

/// Rotates the heads of tokens 0, 1, 2 …, `heads` vectors for each.
void rotate(const Rotary* rotary, std::size_t heads, Vectors& x) {
  if (rotary == nullptr) return;
  const RotaryConfig& c = rotary->config();
  const auto pairs = static_cast<std::size_t>(c.rotary_dim / 2);
  const std::vector<RotaryFrequency> frequencies = rotary_frequency_reference(c);
  const auto factor = static_cast<double>(rotary_attention_reference(c));
  for (std::size_t i = 0; i < x.count() * pairs; ++i) {
    const std::size_t pair = i % pairs;
    const bool adjacent = c.pairs == RotaryPairs::adjacent;
    Bounded& first = x[i / pairs][adjacent ? 2 * pair : pair];
    Bounded& second = x[i / pairs][adjacent ? 2 * pair + 1 : pair + pairs];
    const std::size_t token = i / pairs / heads;
    const double angle = static_cast<double>(static_cast<long double>(token) * c.position_scale *
                                             frequencies[pair].exact);
    const double relative =
        3.1 * kEpsilon + std::abs(angle) * frequencies[pair].roundings * 0x1p-53;
    const Bounded a = first, b = second;
    const double cosine = factor * std::cos(angle), sine = factor * std::sin(angle);
    first = turned(a, cosine, b, -sine, factor * relative);
    second = turned(b, cosine, a, sine, factor * relative);
  }
}

/// q · k, with the size of its terms and how far the errors of both may move it.
struct Score {
  double exact = 0, sizes = 0, bound = 0;
};

Score score(std::span<const Bounded> q, std::span<const Bounded> k) {
  const double scale = 1 / std::sqrt(static_cast<double>(q.size()));
  Score s;
  for (std::size_t x = 0; x < q.size(); ++x) {
    const double a = std::abs(q[x].exact), b = std::abs(k[x].exact);
    s.exact += scale * q[x].exact * k[x].exact;
    s.bound += scale * (a * k[x].bound + q[x].bound * b + q[x].bound * k[x].bound);
    s.sizes += scale * (a + q[x].bound) * (b + k[x].bound);
  }
  return s;
}

/// One row; keys and values are every `stride`th vector from the `first`.
std::vector<Bounded> attend(std::span<const Bounded> q, const Vectors& k, const Vectors& v,
                            std::size_t first, std::size_t stride, std::size_t keys) {
  proof::ReferenceRow row;
  row.visible_keys = static_cast<std::int64_t>(keys);
  std::vector<Bounded> out(v.size);
  double sum = 0, moved = 0, value_bound = 0;
  for (std::size_t j = 0; j < keys; ++j) {
    const Score s = score(q, k[first + j * stride]);
    const double weight = std::exp(s.exact);
    sum += weight;
    moved += weight * std::expm1(s.bound);
    row.mean_terms += weight * s.sizes;
    row.largest_terms = std::max(row.largest_terms, s.sizes);
    for (std::size_t x = 0; x < v.size; ++x) {
      const auto [exact, bound] = v[first + j * stride][x];
      out[x].exact += weight * exact;
      value_bound = std::max(value_bound, bound);
      row.largest_value = std::max(row.largest_value, std::abs(exact) + bound);
    }
  }
  row.mean_terms /= sum;
  moved /= sum;
  const double bound = 2 * row.largest_value * moved / (1 - moved) + value_bound +
                       proof::error_bounds(row, static_cast<std::int64_t>(q.size())).out;
  for (Bounded& x : out) x = {x.exact / sum, bound};
  return out;
}

}  // namespace

std::vector<Bounded> layer_reference(const LayerConfig& config, const LayerWeights& w,
                                     std::span<const float> x) {
  const AttentionConfig& a = config.attention;
  const auto query_heads = static_cast<std::size_t>(a.query_heads),
             kv_heads = static_cast<std::size_t>(a.kv_heads);
  const std::int64_t value_dim = a.value_head_dim == 0 ? a.head_dim : a.value_head_dim;
  Vectors hidden{static_cast<std::size_t>(config.dim), {}};
  for (const float element : x) hidden.elements.push_back({element, 0});
  Vectors q = cut(product(hidden, w.wq, w.bq, a.query_heads * a.head_dim), a.head_dim);
  Vectors k = cut(product(hidden, w.wk, w.bk, a.kv_heads * a.head_dim), a.head_dim);
  const Vectors v = cut(product(hidden, w.wv, w.bv, a.kv_heads * value_dim), value_dim);
  normalise(w.q_norm, q);
  normalise(w.k_norm, k);
  rotate(config.rotary, query_heads, q);
  rotate(config.rotary, kv_heads, k);
  Vectors context{static_cast<std::size_t>(value_dim), {}};
  for (std::size_t i = 0; i < q.count(); ++i) {
    const std::size_t token = i / query_heads, head = i % query_heads;
    const auto out = attend(q[i], k, v, head / (query_heads / kv_heads), kv_heads, token + 1);
    context.elements.insert(context.elements.end(), out.begin(), out.end());
  }
  return product(cut(std::move(context), a.query_heads * value_dim), w.wo, w.bo, config.dim)
      .elements;
}

}  // namespace heed::tests

#include "tests/proof/reference.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "tests/proof/elements.h"
#include "tests/proof/numbers.h"

namespace heed::proof {
namespace {

/// What a row's query makes of one visible key.
struct Score {
  double logit = 0;  ///< divided by T, except where T = 0
  double terms = 0;  ///< so that the error of the logit is (D + 4)·ε of it
  bool hidden = false;
};

/// The formulas of include/heed/score_modifiers.h, and what they add to the terms, in units of (D +
/// 4)·ε.
void modify(const Geometry& geometry, const ScoreModifiers& modifiers, const Row& row,
            std::int64_t key, Score& score) {
  const double unit = static_cast<double>(geometry.config().head_dim) + 4;
  const auto head = static_cast<std::size_t>(row.head);
  if (modifiers.softcap > 0) {
    const double cap = modifiers.softcap;
    score.logit = cap * std::tanh(score.logit / cap);
    score.terms += 9 * std::abs(score.logit) / unit;
  }
  const auto add = [&](double term) {
    score.logit += term;
    score.terms += (4 * std::abs(term) + 2 * std::abs(score.logit)) / unit;
  };
  if (modifiers.alibi_slopes != nullptr) {
    add(static_cast<double>(modifiers.alibi_slopes[head]) *
        static_cast<double>(key - geometry.position(row)));
  }
  if (modifiers.bias.data == nullptr) return;
  std::vector<float> buffer;
  const double bias =
      floats_of(modifiers.bias.data + geometry.bias(modifiers.bias, row, key), 1, buffer)[0];
  score.hidden = bias == -kInfinity;
  if (score.hidden) {
    score.logit = bias;
    score.terms = 0;
  } else {
    add(bias);
  }
}

std::vector<Score> score_keys(const Geometry& geometry, const AttentionTensors& tensors,
                              const Row& row, const std::vector<std::int64_t>& keys) {
  const AttentionConfig& config = geometry.config();
  const auto dims = static_cast<double>(config.head_dim);
  const double scale = config.scale ? *config.scale : 1.0 / std::sqrt(dims);
  const float own = geometry.temperature(tensors.modifiers, row);
  const double temperature = own == 0 ? 1.0 : double{own};
  std::vector<float> q_buffer, k_buffer;
  const std::span<const float> q =
      floats_of(tensors.q + geometry.q(row), config.head_dim, q_buffer);
  std::vector<Score> scores;
  for (const std::int64_t j : keys) {
    const std::span<const float> k =
        floats_of(tensors.k + geometry.k(row, j), geometry.scales_of_k(row, j, tensors.k_scales),
                  config.head_dim, k_buffer);
    Score score;
    for (std::size_t x = 0; x < q.size(); ++x) {
      const double product = static_cast<double>(q[x]) * k[x];
      score.logit += product;
      score.terms += std::abs(product);
    }
    score.logit *= scale;
    score.terms *= std::abs(scale);
    modify(geometry, tensors.modifiers, row, j, score);
    score.logit /= temperature;
    score.terms /= temperature;
    // A bias of −∞ hides whatever the temperature is.
    if (std::isinf(temperature) && score.hidden) score.logit = -kInfinity;
    scores.push_back(score);
  }
  return scores;
}

/// That of a row's sink, divided by T except where T = 0; −∞: there is none.
double sink_logit(const Geometry& geometry, const ScoreModifiers& modifiers, const Row& row) {
  if (modifiers.sinks == nullptr) return -kInfinity;
  const double sink = modifiers.sinks[static_cast<std::size_t>(row.head)];
  const double temperature = geometry.temperature(modifiers, row);
  if (sink == -kInfinity || temperature == 0) return sink;
  return sink / temperature;
}

/// The weight of a logit relative to the largest one. A logit of −∞ weighs nothing, whatever the
/// largest is.
double weight(double logit, double largest, bool argmax) {
  if (std::isnan(logit)) return logit;
  if (logit == -kInfinity) return 0.0;
  if (argmax) return logit == largest ? 1.0 : 0.0;
  return std::exp(logit - largest);
}

}  // namespace

ReferenceRow reference_row(const Geometry& geometry, const AttentionTensors& tensors,
                           const Row& row) {
  const std::vector<std::int64_t> keys = geometry.seen(row);
  const bool argmax = geometry.temperature(tensors.modifiers, row) == 0;
  const std::vector<Score> scores = score_keys(geometry, tensors, row, keys);
  ReferenceRow result;
  result.out.assign(static_cast<std::size_t>(geometry.value_head_dim()), 0.0);
  result.visible_keys = static_cast<std::int64_t>(scores.size());
  double largest = sink_logit(geometry, tensors.modifiers, row);
  const double sink = largest;
  for (const Score& score : scores) {
    largest = std::max(largest, score.logit);
    result.largest_logit = std::max(result.largest_logit, std::abs(score.logit));
    result.largest_terms = std::max(result.largest_terms, score.terms);
  }
  double sum = weight(sink, largest, argmax);
  if (sum > 0) {  // the sink's logit is rounded twice, its unit once
    const double terms = 3 * std::abs(sink) / (static_cast<double>(geometry.config().head_dim) + 4);
    result.largest_terms = std::max(result.largest_terms, terms);
    result.mean_terms = sum * terms;
  }
  std::vector<float> buffer;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    const double p = weight(scores[j].logit, largest, argmax);
    const std::int64_t key = keys[j];
    const std::span<const float> v = floats_of(tensors.v + geometry.v(row, key),
                                               geometry.scales_of_v(row, key, tensors.v_scales),
                                               geometry.value_head_dim(), buffer);
    sum += p;
    result.mean_terms += p * scores[j].terms;
    for (std::size_t x = 0; x < result.out.size(); ++x) {
      result.out[x] += p * v[x];
      result.largest_value = std::max(result.largest_value, std::abs(static_cast<double>(v[x])));
    }
  }
  if (sum == 0) {
    std::fill(result.out.begin(), result.out.end(), 0.0);
    result.lse = -kInfinity;
    return result;
  }
  for (double& x : result.out) x /= sum;
  result.mean_terms /= sum;
  result.lse = argmax ? kNan : largest + std::log(sum);
  return result;
}

}  // namespace heed::proof

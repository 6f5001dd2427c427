// Masks of ggml's, by every way in which heed takes them, against ggml's formula in double:
//
//     logit = scale · q·k + slope · mask       slope = 1 without ALiBi
#include "bindings/ggml/mask.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ggml.h"
#include "heed/attention.h"
#include "heed/convert.h"

namespace {

using heed::plugin::NodeMask;
using heed::plugin::NodeShape;

constexpr double kHidden = -std::numeric_limits<double>::infinity();
constexpr std::int64_t kHeadDim = 8;

/// The element of (sequence, head, query, key), whole numbers all of them.
using Element = std::function<double(double, double, double, double)>;

enum class Way { hides, adds, slopes, adds_per_head };

struct Case {
  const char* name;
  std::int64_t sequences, heads, queries, keys;
  std::int64_t mask_heads, mask_sequences;
  float max_bias;
  bool sinks;
  Way way;
  Element element;
};

/// Key j stands at position j − `skipped`, query i at `first` + i.
Element distances(double first, double skipped) {
  return [=](double, double, double i, double j) {
    const double distance = j - skipped - (first + i);
    return j < skipped || distance > 0 ? kHidden : distance;
  };
}

double causal(double, double, double i, double j) { return j > i + 3 ? kHidden : 0.0; }

const Case kCases[] = {
    {"hidden keys", 1, 4, 5, 9, 1, 1, 0, false, Way::hides, causal},
    {"keys hidden by −0", 1, 4, 5, 9, 1, 1, 0, false, Way::hides,
     [](auto, auto, auto i, auto j) { return j > i ? kHidden : -0.0; }},
    {"hidden keys, sinks", 1, 4, 5, 9, 1, 1, 0, true, Way::hides, causal},
    {"hidden keys of sequences", 2, 2, 5, 9, 1, 2, 0, false, Way::hides,
     [](auto s, auto, auto i, auto j) { return j > i + 2 * s ? kHidden : 0.0; }},
    {"hidden keys of heads", 1, 2, 5, 9, 2, 1, 0, false, Way::hides,
     [](auto, auto h, auto i, auto j) { return j > i + 2 * h ? kHidden : 0.0; }},
    {"biases", 1, 4, 5, 9, 1, 1, 0, false, Way::adds,
     [](auto, auto, auto i, auto j) { return j > i + 3 ? kHidden : (i - j) * 0.25; }},
    {"biases of one row", 1, 4, 5, 9, 1, 1, 0, false, Way::adds,
     [](auto, auto, auto i, auto j) { return i > 0 ? 0.0 : j * 0.25; }},
    {"biases of heads and sequences", 2, 2, 5, 9, 2, 2, 0, false, Way::adds,
     [](auto s, auto h, auto i, auto j) { return (s - h) * 0.5 + (i - j) * 0.25; }},
    {"ALiBi that only hides", 1, 4, 5, 9, 1, 1, 8, false, Way::hides, causal},
    {"ALiBi", 1, 4, 5, 9, 1, 1, 8, false, Way::slopes, distances(4, 0)},
    {"ALiBi of six heads", 1, 6, 5, 9, 1, 1, 8, false, Way::slopes, distances(4, 0)},
    {"ALiBi in later cells", 1, 4, 5, 40, 1, 1, 8, false, Way::slopes, distances(10, 20)},
    {"ALiBi over distances that f16 rounds", 1, 16, 2, 5000, 1, 1, 8, false, Way::slopes,
     distances(4990, 0)},
    {"ALiBi with sinks", 1, 4, 5, 9, 1, 1, 8, true, Way::adds_per_head, distances(4, 0)},
    {"ALiBi in any order", 2, 6, 5, 9, 1, 2, 8, false, Way::adds_per_head,
     [](auto s, auto, auto i, auto j) { return -std::fabs(std::fmod(j * 5 + s, 9) - i); }},
    {"ALiBi in any order, one mask for two sequences", 2, 4, 5, 9, 1, 1, 8, false,
     Way::adds_per_head, [](auto, auto, auto i, auto j) { return -std::fabs(j - i); }},
    {"ALiBi of keys that are all far", 1, 4, 5, 9, 1, 1, 8, false, Way::adds_per_head,
     distances(4100, 0)},
    {"ALiBi to both sides", 1, 4, 5, 9, 1, 1, 8, false, Way::adds_per_head,
     [](auto, auto, auto i, auto j) { return -std::fabs(j - i); }},
};

std::vector<float> random_floats(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> floats(static_cast<std::size_t>(count));
  for (float& x : floats) x = normal(random);
  return floats;
}

double slope(const Case& c, std::int64_t head) {
  if (c.max_bias == 0) return 1;
  std::int64_t power = 1;
  while (2 * power <= c.heads) power *= 2;
  const double exponent = head < power ? static_cast<double>(head + 1)
                                       : static_cast<double>(2 * (head - power) + 1) / 2;
  return std::exp2(-c.max_bias * exponent / static_cast<double>(power));
}

/// A case's tensors, [sequence, token, head, dim], and its mask as ggml has it.
struct Problem {
  explicit Problem(const Case& c);

  const Case& of;
  NodeShape shape{};
  std::vector<float> q, k, v, sinks, out;
  std::vector<std::uint16_t> elements;
  std::vector<float> rounded;  ///< the same
  ggml_tensor mask{};
};

Problem::Problem(const Case& c)
    : of(c),
      q(random_floats(c.sequences * c.queries * c.heads * kHeadDim, 1)),
      k(random_floats(c.sequences * c.keys * c.heads * kHeadDim, 2)),
      v(random_floats(c.sequences * c.keys * c.heads * kHeadDim, 3)),
      sinks(random_floats(c.heads, 4)),
      out(q.size()) {
  std::vector<float> floats;
  for (std::int64_t s = 0; s < c.mask_sequences; ++s) {
    for (std::int64_t h = 0; h < c.mask_heads; ++h) {
      for (std::int64_t i = 0; i < c.queries; ++i) {
        for (std::int64_t j = 0; j < c.keys; ++j) {
          floats.push_back(
              static_cast<float>(c.element(static_cast<double>(s), static_cast<double>(h),
                                           static_cast<double>(i), static_cast<double>(j))));
        }
      }
    }
  }
  elements.resize(floats.size());
  const auto count = static_cast<std::int64_t>(floats.size());
  static_cast<void>(heed::convert(floats.data(), {elements.data(), heed::DType::f16}, count));
  rounded.resize(floats.size());
  static_cast<void>(
      heed::convert(heed::InputData(elements.data(), heed::DType::f16), rounded.data(), count));
  mask.type = GGML_TYPE_F16;
  mask.data = elements.data();
  const std::int64_t ne[] = {c.keys, c.queries, c.mask_heads, c.mask_sequences};
  std::size_t bytes = 2;
  for (int i = 0; i < 4; ++i) {
    mask.ne[i] = ne[i];
    mask.nb[i] = bytes;
    bytes *= static_cast<std::size_t>(ne[i]);
  }
  shape = {.sequences = c.sequences,
           .queries = c.queries,
           .keys = c.keys,
           .heads = c.heads,
           .kv_heads = c.heads,
           .head_dim = kHeadDim,
           .value_head_dim = kHeadDim,
           .mask = &mask,
           .max_bias = c.max_bias,
           .sinks = c.sinks};
}

/// The element that a head of a sequence meets.
double element_of(const Problem& p, std::int64_t s, std::int64_t h, std::int64_t i,
                  std::int64_t j) {
  const Case& c = p.of;
  const std::int64_t row =
      ((c.mask_sequences > 1 ? s : 0) * c.mask_heads + (c.mask_heads > 1 ? h : 0)) * c.queries + i;
  return p.rounded[static_cast<std::size_t>(row * c.keys + j)];
}

double exact(const Problem& p, std::int64_t s, std::int64_t i, std::int64_t h, std::int64_t x) {
  const Case& c = p.of;
  const auto at = [&](const std::vector<float>& t, std::int64_t tokens, std::int64_t token,
                      std::int64_t dim) {
    return double{
        t[static_cast<std::size_t>(((s * tokens + token) * c.heads + h) * kHeadDim + dim)]};
  };
  double sum = c.sinks ? std::exp(double{p.sinks[static_cast<std::size_t>(h)]}) : 0.0;
  double output = 0;
  for (std::int64_t j = 0; j < c.keys; ++j) {
    double logit = 0;
    for (std::int64_t d = 0; d < kHeadDim; ++d) {
      logit += at(p.q, c.queries, i, d) * at(p.k, c.keys, j, d);
    }
    logit = logit / std::sqrt(double{kHeadDim}) + slope(c, h) * element_of(p, s, h, i, j);
    sum += std::exp(logit);
    output += std::exp(logit) * at(p.v, c.keys, j, x);
  }
  return output / sum;
}

/// Which way heed took.
Way way_of(const heed::ScoreModifiers& modifiers) {
  if (modifiers.alibi_slopes != nullptr) return Way::slopes;
  if (modifiers.bias.data == nullptr) return Way::hides;
  return modifiers.bias.data.type() == heed::DType::f16 ? Way::adds : Way::adds_per_head;
}

heed::Status compute(Problem& p, Way& way) {
  const Case& c = p.of;
  NodeMask mask;
  if (const std::string_view reason = mask.read(p.shape); !reason.empty()) {
    return {heed::StatusCode::unsupported, std::string(reason)};
  }
  heed::Batch batch{
      .sequences = c.sequences, .query = {.length = c.queries}, .key = {.length = c.keys}};
  mask.add_to(batch);
  heed::AttentionTensors tensors{
      .q = p.q.data(), .k = p.k.data(), .v = p.v.data(), .out = p.out.data()};
  mask.add_to(tensors.modifiers);
  way = way_of(tensors.modifiers);
  if (c.sinks) tensors.modifiers.sinks = p.sinks.data();
  heed::Plan plan;
  heed::Workspace workspace;
  heed::Status status = heed::plan_attention(
      {.query_heads = c.heads, .kv_heads = c.heads, .head_dim = kHeadDim}, batch, {}, plan);
  if (status.ok()) status = workspace.reserve(plan);
  if (status.ok()) status = heed::run(plan, tensors, workspace);
  return status;
}

/// Keys that weigh anything have logits within 64 of 0: floats hold these, and products of 8 terms,
/// to 64 · 2⁻²⁴ each, and values are below 5. So outputs are within 5 · 2 · 2 · 64 · 2⁻²⁴ < 10⁻⁴.
constexpr double kBound = 1e-4;

bool passes(const Case& c) {
  Problem p(c);
  Way way = Way::hides;
  const heed::Status status = compute(p, way);
  double worst = 0;
  for (std::size_t e = 0; e < p.out.size() && status.ok(); ++e) {
    const auto n = static_cast<std::int64_t>(e);
    const std::int64_t x = n % kHeadDim, h = n / kHeadDim % c.heads,
                       i = n / kHeadDim / c.heads % c.queries,
                       s = n / kHeadDim / c.heads / c.queries;
    worst = std::max(worst, std::fabs(p.out[e] - exact(p, s, i, h, x)));
  }
  const bool ok = status.ok() && way == c.way && worst < kBound;
  if (!ok) {
    std::printf("%s: error %g, way %d in place of %d %s\n", c.name, worst, static_cast<int>(way),
                static_cast<int>(c.way), status.message().c_str());
  }
  return ok;
}

/// Biases of every head would not fit.
bool refuses_too_many() {
  std::vector<std::uint16_t> elements(8192, 0xC000);  // −2
  ggml_tensor mask{};
  mask.data = elements.data();
  const std::int64_t ne[] = {8192, 1, 1, 1};
  std::copy(ne, ne + 4, mask.ne);
  mask.nb[0] = 2;
  mask.nb[1] = mask.nb[2] = mask.nb[3] = 2 * 8192;
  NodeMask read;
  const NodeShape shape{.sequences = 1,
                        .queries = 1,
                        .keys = 8192,
                        .heads = 4096,
                        .kv_heads = 1,
                        .mask = &mask,
                        .max_bias = 8,
                        .sinks = true};
  const bool ok = read.read(shape) == "ALiBi with positions in any order, and too many of them";
  if (!ok) std::puts("too many biases were not handed back");
  return ok;
}

}  // namespace

int main() {
  int failures = refuses_too_many() ? 0 : 1;
  for (const Case& c : kCases) failures += passes(c) ? 0 : 1;
  if (failures == 0) std::puts("every mask gave ggml's weights");
  return failures == 0 ? 0 : 1;
}

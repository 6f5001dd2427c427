#include "runtime/cache/rotary_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/base/message.h"

namespace heed::detail {
namespace {

using Kind = RotaryScalingKind;

constexpr double kTwoPi = 2 * std::numbers::pi;

Status check_finite_above(const char* name, double value, double low) {
  if (std::isfinite(value) && value > low) return {};
  return invalid(name, " (", value, ") must be above ", low, " and finite");
}

/// Where a list is given: one finite number for each pair; factors divide, and must be above 0.
Status check_list(const char* name, std::span<const double> list, std::int64_t pairs,
                  bool factors) {
  if (list.empty()) return {};
  if (static_cast<std::int64_t>(list.size()) != pairs) {
    return invalid(name, " has ", list.size(), " entries; it must have one for each of ", pairs,
                   " pairs");
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (std::isfinite(list[i]) && (!factors || list[i] > 0)) continue;
    return invalid(name, "[", i, "] (", list[i], ") must be ", factors ? "above 0 and " : "",
                   "finite");
  }
  return {};
}

Status check_llama3(const RotaryScaling& s) {
  if (!std::isfinite(s.low_freq_factor) || s.low_freq_factor < 0) {
    return invalid("low_freq_factor (", s.low_freq_factor, ") must be 0 or more, and finite");
  }
  if (std::isfinite(s.high_freq_factor) && s.high_freq_factor > s.low_freq_factor) return {};
  return invalid("high_freq_factor (", s.high_freq_factor, ") must be above low_freq_factor (",
                 s.low_freq_factor, ") and finite");
}

Status check_yarn(const RotaryConfig& c) {
  const RotaryScaling& s = c.scaling;
  if (c.base <= 1) return invalid("base (", c.base, ") must be above 1 for yarn");
  HEED_RETURN_IF_ERROR(check_finite_above("beta_fast", s.beta_fast, 0));
  HEED_RETURN_IF_ERROR(check_finite_above("beta_slow", s.beta_slow, 0));
  if (s.beta_slow > s.beta_fast) {
    return invalid("beta_slow (", s.beta_slow, ") must be at most beta_fast (", s.beta_fast, ")");
  }
  if (s.mscale == 0 && s.mscale_all_dim == 0) return {};
  HEED_RETURN_IF_ERROR(check_finite_above("mscale", s.mscale, 0));
  return check_finite_above("mscale_all_dim", s.mscale_all_dim, 0);
}

Status check_long_rope(const RotaryConfig& c) {
  const RotaryScaling& s = c.scaling;
  if (s.short_factors.empty()) return invalid("short_factors must not be empty for long_rope");
  if (s.long_factors.empty()) return invalid("long_factors must not be empty for long_rope");
  HEED_RETURN_IF_ERROR(check_list("short_factors", s.short_factors, c.rotary_dim / 2, true));
  return check_list("long_factors", s.long_factors, c.rotary_dim / 2, true);
}

Status check_kind(const RotaryConfig& c) {
  switch (c.scaling.kind) {
    case Kind::none:
    case Kind::linear:
      return {};
    case Kind::dynamic_ntk:
      if (c.rotary_dim > 2) return {};
      return invalid("rotary_dim (", c.rotary_dim, ") must be above 2 for dynamic_ntk");
    case Kind::llama3:
      return check_llama3(c.scaling);
    case Kind::yarn:
      return check_yarn(c);
    case Kind::long_rope:
      return check_long_rope(c);
  }
  return invalid("kind (", static_cast<int>(c.scaling.kind),
                 ") must be none, linear, dynamic_ntk, llama3, yarn or long_rope");
}

bool needs_base(Kind kind) { return kind == Kind::dynamic_ntk || kind == Kind::yarn; }

Status check_scaling(const RotaryConfig& c) {
  const RotaryScaling& s = c.scaling;
  if (!std::isfinite(s.attention_factor) || s.attention_factor < 0) {
    return invalid("attention_factor (", s.attention_factor, ") must be 0 or more, and finite");
  }
  if (!std::isfinite(s.factor) || s.factor < 1) {
    return invalid("factor (", s.factor, ") must be 1 or more, and finite");
  }
  if (s.kind != Kind::long_rope && !(s.short_factors.empty() && s.long_factors.empty())) {
    return invalid("short_factors and long_factors are for long_rope");
  }
  if (needs_base(s.kind) && !c.frequencies.empty()) {
    return invalid("frequencies must be empty for yarn and dynamic_ntk, which need a base");
  }
  if (s.kind != Kind::none && s.kind != Kind::linear) {
    HEED_RETURN_IF_ERROR(check_range("original_positions", s.original_positions, 2, kMaxCount));
  }
  return check_kind(c);
}

/// The base that frequencies are powers of.
double scaled_base(const RotaryConfig& c) {
  if (c.scaling.kind != Kind::dynamic_ntk) return c.base;
  const auto original = static_cast<double>(c.scaling.original_positions);
  const double over = std::max(static_cast<double>(c.positions) - original, 0.0) / original;
  const auto dims = static_cast<double>(c.rotary_dim);
  return c.base * std::pow(1 + c.scaling.factor * over, dims / (dims - 2));
}

/// The frequencies that are scaled, the base of which may be so already. The exponent is rounded,
/// which costs |ln base| · 2⁻⁵³ of the angle, the power by up to two, and the two products with the
/// position one each: E = 4 + |ln base|.
std::vector<double> plain_frequencies(const RotaryConfig& c) {
  std::vector<double> list(c.frequencies.begin(), c.frequencies.end());
  const double base = scaled_base(c);
  for (std::int64_t i = 0; c.frequencies.empty() && i < c.rotary_dim / 2; ++i) {
    list.push_back(
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(c.rotary_dim)));
  }
  for (std::size_t i = 0; i < c.factors.size(); ++i) list[i] /= c.factors[i];
  return list;
}

void scale_llama3(const RotaryScaling& s, std::vector<double>& frequencies) {
  const double low = s.low_freq_factor, high = s.high_freq_factor;
  for (double& f : frequencies) {
    const double turns = static_cast<double>(s.original_positions) * std::abs(f) / kTwoPi;
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    f = (1 - kept) * (f / s.factor) + kept * f;
  }
}

void scale_yarn(const RotaryConfig& c, std::vector<double>& frequencies) {
  const RotaryScaling& s = c.scaling;
  const auto dims = static_cast<double>(c.rotary_dim);
  const auto pair_with_turns = [&](double turns) {
    const double length = static_cast<double>(s.original_positions) / (turns * kTwoPi);
    return dims * std::log(length) / (2 * std::log(c.base));
  };
  double low = pair_with_turns(s.beta_fast), high = pair_with_turns(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    double& f = frequencies[i];
    const double slowed = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    f = slowed * (f / s.factor) + (1 - slowed) * f;
  }
}

/// YaRN's attention factor, with its logarithm weighed by `mscale`.
double yarn_attention(double factor, double mscale) { return 1 + 0.1 * mscale * std::log(factor); }

}  // namespace

Status check_frequencies(const RotaryConfig& c) {
  HEED_RETURN_IF_ERROR(check_range("rotary_dim", c.rotary_dim, 2, kMaxHeadDim));
  if (c.rotary_dim % 2 != 0) return invalid("rotary_dim (", c.rotary_dim, ") must be even");
  HEED_RETURN_IF_ERROR(check_list("frequencies", c.frequencies, c.rotary_dim / 2, false));
  HEED_RETURN_IF_ERROR(check_list("factors", c.factors, c.rotary_dim / 2, true));
  if (c.frequencies.empty()) HEED_RETURN_IF_ERROR(check_finite_above("base", c.base, 0));
  return check_scaling(c);
}

std::vector<double> rotary_frequencies(const RotaryConfig& c) {
  std::vector<double> list = plain_frequencies(c);
  const RotaryScaling& s = c.scaling;
  switch (s.kind) {
    case Kind::none:
    case Kind::dynamic_ntk:
      break;
    case Kind::linear:
      for (double& f : list) f /= s.factor;
      break;
    case Kind::llama3:
      scale_llama3(s, list);
      break;
    case Kind::yarn:
      scale_yarn(c, list);
      break;
    case Kind::long_rope: {
      const bool longer = c.positions > s.original_positions;
      const std::span<const double> factors = longer ? s.long_factors : s.short_factors;
      for (std::size_t i = 0; i < list.size(); ++i) list[i] /= factors[i];
      break;
    }
  }
  return list;
}

double rotary_attention_factor(const RotaryConfig& c) {
  const RotaryScaling& s = c.scaling;
  if (s.attention_factor != 0) return s.attention_factor;
  if (s.kind == Kind::yarn && s.mscale == 0) return yarn_attention(s.factor, 1);
  if (s.kind == Kind::yarn) {
    return yarn_attention(s.factor, s.mscale) / yarn_attention(s.factor, s.mscale_all_dim);
  }
  if (s.kind != Kind::long_rope) return 1;
  return std::sqrt(1 + std::log(s.factor) / std::log(static_cast<double>(s.original_positions)));
}

}  // namespace heed::detail

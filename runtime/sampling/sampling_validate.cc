#include "runtime/sampling/sampling_validate.h"

#include <algorithm>
#include <cstdint>

#include "kernels/interface.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/base/strides.h"

namespace heed::detail {
namespace {

StridedShape shape_of(const Logits& logits) {
  return {{{{"row", logits.stride, logits.rows}, {"", 0, 1}, {"", 0, 1}}}, logits.length};
}

Status check_logits(const Logits& logits) {
  if (logits.rows < 0) return invalid("logits.rows (", logits.rows, ") must be 0 or more");
  HEED_RETURN_IF_ERROR(check_range("logits.length", logits.length, 0, kernels::kMaxSampledLogits));
  HEED_RETURN_IF_ERROR(check_type_of("logits", logits.data.type(), true));
  if (logits.rows == 0 || logits.length == 0) return {};
  if (logits.data == nullptr) {
    return invalid("logits.data must not be null for ", logits.rows, " rows of ", logits.length,
                   " logits");
  }
  return check_reach("logits", shape_of(logits).axes, logits.length);
}

Status check_rule(const SamplingRule& rule, std::size_t number) {
  const auto of = [&](const char* field, auto value, const char* must) {
    return invalid("rules[", number, "].", field, " (", value, ") must be ", must);
  };
  if (!(rule.temperature >= 0)) {
    return of("temperature", rule.temperature, "0 or more, or infinity");
  }
  if (rule.top_k < 0) return of("top_k", rule.top_k, "0 (all tokens) or more");
  if (!(rule.top_p > 0 && rule.top_p <= 1)) return of("top_p", rule.top_p, "above 0, up to 1");
  if (!(rule.min_p >= 0 && rule.min_p <= 1)) return of("min_p", rule.min_p, "from 0 to 1");
  return {};
}

Status check_lists(std::int64_t rows, std::span<const SamplingRule> rules,
                   std::span<const Draw> draws) {
  if (std::ssize(rules) != 1 && std::ssize(rules) != rows) {
    return invalid("rules has ", rules.size(), " rules for ", rows,
                   " rows: it must have one for each, or one for all");
  }
  for (std::size_t i = 0; i < rules.size(); ++i) HEED_RETURN_IF_ERROR(check_rule(rules[i], i));
  if (std::ssize(draws) == rows) return {};
  const bool greedy =
      std::ranges::all_of(rules, [](const SamplingRule& rule) { return rule.temperature == 0; });
  if (greedy && draws.empty()) return {};
  return invalid("draws has ", draws.size(), " draws for ", rows,
                 " rows: it must have one for each, or none where all temperatures are 0");
}

Status check_places(const Logits& logits, const Samples& samples) {
  const auto elements = static_cast<std::size_t>(logits.rows);
  if (elements > 0 && samples.tokens == nullptr) {
    return invalid("samples.tokens must not be null for ", logits.rows, " rows");
  }
  if (logits.rows > kMaxElements) return invalid("logits.rows (", logits.rows, ") are too many");
  const bool any = logits.rows > 0 && logits.length > 0;
  const Region input[] = {
      any ? Region({"logits.data"}, logits.data.data(), shape_of(logits), logits.data.type())
          : Region()};
  const std::size_t probabilities = samples.probabilities == nullptr ? 0 : elements;
  const Region outputs[] = {
      {{"samples.tokens"}, std::span(samples.tokens, elements)},
      {{"samples.probabilities"}, std::span(samples.probabilities, probabilities)}};
  return check_regions(outputs, input);
}

}  // namespace

Status check_sampling(const Logits& logits, std::span<const SamplingRule> rules,
                      std::span<const Draw> draws, const Samples& samples) {
  HEED_RETURN_IF_ERROR(check_logits(logits));
  HEED_RETURN_IF_ERROR(check_lists(logits.rows, rules, draws));
  return check_places(logits, samples);
}

}  // namespace heed::detail

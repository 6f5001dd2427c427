#include "tools/attend_modifiers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include "bench/console.h"
#include "tools/arguments.h"
#include "tools/npy_header.h"
#include "tools/status.h"

namespace heed::tools {
namespace {

Status read_file(std::string_view option, const std::string& path, Array& array,
                 Words words = Words::refused) {
  bench::show_progress("reading " + path);
  Status status = read_npy(path, array, words);
  if (status) return status;
  return {status.code(), fmt::format("{} {}", option, status.message())};
}

/// One number for each query head.
Status read_per_head(std::string_view option, const std::string& path, std::int64_t heads,
                     Array& array) {
  HEED_RETURN_IF_ERROR(read_file(option, path, array));
  if (array.shape == std::vector{heads}) return {};
  return {StatusCode::invalid_argument,
          fmt::format("{} {}: shape {} must be ({},), a number for each head of the queries",
                      option, path, to_string(array.shape), heads)};
}

/// The stride of an axis: 0 where the file has one element that serves all.
std::int64_t stride_of(std::int64_t in_file, std::int64_t extent, std::int64_t stride) {
  return in_file == 1 && extent != 1 ? 0 : stride;
}

}  // namespace

Status Modifiers::read(const ModifierOptions& options, const ScoreExtents& extents) {
  if (!options.softcap.empty()) {
    HEED_RETURN_IF_ERROR(parse_softcap("--softcap", options.softcap, modifiers_.softcap));
  }
  if (!options.alibi.empty()) {
    HEED_RETURN_IF_ERROR(read_alibi(options.alibi, extents));
  }
  if (!options.bias.empty()) {
    HEED_RETURN_IF_ERROR(read_bias(options.bias, extents));
  }
  if (!options.temperatures.empty()) {
    HEED_RETURN_IF_ERROR(read_temperatures(options.temperatures, extents));
  }
  return options.sinks.empty() ? Status() : read_sinks(options.sinks, extents);
}

Status Modifiers::read_alibi(const std::string& text, const ScoreExtents& extents) {
  if (text == "auto") {
    slopes_.data.resize(static_cast<std::size_t>(extents.heads));
    alibi_slopes(slopes_.data);
  } else {
    HEED_RETURN_IF_ERROR(read_per_head("--alibi", text, extents.heads, slopes_));
  }
  modifiers_.alibi_slopes = slopes_.data.data();
  return {};
}

Status Modifiers::read_sinks(const std::string& path, const ScoreExtents& extents) {
  HEED_RETURN_IF_ERROR(read_per_head("--sinks", path, extents.heads, sinks_));
  modifiers_.sinks = sinks_.data.data();
  return {};
}

Status Modifiers::read_temperatures(const std::string& path, const ScoreExtents& extents) {
  constexpr std::string_view kOption = "--temperature-per-head";
  HEED_RETURN_IF_ERROR(read_per_head(kOption, path, extents.heads, temperatures_));
  const std::vector<float>& numbers = temperatures_.data;
  const auto bad = std::ranges::find_if(numbers, [](float t) { return !(t >= 0); });
  if (bad != numbers.end()) {
    return {StatusCode::invalid_argument,
            fmt::format("{} {}: the temperature of head {} ({}) must be 0 or more, or inf", kOption,
                        path, bad - numbers.begin(), *bad)};
  }
  modifiers_.temperatures = RowTemperatures::per_head(numbers.data());
  return {};
}

Status Modifiers::read_bias(const std::string& path, const ScoreExtents& extents) {
  ScoreStrides strides;
  HEED_RETURN_IF_ERROR(read_scores("--bias", path, extents, Words::refused, bias_, strides));
  modifiers_.bias = {bias_.data.data(), strides.sequence, strides.head, strides.query, strides.key};
  return {};
}

Status read_scores(std::string_view option, const std::string& path, const ScoreExtents& extents,
                   Words words, Array& array, ScoreStrides& strides) {
  HEED_RETURN_IF_ERROR(read_file(option, path, array, words));
  const std::array wanted = {extents.batch, extents.heads, extents.queries, extents.keys};
  const std::vector<std::int64_t>& shape = array.shape;
  bool fits = shape.size() == wanted.size();
  for (std::size_t i = 0; fits && i < wanted.size(); ++i) {
    fits = shape[i] == wanted[i] || shape[i] == 1;
  }
  if (!fits) {
    return {
        StatusCode::invalid_argument,
        fmt::format("{} {}: shape {} must be [batch, heads, queries, keys], ({}, {}, {}, {}), "
                    "where 1 in place of a number is one for all",
                    option, path, to_string(shape), wanted[0], wanted[1], wanted[2], wanted[3])};
  }
  strides = {stride_of(shape[0], wanted[0], shape[1] * shape[2] * shape[3]),
             stride_of(shape[1], wanted[1], shape[2] * shape[3]),
             stride_of(shape[2], wanted[2], shape[3]), stride_of(shape[3], wanted[3], 1)};
  return {};
}

}  // namespace heed::tools

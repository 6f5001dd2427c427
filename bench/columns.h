// The figures of a result: one list, from which tables, Markdown, CSV and JSON are made.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "bench/bench.h"

namespace heed::bench {

using Json = nlohmann::ordered_json;

struct Column {
  std::string_view key;  ///< its name in JSON and CSV
  Json (*value)(const Result&);
  std::string_view title = {};  ///< its head in tables; empty: it is in none
  std::size_t width = 0;        ///< there; of names the longest one's
  std::string (*shown)(const Result&) = nullptr;
};

/// In the order of all reports.
std::span<const Column> columns();

/// All figures, and the samples that they come from.
Json result_json(const Result& result);

}  // namespace heed::bench

#include "bench/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "bench/columns.h"
#include "bench/compare.h"
#include "bench/report.h"

namespace heed::bench {
namespace {

constexpr std::string_view kDataMark = "{{data}}";

/// Figures that are words.
constexpr std::string_view kWords[] = {"name",   "shape",   "kind",   "isa",
                                       "q_type", "kv_type", "layout", "disturbed"};

Status fault(const PageSource& source, std::string_view sentence) {
  return {StatusCode::invalid_argument, fmt::format("{}: {}", source.path, sentence)};
}

/// Figures are numbers, or words where they are such; or the text does not have them.
Status check_figures(const PageSource& source) {
  const Json json = Json::parse(source.text);
  for (const Json& result : json.at("results")) {
    for (const Column& column : columns()) {
      const Json value = result.value(std::string(column.key), Json());
      const bool words = std::ranges::find(kWords, column.key) != std::end(kWords);
      if (value.is_null() || (words ? value.is_string() : value.is_number())) continue;
      return fault(
          source, fmt::format("is damaged: {} of {} must be {}", column.key,
                              result.at("name").get<std::string>(), words ? "a text" : "a number"));
    }
  }
  return {};
}

Status check_bench(const PageSource& source) {
  BenchFile file;
  if (Status status = parse_bench_file(source.path, source.text, file); !status) return status;
  return check_figures(source);
}

/// Throws what JSON throws where a field is missing or of another type.
bool usable_times(const Json& json) {
  static_cast<void>(json.at("peers").get<std::map<std::string, std::string>>());
  for (const Json& result : json.at("results")) {
    static_cast<void>(result.at("name").get_ref<const std::string&>());
    if (!result.at("threads").is_number_integer()) return false;
    for (const auto& line : result.at("best").items()) {
      const double time = line.value().at("min_ms");
      if (!std::isfinite(time) || time <= 0) return false;
    }
  }
  return true;
}

Status check_peers(const PageSource& source) {
  const Json json = Json::parse(source.text, nullptr, false);
  if (!json.is_object() || json.value("schema", Json()) != Json(kPeersSchema)) {
    return fault(source, "must be a JSON file of bench/peers/run");
  }
  const Json version = json.value("schema_version", Json());
  if (version != Json(kPeersSchemaVersion)) {
    return fault(source, fmt::format("is of version {} of the schema; this heed reads version {}",
                                     version.dump(), kPeersSchemaVersion));
  }
  try {
    if (usable_times(json)) return {};
    return fault(source, "is damaged: times must be above 0, and threads integers");
  } catch (const Json::exception& error) {
    return fault(source, fmt::format("is damaged: {}", error.what()));
  }
}

/// JSON as a page may have it, where "</script>" would end it. There are no line ends in JSON's
/// texts, and no "<" outside of them.
std::string embedded(std::string_view json) {
  std::string text;
  text.reserve(json.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '\n') {
      i = std::min(json.find_first_not_of(" \t\r\n", i), json.size()) - 1;
    } else if (json[i] == '<') {
      text += "\\u003c";
    } else {
      text += json[i];
    }
  }
  return text;
}

/// A path's last part as JSON, bytes that are not UTF-8 replaced.
std::string name_json(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  return Json(name).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string data_json(std::span<const PageSource> benches, const PageSource* peers) {
  std::string list;
  for (const PageSource& source : benches) {
    list += fmt::format(R"({}{{"name":{},"bench":{}}})", list.empty() ? "" : ",",
                        name_json(source.path), source.text);
  }
  return fmt::format(R"({{"benches":[{}],"peers":{}}})", list,
                     peers == nullptr ? "null" : peers->text);
}

}  // namespace

Status check_pages() {
  if (page_fault().empty()) return {};
  return {StatusCode::unsupported, fmt::format("this heed cannot make pages: {}", page_fault())};
}

Status make_page(std::span<const PageSource> benches, const PageSource* peers, std::string& page) {
  if (Status status = check_pages(); !status) return status;
  for (const PageSource& source : benches) {
    if (Status status = check_bench(source); !status) return status;
  }
  if (peers != nullptr) {
    if (Status status = check_peers(*peers); !status) return status;
  }
  const std::string_view text = page_text();
  const std::size_t mark = text.find(kDataMark);
  page = fmt::format("{}{}{}", text.substr(0, mark), embedded(data_json(benches, peers)),
                     text.substr(mark + kDataMark.size()));
  return {};
}

}  // namespace heed::bench

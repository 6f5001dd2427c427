#include "bench/workloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include "bench/workload_line.h"
#include "heed/tensor_data.h"

namespace heed::bench {
namespace {

/// Refuses expressions that could take std::regex more stack or time than there is: it descends
/// into a pattern by recursion, copies what is repeated a number of times, and begins anew for each
/// place where it looks ahead.
Status check_expression(const std::string& regex) {
  constexpr std::size_t kLongest = 200;
  if (regex.size() > kLongest) {
    return {
        StatusCode::invalid_argument,
        fmt::format("workload ({} characters) must be at most {} long", regex.size(), kLongest)};
  }
  for (const std::string_view part : {"{", "(?=", "(?!"}) {
    if (regex.find(part) == std::string::npos) continue;
    return {StatusCode::invalid_argument,
            fmt::format("workload (\"{}\") must be a regular expression without {}", regex, part)};
  }
  return {};
}

/// ECMAScript; where the library can, without trying all ways to match, of which there may be 2ⁿ.
constexpr std::regex_constants::syntax_option_type kSyntax = std::regex::ECMAScript
#ifdef __GLIBCXX__
                                                             | std::regex_constants::__polynomial
#endif
    ;

}  // namespace

std::string_view Workload::kind() const {
  const auto* attention = std::get_if<AttentionWorkload>(&what);
  if (attention == nullptr) return "softmax";
  const auto& lengths = attention->query_lengths;
  return std::all_of(lengths.begin(), lengths.end(), [](auto length) { return length == 1; })
             ? "decode"
             : "prefill";
}

Status parse_workloads(std::string_view where, std::string_view text,
                       std::vector<Workload>& workloads) {
  std::istringstream lines{std::string(text)};
  int number = 1;
  for (std::string line; std::getline(lines, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos || line.front() == '#') continue;
    Status status = parse_line(line, workloads);
    if (!status) {
      return {status.code(), fmt::format("{}, line {}: {}", where, number, status.message())};
    }
  }
  return {};
}

Status parse_shape(std::string_view shape, std::vector<Workload>& workloads) {
  Status status = parse_line(shape, workloads);
  if (status.ok()) return status;
  return {status.code(), fmt::format("shape (\"{}\"): {}", shape, status.message())};
}

Status parse_built_in(std::vector<Workload>& workloads) {
  return parse_workloads("workloads.txt", workloads_text(), workloads);
}

Status select_workloads(const std::string& regex, std::vector<Workload>& workloads) {
  if (Status status = check_expression(regex); !status) return status;
  std::regex wanted;
  try {
    wanted.assign(regex, kSyntax);
  } catch (const std::regex_error&) {
    return {StatusCode::invalid_argument,
            fmt::format("workload (\"{}\") must be a regular expression", regex)};
  }
  std::erase_if(workloads, [&](const Workload& workload) {
    return !std::regex_search(workload.name, wanted);
  });
  if (!workloads.empty()) return {};
  return {StatusCode::invalid_argument,
          fmt::format("workload (\"{}\") must match the name of at least one", regex)};
}

Status check_names(const std::vector<Workload>& workloads) {
  std::set<std::string_view> names;
  for (const Workload& workload : workloads) {
    if (names.insert(workload.name).second) continue;
    return {StatusCode::invalid_argument,
            fmt::format("two workloads have the name {}", workload.name)};
  }
  return {};
}

void set_types(std::optional<DType> q_type, std::optional<DType> kv_type,
               std::vector<Workload>& workloads) {
  for (Workload& workload : workloads) {
    auto* const attention = std::get_if<AttentionWorkload>(&workload.what);
    if (attention == nullptr) continue;
    attention->q_type = q_type.value_or(attention->q_type);
    attention->kv_type = kv_type.value_or(attention->kv_type);
    const auto say = [&](std::string_view key, std::optional<DType> type) {
      if (type) workload.shape = with_setting(workload.shape, key, dtype_info(*type).name);
    };
    say("q-type", q_type);
    say("kv-type", kv_type);
  }
}

}  // namespace heed::bench

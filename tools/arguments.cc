#include "tools/arguments.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <utility>

#include "heed/attention.h"

namespace heed::tools {
namespace {

/// More than any machine has: a typing error, not a wish.
constexpr int kMaxThreads = 1024;

/// False unless all of `text` is one number that T can hold.
template <class T>
bool parse_number(std::string_view text, T& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

bool parse_side(std::string_view text, std::int64_t& side) {
  if (text == "inf") {
    side = kUnlimited;
    return true;
  }
  return parse_number(text, side) && side >= 0;
}

/// The byte that an escape stands for, and how many bytes it takes after the backslash; 0: it is
/// none.
std::pair<char, std::size_t> escape(std::string_view after) {
  switch (after.empty() ? '\0' : after[0]) {
    case 'n':
      return {'\n', 1};
    case 'r':
      return {'\r', 1};
    case 't':
      return {'\t', 1};
    case '\\':
      return {'\\', 1};
    case 'x':
      break;
    default:
      return {};
  }
  unsigned value = 0;
  const std::string_view digits = after.substr(1, 2);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  const bool byte = error == std::errc() && end - digits.data() == 2;
  return {static_cast<char>(value), byte ? 3 : 0};
}

}  // namespace

Status bad_value(std::string_view option, std::string_view text, std::string_view rule) {
  return {StatusCode::invalid_argument, fmt::format("{} (\"{}\") must be {}", option, text, rule)};
}

Status parse_integer(std::string_view option, std::string_view text, std::int64_t least,
                     std::int64_t most, std::int64_t& value) {
  if (parse_number(text, value) && value >= least && value <= most) return {};
  return bad_value(option, text, fmt::format("an integer from {} to {}", least, most));
}

Status unescape(std::string_view what, std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const auto [byte, length] = escape(std::string_view(text).substr(i + 1));
    if (length == 0) {
      return {StatusCode::invalid_argument,
              fmt::format("{} (\"{}\") has a backslash that begins none of {}", what, text,
                          R"(\n, \r, \t, \\ and \xHH)")};
    }
    bytes += byte;
    i += length;
  }
  text = std::move(bytes);
  return {};
}

Status parse_threads(std::string_view option, std::string_view text, int& threads) {
  std::int64_t value = 0;
  Status status = parse_integer(option, text, 1, kMaxThreads, value);
  if (status.ok()) threads = static_cast<int>(value);
  return status;
}

std::string dtype_names() {
  std::string names;
  for (const DTypeInfo& info : kDTypes) names.append(names.empty() ? "" : ", ").append(info.name);
  return names;
}

Status parse_dtype(std::string_view option, std::string_view text, DType& type) {
  for (const DTypeInfo& info : kDTypes) {
    if (info.name != text) continue;
    type = info.type;
    return {};
  }
  return bad_value(option, text, fmt::format("one of {}", dtype_names()));
}

Status parse_dtype(std::string_view option, std::string_view text, std::optional<DType>& type) {
  return text.empty() ? Status() : parse_dtype(option, text, type.emplace());
}

std::string note_of_threads(std::string_view who, int asked, int used) {
  if (asked == used) return {};
  return fmt::format(
      "{}: threads: {} where {} are asked for, the most that this process can have\n", who, used,
      asked);
}

Status parse_thread_list(std::string_view option, std::string_view text,
                         std::vector<int>& threads) {
  threads.clear();
  for (std::string_view rest = text;;) {
    const std::size_t comma = rest.find(',');
    int count = 0;
    if (!parse_threads(option, rest.substr(0, comma), count)) {
      return bad_value(
          option, text,
          fmt::format("integers from 1 to {} with commas between, such as 1,2", kMaxThreads));
    }
    threads.push_back(count);
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

Status parse_window(std::string_view option, std::string_view text, std::int64_t& left,
                    std::int64_t& right) {
  const std::size_t comma = text.find(',');
  if (comma != std::string_view::npos && parse_side(text.substr(0, comma), left) &&
      parse_side(text.substr(comma + 1), right)) {
    return {};
  }
  return bad_value(option, text, "LEFT,RIGHT, each an integer of 0 or more, or inf, such as 128,0");
}

Status parse_scale(std::string_view option, std::string_view text, float& scale) {
  if (parse_number(text, scale) && std::isfinite(scale)) return {};
  return bad_value(option, text, "a finite number in the range of float32");
}

Status parse_temperature(std::string_view option, std::string_view text, float& temperature) {
  if (parse_number(text, temperature) && temperature >= 0) return {};
  return bad_value(option, text, "a number of 0 or more in the range of float32, or inf");
}

Status parse_softcap(std::string_view option, std::string_view text, float& softcap) {
  if (parse_number(text, softcap) && std::isfinite(softcap) && softcap > 0) return {};
  return bad_value(option, text, "a finite number above 0 in the range of float32");
}

Status parse_probability(std::string_view option, std::string_view text, float& probability) {
  if (parse_number(text, probability) && probability > 0 && probability <= 1) return {};
  return bad_value(option, text, "a number above 0 and at most 1");
}

Status parse_part(std::string_view option, std::string_view text, double& part) {
  if (parse_number(text, part) && part >= 0 && part < 1) return {};
  return bad_value(option, text, "a number of 0 or more, below 1");
}

Status parse_seconds(std::string_view option, std::string_view text, double& seconds) {
  if (parse_number(text, seconds) && std::isfinite(seconds) && seconds > 0) return {};
  return bad_value(option, text, "a finite number above 0");
}

}  // namespace heed::tools

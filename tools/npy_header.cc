#include "tools/npy_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace heed::tools {
namespace {

/// NumPy allows no more.
constexpr std::size_t kMostDimensions = 64;

constexpr std::string_view kDigits = "0123456789";

/// At most 60 bytes of `text`, for a message.
std::string excerpt(std::string_view text) {
  constexpr std::size_t kLongest = 60;
  if (text.size() <= kLongest) return std::string(text);
  return std::string(text.substr(0, kLongest)) + "...";
}

/// Reads a Python literal from left to right. The first fault ends it.
constexpr std::pair<std::string_view, NpyNumbers> kNumbers[] = {{"f2", NpyNumbers::float16},
                                                                {"f4", NpyNumbers::float32},
                                                                {"f8", NpyNumbers::float64},
                                                                {"u2", NpyNumbers::uint16}};
constexpr std::string_view kKnownTypes =
    "float16, float32, float64 ('<f2', '<f4', '<f8') and uint16 that holds bfloat16 ('<u2')";

class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  Status parse(NpyHeader& header) {
    if (!take('{')) fail("the header must be a Python dictionary, not: " + excerpt(rest_));
    while (status_.ok() && !take('}')) parse_item(header);
    skip_spaces();
    if (!rest_.empty()) fail("the header must end with its dictionary, not: " + excerpt(rest_));
    require(has_descr_, "descr");
    require(has_order_, "fortran_order");
    require(has_shape_, "shape");
    return status_;
  }

 private:
  void fail(std::string sentence) {
    if (status_.ok()) status_ = {StatusCode::invalid_argument, std::move(sentence)};
  }

  void require(bool present, std::string_view key) {
    if (!present) fail(fmt::format("the header must have the key '{}'", key));
  }

  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size()));
  }

  bool take(char c) {
    skip_spaces();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool take_word(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  /// A string without escapes; nothing where none comes next.
  std::optional<std::string_view> take_string() {
    skip_spaces();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return {};
    const std::size_t end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return {};
    const std::string_view text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return text;
  }

  void parse_item(NpyHeader& header) {
    const auto key = take_string();
    if (!key || !take(':')) return fail("the header is malformed at: " + excerpt(rest_));
    if (*key == "descr") {
      first_time(has_descr_, *key);
      parse_descr(header);
    } else if (*key == "fortran_order") {
      first_time(has_order_, *key);
      parse_order(header);
    } else if (*key == "shape") {
      first_time(has_shape_, *key);
      parse_shape(header);
    } else {
      fail(fmt::format("the header key '{}' must be one of descr, fortran_order, shape",
                       excerpt(*key)));
    }
    skip_spaces();
    if (!take(',') && !rest_.starts_with('}')) {
      fail("the header is malformed at: " + excerpt(rest_));
    }
  }

  void first_time(bool& present, std::string_view key) {
    if (present) fail(fmt::format("the header must have the key '{}' only once", key));
    present = true;
  }

  void parse_descr(NpyHeader& header) {
    const std::string_view from = rest_;
    const auto descr = take_string();
    if (!descr) {
      return fail(fmt::format(
          "dtype ({}) must be one of {}, and not structured",
          excerpt(from.substr(std::min(from.find_first_not_of(' '), from.size()))), kKnownTypes));
    }
    if (*descr == "|b1" || *descr == "|u1") {
      header.numbers = NpyNumbers::boolean;
      return;
    }
    const auto* const known = std::ranges::find_if(kNumbers, [&](const auto& entry) {
      return descr->size() == 3 && (descr->front() == '<' || descr->front() == '>') &&
             descr->substr(1) == entry.first;
    });
    if (known == std::end(kNumbers)) {
      return fail(fmt::format("dtype ('{}') must be one of {}: convert it with .astype('float32')",
                              excerpt(*descr), kKnownTypes));
    }
    header.numbers = known->second;
    header.big_endian = descr->front() == '>';
  }

  void parse_order(NpyHeader& header) {
    header.fortran_order = take_word("True");
    if (!header.fortran_order && !take_word("False")) {
      fail(fmt::format("fortran_order ({}) must be True or False", excerpt(rest_)));
    }
  }

  void parse_shape(NpyHeader& header) {
    skip_spaces();
    const std::string_view from = rest_;
    bool well_formed = take('(');
    bool comma = true;
    while (well_formed && !take(')')) {
      if (header.shape.size() == kMostDimensions) {
        return fail(fmt::format("shape ({}) must have at most {} dimensions", excerpt(from),
                                kMostDimensions));
      }
      well_formed = comma && take_extent(header.shape);
      comma = take(',');
    }
    if (header.shape.size() == 1 && !comma) well_formed = false;
    if (well_formed) return;
    const std::size_t end = from.find(')');
    fail(fmt::format("shape ({}) must be a tuple of 64-bit integers of 0 or more",
                     excerpt(from.substr(0, end == from.npos ? end : end + 1))));
  }

  /// One integer; Python 2 wrote some with an L.
  bool take_extent(std::vector<std::int64_t>& shape) {
    skip_spaces();
    const std::size_t length = std::min(rest_.find_first_not_of(kDigits), rest_.size());
    std::int64_t extent = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + length, extent);
    if (error != std::errc() || length == 0) return false;
    shape.push_back(extent);
    rest_.remove_prefix(length);
    if (rest_.starts_with('L')) rest_.remove_prefix(1);
    return true;
  }

  std::string_view rest_;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false;
  Status status_;
};

}  // namespace

Status parse_npy_header(std::string_view text, NpyHeader& header) {
  header = {};
  return HeaderParser(text).parse(header);
}

std::string to_string(std::span<const std::int64_t> shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

std::string npy_prologue(std::span<const std::int64_t> shape, DType type) {
  constexpr std::size_t kAlignment = 64, kFixedBytes = 10;
  const std::string_view descr = type == DType::f16 ? "<f2" : type == DType::bf16 ? "<u2" : "<f4";
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}", descr,
                                 to_string(shape));
  const std::size_t total = kFixedBytes + text.size() + 1;
  text.append((kAlignment - total % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string prologue("\x93NUMPY\x01\x00", 8);
  prologue += static_cast<char>(text.size() & 0xFF);
  prologue += static_cast<char>(text.size() >> 8);
  return prologue + text;
}

Status count_elements(std::span<const std::int64_t> shape, std::int64_t& count) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / sizeof(float);
  count = std::ranges::find(shape, 0) == shape.end() ? 1 : 0;
  for (const std::int64_t extent : shape) {
    if (count == 0) break;
    if (extent > kMost / count) {
      return {StatusCode::invalid_argument,
              fmt::format("shape {} must fit the address space", to_string(shape))};
    }
    count *= extent;
  }
  return {};
}

}  // namespace heed::tools

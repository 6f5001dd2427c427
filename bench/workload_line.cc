#include "bench/workload_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <span>
#include <sstream>
#include <utility>

#include "heed/attention.h"
#include "heed/tensor_data.h"

namespace heed::bench {
namespace {

constexpr std::string_view kFlags[] = {"causal", "sharp", "bshd",      "bhsd",
                                       "alibi",  "sinks", "explained", "resident"};
constexpr std::string_view kAttentionWords =
    "b, hq, hkv, q, kv, d, causal, sharp, bshd, bhsd, pages, shared, q-type, kv-type, window, "
    "softcap, alibi, sinks, bias, visible, explained and beside";
constexpr std::string_view kSoftmaxWords = "rows, length and resident";

/// Numbers of a tensor, and scores of a mask or bias: more are a typing error.
constexpr double kMostNumbers = 0x1p40;

bool is_flag(std::string_view word) { return std::ranges::find(kFlags, word) != std::end(kFlags); }

bool is_setting(std::string_view word) { return word.find('=') != std::string_view::npos; }

std::string_view key_of(std::string_view word) { return word.substr(0, word.find('=')); }

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::vector<std::string> words_of(std::string_view line) {
  std::istringstream text{std::string(line)};
  return {std::istream_iterator<std::string>(text), {}};
}

bool parse_number(std::string_view text, std::int64_t& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && value >= 1;
}

/// FIRST..LAST, doubling, or FIRST..LAST:STEP. False where the text is no range.
bool parse_range(std::string_view text, std::vector<std::string>& values) {
  const std::size_t dots = text.find("..");
  if (dots == std::string_view::npos) return false;
  const std::size_t colon = text.find(':', dots);
  std::int64_t first = 0, last = 0, step = 0;
  if (!parse_number(text.substr(0, dots), first)) return false;
  if (!parse_number(text.substr(dots + 2, colon - std::min(colon, dots + 2)), last)) return false;
  if (colon != std::string_view::npos && !parse_number(text.substr(colon + 1), step)) return false;
  if (first > last || last > INT32_MAX) return false;
  for (std::int64_t value = first; value <= last && values.size() <= kMaxVariants;
       value += step > 0 ? step : value) {
    values.push_back(std::to_string(value));
  }
  return true;
}

/// The values of a setting: those between commas, each of which may be a range.
std::vector<std::string> values_of(std::string_view text) {
  std::vector<std::string> values;
  for (std::string& item : split(text, ',')) {
    if (!parse_range(item, values)) values.push_back(std::move(item));
  }
  return values;
}

/// A word as it stands in a name: kv4096, kv-type-f16.
std::string in_name(std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos) return std::string(word);
  const std::string_view value = word.substr(equals + 1);
  const bool number = !value.empty() && value[0] >= '0' && value[0] <= '9';
  return fmt::format("{}{}{}", key_of(word), number ? "" : "-", value);
}

/// One line without lists: a name and its words, each of which is taken once.
class Line {
 public:
  Line(std::string name, std::vector<std::string> words)
      : name_(std::move(name)), words_(std::move(words)), left_(words_) {}

  const std::string& name() const { return name_; }
  std::string shape() const {
    std::vector<std::string> kept = words_;
    std::erase_if(kept, [](std::string_view word) { return word.starts_with("beside="); });
    return fmt::format("{}", fmt::join(kept, " "));
  }

  /// Whether key=value is there.
  bool has(std::string_view key) const {
    return std::ranges::any_of(words_, [&](std::string_view word) { return key_of(word) == key; });
  }

  /// Fails where a flag or a key stands twice.
  void check_once() {
    std::vector<std::string_view> keys;
    for (const std::string& word : words_) keys.push_back(key_of(word));
    std::ranges::sort(keys);
    const auto twice = std::ranges::adjacent_find(keys);
    if (twice != keys.end()) fail("'{}' stands twice", *twice);
  }

  /// Whether the flag is there.
  bool flag(std::string_view word) { return std::erase(left_, word) > 0; }

  /// The value of key=value, where that is there.
  std::optional<std::string> text(std::string_view key) {
    const std::string start = fmt::format("{}=", key);
    const auto word =
        std::ranges::find_if(left_, [&](std::string_view each) { return each.starts_with(start); });
    if (word == left_.end()) return std::nullopt;
    std::string value = word->substr(start.size());
    left_.erase(word);
    return value;
  }

  std::int32_t number(std::string_view key, std::string_view text) {
    std::int64_t value = 0;
    if (parse_number(text, value) && value <= INT32_MAX) return static_cast<std::int32_t>(value);
    fail("{} ({}) must be a whole number of at least 1", key, text);
    return 1;
  }

  /// Without the word: `missing`; 0 says that the word must be there.
  std::int32_t number(std::string_view key, std::int32_t missing = 0) {
    const std::optional<std::string> value = text(key);
    if (value) return number(key, *value);
    if (missing == 0) fail("{} is missing", key);
    return missing;
  }

  /// 0 where the word is not there.
  std::int32_t setting(std::string_view key) {
    const std::optional<std::string> value = text(key);
    return value ? number(key, *value) : 0;
  }

  /// f32 where the word is not there.
  DType type(std::string_view key, bool computes) {
    const std::optional<std::string> value = text(key);
    if (!value) return DType::f32;
    for (const DTypeInfo& type : kDTypes) {
      if (type.name == *value && (type.computes || !computes)) return type.type;
    }
    fail("{} ({}) must be {}", key, *value, computes ? "f32, f16 or bf16" : "an element type");
    return DType::f32;
  }

  /// The place in `names` of the value; 0 where the word is not there. The first name is none to
  /// choose.
  std::size_t choice(std::string_view key, std::span<const std::string_view> names) {
    const std::optional<std::string> value = text(key);
    if (!value) return 0;
    const auto name = std::find(names.begin() + 1, names.end(), *value);
    if (name != names.end()) return static_cast<std::size_t>(name - names.begin());
    const std::string most = fmt::format("{}", fmt::join(names.begin() + 1, names.end() - 1, ", "));
    fail("{} ({}) must be {} or {}", key, *value, most, names.back());
    return 0;
  }

  /// One length for each sequence with plus signs between, where n*length stands for n of them.
  std::vector<std::int32_t> lengths(std::string_view key, std::string_view list) {
    std::vector<std::int32_t> lengths;
    for (const std::string& item : split(list, '+')) {
      const std::size_t star = item.find('*');
      const bool repeated = star != std::string::npos;
      const std::int32_t count = repeated ? number(key, item.substr(0, star)) : 1;
      const std::int32_t length = number(key, repeated ? item.substr(star + 1) : item);
      if (count > kMaxSequences || std::ssize(lengths) + count > kMaxSequences) {
        fail("{} must have at most {} sequences", key, kMaxSequences);
        return {};
      }
      lengths.insert(lengths.end(), static_cast<std::size_t>(count), length);
    }
    return lengths;
  }

  /// Words that are left are none of `known`.
  void end(std::string_view known) {
    if (!left_.empty()) fail("'{}' does not belong here; words are {}", left_.front(), known);
  }

  template <class... Values>
  void fail(fmt::format_string<const Values&...> sentence, const Values&... values) {
    if (!status_.ok()) return;
    status_ = {StatusCode::invalid_argument, fmt::format(sentence, values...)};
  }
  const Status& status() const { return status_; }

 private:
  std::string name_;
  std::vector<std::string> words_, left_;
  Status status_;
};

SoftmaxWorkload parse_softmax(Line& line) {
  SoftmaxWorkload softmax;
  softmax.rows = line.number("rows");
  softmax.length = line.number("length");
  softmax.resident = line.flag("resident");
  if (static_cast<double>(softmax.rows) * static_cast<double>(softmax.length) > kMostNumbers) {
    line.fail("rows and length must have at most 2^40 numbers");
  }
  line.end(kSoftmaxWords);
  return softmax;
}

/// The lengths of queries and keys: of as many sequences as b or the longer list says.
void parse_lengths(Line& line, AttentionWorkload& attention) {
  const std::optional<std::string> q = line.text("q"), kv = line.text("kv");
  if (!q) line.fail("q is missing");
  auto& queries = attention.query_lengths = line.lengths("q", q.value_or("1"));
  auto& keys = attention.kv_lengths = kv ? line.lengths("kv", *kv) : queries;
  const auto longest = static_cast<std::int32_t>(std::max(queries.size(), keys.size()));
  const std::int32_t sequences = line.number("b", std::max(1, longest));
  if (sequences > kMaxSequences) line.fail("b ({}) must be at most {}", sequences, kMaxSequences);
  if (!line.status().ok()) return;
  const auto spread = [&](std::string_view key, std::vector<std::int32_t>& lengths) {
    if (lengths.size() == 1) lengths.resize(static_cast<std::size_t>(sequences), lengths.front());
    if (std::ssize(lengths) == sequences) return;
    line.fail("{} must be one length, or {} with plus signs between: one for each sequence", key,
              sequences);
  };
  spread("q", queries);
  spread("kv", keys);
}

/// The first keys, which all sequences have in common.
std::int32_t parse_shared(Line& line, const AttentionWorkload& attention) {
  const std::int32_t keys = line.setting("shared"), page = attention.page_tokens;
  if (keys == 0 || !line.status().ok()) return 0;
  const std::int32_t shortest = std::ranges::min(attention.kv_lengths);
  if (page == 0) {
    line.fail("shared ({}) needs keys and values in pages: pages=N", keys);
  } else if (keys % page != 0) {
    line.fail("shared ({}) must be a multiple of the {} tokens of a page", keys, page);
  } else if (keys > shortest) {
    line.fail("shared ({}) must be at most {}, the keys of the shortest sequence", keys, shortest);
  }
  return keys;
}

void parse_window(Line& line, AttentionWorkload& attention) {
  const std::int32_t keys = attention.window = line.setting("window");
  if (keys > 0 && !attention.causal) line.fail("window ({}) needs causal", keys);
  if (keys > 0 && attention.shared_keys > 0) {
    line.fail("window ({}) and shared exclude each other", keys);
  }
}

void parse_scores(Line& line, AttentionWorkload& attention) {
  constexpr std::string_view kBiases[] = {"none", "all", "key", "pair", "row"};
  constexpr proof::Biases kKinds[] = {proof::Biases::none, proof::Biases::all,
                                      proof::Biases::by_key, proof::Biases::by_pair,
                                      proof::Biases::by_row};
  attention.modifiers.softcap = static_cast<float>(line.setting("softcap"));
  attention.modifiers.alibi = line.flag("alibi");
  attention.modifiers.sinks = line.flag("sinks");
  attention.modifiers.biases = kKinds[line.choice("bias", kBiases)];
  const auto uniform = [](const std::vector<std::int32_t>& lengths) {
    return std::ranges::adjacent_find(lengths, std::not_equal_to<>()) == lengths.end();
  };
  attention.shown = static_cast<Shown>(line.choice("visible", kShownNames));
  if (attention.shown != Shown::all &&
      !(uniform(attention.query_lengths) && uniform(attention.kv_lengths))) {
    line.fail("visible needs sequences of one length");
  }
  attention.explained = line.flag("explained");
}

/// Fails where a tensor would be larger than any machine has memory for.
void check_sizes(Line& line, const AttentionWorkload& attention) {
  const auto b = static_cast<double>(attention.sequences()),
             q = static_cast<double>(std::ranges::max(attention.query_lengths)),
             kv = static_cast<double>(std::ranges::max(attention.kv_lengths)),
             heads = static_cast<double>(std::max(attention.query_heads, attention.kv_heads));
  const double vectors = b * std::max(q, kv) * heads;
  const bool by_score =
      attention.modifiers.biases != proof::Biases::none || attention.shown != Shown::all;
  if (vectors * static_cast<double>(attention.head_dim) <= kMostNumbers &&
      (!by_score || b * heads * q * kv <= kMostNumbers)) {
    return;
  }
  line.fail("queries, keys, masks and biases must each have at most 2^40 numbers");
}

AttentionWorkload parse_attention(Line& line) {
  AttentionWorkload attention;
  parse_lengths(line, attention);
  const std::int32_t heads = line.number("hq");
  attention.query_heads = heads;
  attention.kv_heads = line.number("hkv", heads);
  attention.head_dim = line.number("d");
  attention.causal = line.flag("causal");
  attention.sharp = line.flag("sharp");
  if (line.flag("bshd")) {
    attention.layout = TensorLayout::bshd;
  } else if (line.flag("bhsd")) {
    attention.layout = TensorLayout::bhsd;
  }
  attention.page_tokens = line.setting("pages");
  attention.q_type = line.type("q-type", true);
  attention.kv_type = line.type("kv-type", false);
  if (!line.status().ok()) return attention;
  attention.shared_keys = parse_shared(line, attention);
  parse_window(line, attention);
  parse_scores(line, attention);
  check_sizes(line, attention);
  return attention;
}

Status parse_workload(Line& line, std::vector<Workload>& workloads) {
  Workload workload;
  line.check_once();
  workload.name = line.name();
  workload.shape = line.shape();
  workload.beside = line.text("beside").value_or("");
  if (line.has("rows") || line.has("length")) {
    workload.what = parse_softmax(line);
  } else {
    workload.what = parse_attention(line);
    line.end(kAttentionWords);
  }
  if (line.status().ok()) workloads.push_back(std::move(workload));
  return line.status();
}

/// A name of a line that has none.
std::string name_of(const std::vector<std::string>& words) {
  std::vector<std::string> parts;
  parts.reserve(words.size());
  for (const std::string& word : words) parts.push_back(in_name(word));
  return fmt::format("{}", fmt::join(parts, "-"));
}

/// The words of one line, of which some have several values.
struct Choices {
  std::string name;  ///< empty: the line has none
  std::vector<std::string> words;
  std::vector<std::vector<std::string>> values;  ///< of each word; none where it is a flag
  std::size_t variants = 1;
};

Choices read_choices(std::string_view line) {
  Choices choices;
  choices.words = words_of(line);
  if (!choices.words.empty() && !is_setting(choices.words[0]) && !is_flag(choices.words[0])) {
    choices.name = choices.words[0];
    choices.words.erase(choices.words.begin());
  }
  for (const std::string& word : choices.words) {
    auto& values = choices.values.emplace_back();
    if (is_setting(word)) values = values_of(std::string_view(word).substr(word.find('=') + 1));
    if (!values.empty() && choices.variants <= kMaxVariants) choices.variants *= values.size();
  }
  return choices;
}

/// The line of the variant with this number.
Line variant(const Choices& choices, std::size_t number) {
  std::vector<std::string> words = choices.words;
  std::string name = choices.name;
  for (std::size_t i = words.size(), rest = number; i-- > 0;) {
    const auto& values = choices.values[i];
    if (values.empty()) continue;
    words[i] = fmt::format("{}={}", key_of(words[i]), values[rest % values.size()]);
    rest /= values.size();
  }
  for (std::size_t i = 0; i < words.size() && !choices.name.empty(); ++i) {
    if (choices.values[i].size() > 1) name.append("-").append(in_name(words[i]));
  }
  return {name.empty() ? name_of(words) : name, words};
}

}  // namespace

Status parse_line(std::string_view line, std::vector<Workload>& workloads) {
  const Choices choices = read_choices(line);
  if (choices.variants > kMaxVariants) {
    return {StatusCode::invalid_argument,
            fmt::format("lists and ranges must stand for at most {} workloads", kMaxVariants)};
  }
  for (std::size_t i = 0; i < choices.variants; ++i) {
    Line one = variant(choices, i);
    if (Status status = parse_workload(one, workloads); !status) return status;
  }
  return {};
}

std::string with_setting(std::string_view shape, std::string_view key, std::string_view value) {
  std::vector<std::string> words = words_of(shape);
  std::erase_if(words, [&](std::string_view word) { return key_of(word) == key; });
  words.push_back(fmt::format("{}={}", key, value));
  return fmt::format("{}", fmt::join(words, " "));
}

}  // namespace heed::bench

#include "bench/workloads.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <regex>
#include <sstream>
#include <utility>

#include "heed/tensor_data.h"

namespace heed::bench {
namespace {

/// One line of the file; the first fault that is found ends it.
class Line {
 public:
  Line(int number, const std::string& text) : number_(number), words_(text) { words_ >> next_; }

  std::string word(std::string_view field) {
    if (next_.empty()) fail("{} is missing", field);
    return take();
  }

  /// Takes the next word where it is this one.
  bool flag(std::string_view word) {
    const bool found = next_ == word;
    if (found) take();
    return found;
  }

  /// Takes the next word where it is field=number; 0 where it is another.
  std::int32_t setting(std::string_view field) {
    const std::string name = fmt::format("{}=", field);
    return next_.starts_with(name) ? number(field, take().substr(name.size())) : 0;
  }

  /// Takes the next word where it is field=type; f32 where it is another.
  DType type(std::string_view field, bool computes) {
    const std::string name = fmt::format("{}=", field);
    if (!next_.starts_with(name)) return DType::f32;
    const std::string text = take().substr(name.size());
    for (const DTypeInfo& type : kDTypes) {
      if (type.name == text && (type.computes || !computes)) return type.type;
    }
    fail("{} ({}) must be {}", field, text, computes ? "f32, f16 or bf16" : "an element type");
    return DType::f32;
  }

  std::int32_t number(std::string_view field) { return number(field, word(field)); }

  std::int32_t number(std::string_view field, const std::string& text) {
    std::int32_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stop != end || value < 1) {
      fail("{} ({}) must be a whole number of at least 1", field, text);
      return 1;
    }
    return value;
  }

  /// One length for all sequences or one for each, where n*length stands for n of them.
  std::vector<std::int32_t> lengths(std::string_view field, const std::string& list,
                                    std::size_t sequences) {
    std::vector<std::int32_t> lengths;
    std::istringstream items(list);
    for (std::string item; status_.ok() && std::getline(items, item, ',');) {
      const std::size_t star = item.find('*');
      const bool repeated = star != std::string::npos;
      const std::int32_t count = repeated ? number(field, item.substr(0, star)) : 1;
      const std::int32_t length = number(field, repeated ? item.substr(star + 1) : item);
      lengths.insert(lengths.end(), static_cast<std::size_t>(count), length);
    }
    if (lengths.size() == 1) lengths.resize(sequences, lengths.front());
    if (lengths.size() != sequences) {
      fail("{} ({}) must be one length or one for each of {} sequences", field, list, sequences);
    }
    return lengths;
  }

  /// Whether the word is `yes`; `no` says otherwise, and anything else is a fault.
  bool choice(std::string_view field, const std::string& word, std::string_view yes,
              std::string_view no) {
    if (word != yes && word != no) fail("{} ({}) must be {} or {}", field, word, no, yes);
    return word == yes;
  }

  /// The first keys, which all sequences have in common.
  std::int32_t shared_keys(std::int32_t page_tokens, const std::vector<std::int32_t>& kv_lengths) {
    const std::int32_t keys = setting("shared");
    if (keys == 0 || !status_.ok()) return 0;
    const std::int32_t shortest = *std::min_element(kv_lengths.begin(), kv_lengths.end());
    if (page_tokens == 0) {
      fail("shared ({}) needs keys and values in pages: pages=N before it", keys);
    } else if (keys % page_tokens != 0) {
      fail("shared ({}) must be a multiple of the {} tokens of a page", keys, page_tokens);
    } else if (keys > shortest) {
      fail("shared ({}) must be at most {}, the keys of the shortest sequence", keys, shortest);
    }
    return keys;
  }

  /// Takes the next word where it is window=number.
  std::int32_t window(bool causal, std::int32_t shared_keys) {
    const std::int32_t keys = setting("window");
    if (keys > 0 && !causal) fail("window ({}) needs a causal mask", keys);
    if (keys > 0 && shared_keys > 0) fail("window ({}) and shared exclude each other", keys);
    return keys;
  }

  /// Takes the next word where it is bias=…; none where it is another.
  proof::Biases biases() {
    constexpr std::pair<std::string_view, proof::Biases> kinds[] = {
        {"all", proof::Biases::all},
        {"key", proof::Biases::by_key},
        {"pair", proof::Biases::by_pair},
        {"row", proof::Biases::by_row}};
    if (!next_.starts_with("bias=")) return proof::Biases::none;
    const std::string text = take().substr(5);
    for (const auto& [name, biases] : kinds) {
      if (text == name) return biases;
    }
    fail("bias ({}) must be all, key, pair or row", text);
    return proof::Biases::none;
  }

  /// Takes the next word where it is visible=…; all keys where it is another.
  Shown shown(bool dense) {
    if (!next_.starts_with("visible=")) return Shown::all;
    const std::string text = take().substr(8);
    if (!dense) fail("visible ({}) needs sequences of one length", text);
    for (std::size_t i = 1; i < std::size(kShownNames); ++i) {
      if (text == kShownNames[i]) return static_cast<Shown>(i);
    }
    fail("visible ({}) must be padding, tree or blocks", text);
    return Shown::all;
  }

  /// Takes the next word where it is beside=name; nothing where it is another.
  std::string beside() { return next_.starts_with("beside=") ? take().substr(7) : std::string(); }

  /// Words that are left were none of `options`, which may stand at the end.
  void end(std::string_view options) {
    if (!next_.empty()) fail("'{}' does not belong here; options are {}", next_, options);
  }

  const Status& status() const { return status_; }

 private:
  template <class... Values>
  void fail(fmt::format_string<const Values&...> sentence, const Values&... values) {
    if (!status_.ok()) return;
    status_ = {StatusCode::invalid_argument,
               fmt::format("workloads, line {}: ", number_) + fmt::format(sentence, values...)};
  }

  std::string take() {
    std::string word = std::move(next_);
    next_.clear();
    words_ >> next_;
    return word;
  }

  int number_;
  std::istringstream words_;
  std::string next_;
  Status status_;
};

SoftmaxWorkload parse_softmax(Line& line) {
  SoftmaxWorkload softmax;
  softmax.rows = line.number("rows");
  softmax.length = line.number("length");
  softmax.resident = line.flag("resident");
  line.end("[resident]");
  return softmax;
}

AttentionWorkload parse_attention(Line& line, std::size_t sequences, std::string& beside) {
  AttentionWorkload attention;
  attention.query_heads = line.number("query_heads");
  attention.kv_heads = line.number("kv_heads");
  const std::string query_len = line.word("query_len");
  const std::string kv_len = line.word("kv_len");
  attention.query_lengths = line.lengths("query_len", query_len, sequences);
  attention.kv_lengths = line.lengths("kv_len", kv_len == "=" ? query_len : kv_len, sequences);
  attention.head_dim = line.number("head_dim");
  attention.causal = line.choice("mask", line.word("mask"), "causal", "none");
  attention.sharp = !line.flag("normal") && line.flag("sharp");
  if (line.flag("bshd")) {
    attention.layout = TensorLayout::bshd;
  } else if (line.flag("bhsd")) {
    attention.layout = TensorLayout::bhsd;
  }
  attention.page_tokens = line.setting("pages");
  attention.shared_keys = line.shared_keys(attention.page_tokens, attention.kv_lengths);
  attention.q_type = line.type("q", true);
  attention.kv_type = line.type("kv", false);
  attention.window = line.window(attention.causal, attention.shared_keys);
  attention.modifiers.softcap = static_cast<float>(line.setting("softcap"));
  attention.modifiers.alibi = line.flag("alibi");
  attention.modifiers.sinks = line.flag("sinks");
  attention.modifiers.biases = line.biases();
  const auto uniform = [](const std::vector<std::int32_t>& lengths) {
    return std::adjacent_find(lengths.begin(), lengths.end(), std::not_equal_to<>()) ==
           lengths.end();
  };
  attention.shown = line.shown(uniform(attention.query_lengths) && uniform(attention.kv_lengths));
  attention.explained = line.flag("explained");
  beside = line.beside();
  line.end(
      "[normal|sharp] [bshd|bhsd] [pages=N] [shared=N] [q=TYPE] [kv=TYPE] [window=N] [softcap=N] "
      "[alibi] [sinks] [bias=all|key|pair|row] [visible=padding|tree|blocks] [explained] "
      "[beside=NAME], in this order");
  return attention;
}

Workload parse_workload(Line& line) {
  Workload workload;
  workload.name = line.word("name");
  const std::string batch = line.word("batch");
  if (batch == "softmax") {
    workload.what = parse_softmax(line);
  } else {
    const auto sequences = static_cast<std::size_t>(line.number("batch", batch));
    workload.what = parse_attention(line, sequences, workload.beside);
  }
  return workload;
}

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

Status parse_workloads(std::string_view text, std::vector<Workload>& workloads) {
  std::istringstream lines{std::string(text)};
  int number = 1;
  for (std::string text_of_line; std::getline(lines, text_of_line); ++number) {
    if (text_of_line.ends_with('\r')) text_of_line.pop_back();
    if (text_of_line.empty() || text_of_line.front() == '#') continue;
    Line line(number, text_of_line);
    Workload workload = parse_workload(line);
    if (!line.status()) return line.status();
    workloads.push_back(std::move(workload));
  }
  return {};
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
  std::vector<Workload> all;
  if (Status status = parse_workloads(workloads_text(), all); !status) return status;
  for (Workload& workload : all) {
    if (std::regex_search(workload.name, wanted)) workloads.push_back(std::move(workload));
  }
  if (!workloads.empty()) return {};
  return {StatusCode::invalid_argument,
          fmt::format("workload (\"{}\") must match the name of at least one", regex)};
}

void set_types(std::optional<DType> q_type, std::optional<DType> kv_type,
               std::vector<Workload>& workloads) {
  for (Workload& workload : workloads) {
    auto* const attention = std::get_if<AttentionWorkload>(&workload.what);
    if (attention == nullptr) continue;
    attention->q_type = q_type.value_or(attention->q_type);
    attention->kv_type = kv_type.value_or(attention->kv_type);
  }
}

}  // namespace heed::bench

// A text as its tokens come, which ends where one of some texts would begin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tools/llama/tokenizer.h"

namespace heed::llama {

/// The text of a prompt's tokens and of those that follow it. A stop text is found in what follows
/// the prompt, wherever tokens begin and end: the one whose last byte comes first, of those that
/// end with the same byte the longest. It is no part of the text, which then takes no more tokens.
class TextStream {
 public:
  /// `stops`, of which none is empty, and the tokenizer must live as long as this. `prompt` begins
  /// with a token that shows nothing.
  TextStream(const Tokenizer& tokenizer, std::span<const std::string> stops,
             std::span<const std::int32_t> prompt);

  /// The token that follows `previous`. Returns whether a stop text has come.
  bool add(std::int32_t previous, std::int32_t token);
  /// No more tokens come.
  void end() { shown_ = text_.size(); }

  /// What is known of the text: all that cannot be the beginning of a stop text.
  std::string_view shown() const { return std::string_view(text_).substr(0, shown_); }
  /// The stop text that ended this one, as an index; none yet.
  std::optional<std::size_t> stop() const { return stop_; }

 private:
  bool add_byte(char byte);
  std::size_t held() const;
  std::string_view generated() const { return std::string_view(text_).substr(prompt_); }

  const Tokenizer* tokenizer_;
  std::span<const std::string> stops_;
  std::string text_;
  std::size_t prompt_ = 0;  ///< bytes of the prompt
  std::size_t shown_ = 0;
  std::optional<std::size_t> stop_;
};

}  // namespace heed::llama

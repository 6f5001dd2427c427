#include "tools/llama/text_stream.h"

#include <algorithm>

namespace heed::llama {

TextStream::TextStream(const Tokenizer& tokenizer, std::span<const std::string> stops,
                       std::span<const std::int32_t> prompt)
    : tokenizer_(&tokenizer), stops_(stops) {
  for (std::size_t i = 1; i < prompt.size(); ++i) {
    text_ += tokenizer.decode(prompt[i - 1], prompt[i]);
  }
  prompt_ = shown_ = text_.size();
}

bool TextStream::add(std::int32_t previous, std::int32_t token) {
  for (const char byte : tokenizer_->decode(previous, token)) {
    if (add_byte(byte)) return true;
  }
  shown_ = text_.size() - held();
  return false;
}

/// Whether it is the last byte of a stop text, which is taken away then.
bool TextStream::add_byte(char byte) {
  text_ += byte;
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    const bool longest = !stop_ || stops_[i].size() > stops_[*stop_].size();
    if (longest && generated().ends_with(stops_[i])) stop_ = i;
  }
  if (!stop_) return false;
  text_.resize(text_.size() - stops_[*stop_].size());
  shown_ = text_.size();
  return true;
}

/// The last bytes that a stop text may begin with.
std::size_t TextStream::held() const {
  std::size_t most = 0;
  for (const std::string_view stop : stops_) {
    std::size_t length = std::min(stop.size() - 1, generated().size());
    while (length > most && !generated().ends_with(stop.substr(0, length))) --length;
    most = std::max(most, length);
  }
  return most;
}

}  // namespace heed::llama

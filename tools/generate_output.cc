#include "tools/generate_output.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bench/console.h"

namespace heed::tools {
namespace {

void write(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

const char* name_of(llama::End end) {
  switch (end) {
    case llama::End::none:
      break;
    case llama::End::token:
      return "token";
    case llama::End::steps:
      return "steps";
    case llama::End::stop:
      return "stop";
    case llama::End::fault:
      return "fault";
  }
  return "none";
}

}  // namespace

Status GenerateOutput::print(std::span<const llama::Text> texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].ended()) streams_[i].end();
  }
  if (format_.json) {
    print_ended(texts);
  } else {
    print_in_order(texts);
  }
  return bench::flush_output();
}

void GenerateOutput::print_ended(std::span<const llama::Text> texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!texts[i].ended() || printed_[i]) continue;
    print_json(i, texts[i]);
    printed_[i] = true;
  }
}

void GenerateOutput::print_json(std::size_t number, const llama::Text& text) {
  const llama::TextStream& stream = streams_[number];
  nlohmann::ordered_json line;
  line["prompt"] = number + 1;
  line["text"] = stream.shown();
  line["end"] = name_of(text.end);
  if (stream.stop()) line["stop"] = stops_[*stream.stop()];
  if (!text.fault.ok()) line["fault"] = text.fault.message();
  if (text.found > 0) line["found"] = text.found;
  if (format_.ids) line["ids"] = text.ids;
  // A text may have bytes that are no UTF-8, or end within a character: they become U+FFFD.
  write(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void GenerateOutput::print_in_order(std::span<const llama::Text> texts) {
  while (text_ < texts.size()) {
    const llama::Text& text = texts[text_];
    if (format_.ids) {
      for (; known_ < text.ids.size(); ++known_) {
        write(fmt::format("{}{}", known_ == 0 ? "" : " ", text.ids[known_]));
      }
    } else {
      const std::string_view shown = streams_[text_].shown();
      write(shown.substr(known_));
      known_ = shown.size();
    }
    if (!text.ended()) break;
    write("\n");
    ++text_;
    known_ = 0;
  }
}

}  // namespace heed::tools

// Texts as their tokens come: where stop texts end them, whatever the tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/llama/model_file.h"
#include "tests/proof/inputs.h"
#include "tests/support/run_command.h"
#include "tools/llama/text_stream.h"

namespace heed::tests {
namespace {

using llama::TextStream;
using llama::Tokenizer;
using Ids = std::vector<std::int32_t>;

/// Where the first stop text to end begins in a text, and which one it is.
struct Found {
  std::size_t begin, stop;
};

std::optional<Found> first_end(std::string_view text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::optional<Found> found;
    for (std::size_t i = 0; i < stops.size(); ++i) {
      if (!text.substr(0, end).ends_with(stops[i])) continue;
      if (!found || end - stops[i].size() < found->begin) found = {end - stops[i].size(), i};
    }
    if (found) return found;
  }
  return {};
}

bool begins_at_end(std::string_view text, const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    for (std::size_t n = 1; n < stop.size(); ++n) {
      if (text.ends_with(std::string_view(stop).substr(0, n))) return true;
    }
  }
  return false;
}

class TextStreamTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::vector<PieceOfFile> pieces = pieces_with({"ab", "ba", "abab", "aab", "bb"});
    write_bytes(path_, tokenizer_bytes(pieces));
    tokens_ = std::ssize(pieces);
    ASSERT_TRUE(Tokenizer::read(path_, tokens_, tokenizer_).ok());
  }

  const Folder folder_;
  const std::string path_ = folder_.path("tokenizer.bin");
  std::int64_t tokens_ = 0;
  Tokenizer tokenizer_;
};

TEST_F(TextStreamTest, EndsWhereTheFirstStopTextEnds) {
  proof::Random random(11);
  int stopped = 0, held = 0;
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::string> stops(1 + random.below(3));
    for (std::string& stop : stops) {
      for (std::int64_t n = 1 + random.below(6); n > 0; --n) stop += random.below(2) ? 'a' : 'b';
    }
    const Ids prompt = {1, static_cast<std::int32_t>(tokens_ - 1)};
    TextStream stream(tokenizer_, stops, prompt);
    const std::string begun(stream.shown());
    std::string all;
    std::int32_t previous = prompt.back();
    for (int t = 0; t < 12; ++t) {
      const auto token = static_cast<std::int32_t>(tokens_ - 1 - random.below(7));
      all += tokenizer_.decode(previous, token);
      const std::optional<Found> expected = first_end(all, stops);
      ASSERT_EQ(stream.add(previous, token), expected.has_value()) << all;
      if (expected) {
        ++stopped;
        EXPECT_EQ(stream.shown(), begun + all.substr(0, expected->begin));
        EXPECT_EQ(stops[stream.stop().value()], stops[expected->stop]);
        break;
      }
      // All is shown but the longest beginning of a stop text.
      const std::string_view shown = stream.shown().substr(begun.size());
      ASSERT_EQ(shown, std::string_view(all).substr(0, shown.size()));
      if (shown.size() < all.size()) {
        ++held;
        const std::string rest = all.substr(shown.size());
        EXPECT_TRUE(std::ranges::any_of(stops, [&](const std::string& stop) {
          return stop.starts_with(rest);
        })) << all;
      } else {
        EXPECT_FALSE(begins_at_end(all, stops)) << all;
      }
      previous = token;
    }
    if (stream.stop()) continue;
    stream.end();
    EXPECT_EQ(stream.shown(), begun + all);
  }
  EXPECT_GT(stopped, 500);
  EXPECT_GT(held, 500);
}

TEST_F(TextStreamTest, WithoutStopTextsShowsEverything) {
  const Ids prompt = {1};
  TextStream stream(tokenizer_, {}, prompt);
  EXPECT_EQ(stream.shown(), "");
  EXPECT_FALSE(stream.add(1, 3 + 'A'));
  EXPECT_EQ(stream.shown(), "A");
}

}  // namespace
}  // namespace heed::tests

// The tokenizer: against llama2.c's own loop, and which files are refused.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/llama/model_file.h"
#include "tests/proof/inputs.h"
#include "tests/support/run_command.h"
#include "tools/llama/tokenizer.h"

namespace heed::tests {
namespace {

using llama::Tokenizer;
using Ids = std::vector<std::int32_t>;

class TokenizerFile : public testing::Test {
 protected:
  void read(const std::vector<PieceOfFile>& pieces) {
    pieces_ = pieces;
    write_bytes(path_, tokenizer_bytes(pieces));
    const Status status = Tokenizer::read(path_, std::ssize(pieces), tokenizer_);
    ASSERT_TRUE(status.ok()) << status.message();
  }

  Ids encode(const std::string& text) const {
    Ids ids;
    const Status status = tokenizer_.encode(text, ids);
    EXPECT_TRUE(status.ok()) << status.message();
    return ids;
  }

  std::string decode(const Ids& ids) const {
    std::string text;
    for (std::size_t i = 1; i < ids.size(); ++i) text += tokenizer_.decode(ids[i - 1], ids[i]);
    return text;
  }

  void expect_refused(const std::string& bytes, std::int64_t vocab_size,
                      const std::string& message) const {
    write_bytes(path_, bytes);
    Tokenizer tokenizer;
    const Status status = Tokenizer::read(path_, vocab_size, tokenizer);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), path_ + ": not a tokenizer of this model: " + message);
  }

  const Folder folder_;
  const std::string path_ = folder_.path("tokenizer.bin");
  std::vector<PieceOfFile> pieces_;
  Tokenizer tokenizer_;
};

/// The loop of llama2.c for texts of single-byte characters that all have tokens: the first pair of
/// the best score is merged, until there is none.
Ids merged_one_by_one(const std::vector<PieceOfFile>& pieces, const std::string& text) {
  std::map<std::string, std::int32_t> ids;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    ids.try_emplace(pieces[i].bytes, static_cast<std::int32_t>(i));
  }
  std::vector<std::string> tokens;
  for (const char c : text.empty() ? text : " " + text) tokens.emplace_back(1, c);
  for (;;) {
    float best = -INFINITY;
    std::size_t at = tokens.size();
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = ids.find(tokens[i] + tokens[i + 1]);
      if (found == ids.end()) continue;
      const float score = pieces[static_cast<std::size_t>(found->second)].score;
      if (score <= best) continue;
      best = score;
      at = i;
    }
    if (at == tokens.size()) break;
    tokens[at] += tokens[at + 1];
    tokens.erase(tokens.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  Ids result = {1};
  for (const std::string& token : tokens) result.push_back(ids.at(token));
  return result;
}

TEST_F(TokenizerFile, MergesAsLlama2cDoes) {
  proof::Random random(11);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> merges = {" ", "a", "b", "c"};
    for (int i = 0; i < 12; ++i) {  // each a union of two before it
      const auto pick = [&] {
        return merges[static_cast<std::size_t>(random.below(std::ssize(merges)))];
      };
      merges.push_back(pick() + pick());
    }
    std::vector<PieceOfFile> pieces = pieces_with({});
    for (const std::string& merge : merges) {  // with ties among their scores
      pieces.push_back({static_cast<float>(random.below(5)), merge});
    }
    read(pieces);
    for (int i = 0; i < 50; ++i) {
      std::string text;
      for (std::int64_t length = random.below(40); length > 0; --length) {
        text += " abc"[random.below(4)];
      }
      const Ids ids = encode(text);
      EXPECT_EQ(ids, merged_one_by_one(pieces, text)) << '"' << text << '"';
      EXPECT_EQ(decode(ids), text);
    }
  }
}

TEST_F(TokenizerFile, LongTextsTakeLittleTime) {
  read(pieces_with({"aa", "aaaa", "aaaaaaaa", " "}));
  EXPECT_EQ(encode(std::string(1 << 20, 'a')).size(), 2U + (1 << 17));
}

TEST_F(TokenizerFile, CharactersAndBytes) {
  std::vector<PieceOfFile> pieces = pieces_with({" "});
  const auto token = static_cast<std::int32_t>(pieces.size());
  pieces.push_back({0, "é"});
  read(pieces);
  const std::int32_t space = token - 1, bytes = 3;  // the token of <0x00>
  EXPECT_EQ(encode(""), Ids{1});
  EXPECT_EQ(encode("é"), (Ids{1, space, token}));
  EXPECT_EQ(encode("ü"), (Ids{1, space, bytes + 0xC3, bytes + 0xBC}));
  EXPECT_EQ(encode("\xC3"), (Ids{1, space, bytes + 0xC3}));
  EXPECT_EQ(encode("\xA9\xC3\xA9"), (Ids{1, space, bytes + 0xA9, token}));
  EXPECT_EQ(decode(encode("aüé\n")), "aüé\n");
}

TEST_F(TokenizerFile, Decoding) {
  std::vector<PieceOfFile> pieces = pieces_with({" a"});
  const std::int32_t a = 259;
  pieces.push_back({0, "<0x4>"});
  pieces.push_back({0, "<0xGG>"});
  read(pieces);
  EXPECT_EQ(decode({1, a, a}), "a a");
  EXPECT_EQ(decode({1, 3 + 0x41, a}), "A a");
  EXPECT_EQ(decode({1, 3 + 0x20}), " ");  // a byte, not a piece with a space
  EXPECT_EQ(decode({1, a + 3, a + 4}), "<0x4><0xGG>");
}

TEST_F(TokenizerFile, BytesWithoutToken) {
  read({{0, "<unk>"}, {0, "<s>"}, {0, " "}, {0, "a"}});
  EXPECT_EQ(encode("a"), (Ids{1, 2, 3}));
  Ids ids;
  const Status status = tokenizer_.encode("ab", ids);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), "the tokenizer has no token for byte 0x62");
}

TEST_F(TokenizerFile, RefusesOthers) {
  const std::vector<PieceOfFile> pieces = {{0, "<unk>"}, {0, "<s>"}, {-1, "abc"}};
  const std::string bytes = tokenizer_bytes(pieces);
  const std::size_t ends[] = {4, 4 + 8 + 5, 4 + 8 + 5 + 8 + 3};  // before each token
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::string message = "it is empty";
    for (std::size_t token = 0; token < 3; ++token) {
      if (size >= ends[token]) message = "it ends within token " + std::to_string(token) + " of 3";
    }
    expect_refused(bytes.substr(0, size), 3, message);
  }
  expect_refused(bytes + "x", 3, "1 bytes follow its 3 tokens");
  expect_refused(bytes, 2, "11 bytes follow its 2 tokens");
  expect_refused(bytes, 4, "it ends within token 3 of 4");
  std::string negative = bytes;
  negative.replace(8, 4, "\xFF\xFF\xFF\xFF");
  expect_refused(negative, 3, "it ends within token 0 of 3");
  std::vector<PieceOfFile> nan = pieces;
  nan[2].score = NAN;
  expect_refused(tokenizer_bytes(nan), 3, "the score of token 2 is not a number");
}

}  // namespace
}  // namespace heed::tests

// Tokens of byte-pair encoding (Sennrich et al., arXiv 1508.07909), in the tokenizer files of
// llama2.c: int32 longest piece, then for each token its score (float32), length (int32) and bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "heed/status.h"

namespace heed::llama {

class Tokenizer {
 public:
  /// Reads the pieces of a model with vocab_size tokens. Messages name the path.
  static Status read(const std::string& path, std::int64_t vocab_size, Tokenizer& tokenizer);

  /// Token kBoundary, then those of the text with a space before it; none where it is empty.
  /// Characters become tokens, or where there is no such token their bytes; then the two neighbours
  /// whose union is the token of the best score become one, the first ones among equals, until
  /// there are none.
  Status encode(std::string_view text, std::vector<std::int32_t>& ids) const;

  /// What a token adds to a text in which it follows `previous`: its piece; without a leading space
  /// where it is the first; the byte where the piece is called <0xHH>.
  std::string decode(std::int32_t previous, std::int32_t token) const;

 private:
  struct Piece {
    std::string bytes;
    float score = 0;
  };

  Status parse(const std::string& path, std::string_view bytes, std::int64_t vocab_size);
  void index();
  const Piece& piece(std::int32_t id) const { return pieces_[static_cast<std::size_t>(id)]; }
  std::int32_t find(std::string_view piece) const;  ///< −1 where there is none
  Status split(std::string_view text, std::vector<std::int32_t>& ids) const;

  std::vector<Piece> pieces_;
  std::unordered_map<std::string_view, std::int32_t> ids_;  ///< the first token with these bytes
  std::array<std::int32_t, 256> byte_ids_{};                ///< of <0xHH>; −1 where there is none
};

}  // namespace heed::llama

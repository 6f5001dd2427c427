#include "tools/llama/tokenizer.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "tools/llama/checkpoint.h"
#include "tools/llama/file_size.h"
#include "tools/llama/merging.h"
#include "tools/status.h"

namespace heed::llama {
namespace {

Status not_a_tokenizer(const std::string& path, std::string_view sentence) {
  return {StatusCode::invalid_argument,
          fmt::format("{}: not a tokenizer of this model: {}", path, sentence)};
}

/// Takes a number from the front of `bytes`; false where there are too few.
template <class T>
bool take(std::string_view& bytes, T& value) {
  if (bytes.size() < sizeof(T)) return false;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return true;
}

std::string name_of_byte(std::size_t byte) { return fmt::format("<0x{:02X}>", byte); }

/// The byte that a piece <0xHH> names; −1 for other pieces.
int named_byte(std::string_view piece) {
  if (piece.size() != 6) return -1;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    if (piece == name_of_byte(byte)) return static_cast<int>(byte);
  }
  return -1;
}

/// Bytes of the first UTF-8 character, at most four: up to the next byte that continues none.
std::size_t character_bytes(std::string_view text) {
  std::size_t bytes = 1;
  while (bytes < text.size() && bytes < 4 &&
         (static_cast<unsigned char>(text[bytes]) & 0xC0) == 0x80) {
    ++bytes;
  }
  return bytes;
}

}  // namespace

Status Tokenizer::read(const std::string& path, std::int64_t vocab_size, Tokenizer& tokenizer) {
  std::int64_t bytes = 0;
  HEED_RETURN_IF_ERROR(file_size(path, bytes));
  std::ifstream file(path, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  Tokenizer made;
  HEED_RETURN_IF_ERROR(made.parse(path, content, vocab_size));
  made.index();
  tokenizer = std::move(made);
  return {};
}

Status Tokenizer::parse(const std::string& path, std::string_view bytes, std::int64_t vocab_size) {
  std::int32_t longest = 0;
  if (!take(bytes, longest)) return not_a_tokenizer(path, "it is empty");
  for (std::int64_t token = 0; token < vocab_size; ++token) {
    Piece piece;
    std::int32_t length = 0;
    if (!take(bytes, piece.score) || !take(bytes, length) || length < 0 ||
        std::ssize(bytes) < length) {
      return not_a_tokenizer(path, fmt::format("it ends within token {} of {}", token, vocab_size));
    }
    if (std::isnan(piece.score)) {
      return not_a_tokenizer(path, fmt::format("the score of token {} is not a number", token));
    }
    piece.bytes = bytes.substr(0, static_cast<std::size_t>(length));
    bytes.remove_prefix(static_cast<std::size_t>(length));
    pieces_.push_back(std::move(piece));
  }
  if (bytes.empty()) return {};
  return not_a_tokenizer(path,
                         fmt::format("{} bytes follow its {} tokens", bytes.size(), vocab_size));
}

void Tokenizer::index() {
  for (std::size_t id = 0; id < pieces_.size(); ++id) {
    ids_.try_emplace(pieces_[id].bytes, static_cast<std::int32_t>(id));
  }
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    byte_ids_[byte] = find(name_of_byte(byte));
  }
}

std::int32_t Tokenizer::find(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? -1 : found->second;
}

Status Tokenizer::split(std::string_view text, std::vector<std::int32_t>& ids) const {
  while (!text.empty()) {
    const std::string_view character = text.substr(0, character_bytes(text));
    text.remove_prefix(character.size());
    if (const std::int32_t id = find(character); id >= 0) {
      ids.push_back(id);
      continue;
    }
    for (const char c : character) {
      const auto byte = static_cast<unsigned char>(c);
      ids.push_back(byte_ids_[byte]);
      if (ids.back() >= 0) continue;
      return {StatusCode::invalid_argument,
              fmt::format("the tokenizer has no token for byte 0x{:02X}", byte)};
    }
  }
  return {};
}

Status Tokenizer::encode(std::string_view text, std::vector<std::int32_t>& ids) const {
  std::vector<std::int32_t> split_ids;
  if (!text.empty()) {
    for (const std::string_view part : {std::string_view(" "), text}) {
      HEED_RETURN_IF_ERROR(split(part, split_ids));
    }
  }
  merge_neighbours(
      [this](std::int32_t left, std::int32_t right) -> Merge {
        const std::int32_t id = find(piece(left).bytes + piece(right).bytes);
        return {id, id < 0 ? 0 : piece(id).score};
      },
      split_ids);
  ids.assign(1, kBoundary);
  ids.insert(ids.end(), split_ids.begin(), split_ids.end());
  return {};
}

std::string Tokenizer::decode(std::int32_t previous, std::int32_t token) const {
  std::string_view bytes = piece(token).bytes;
  if (const int byte = named_byte(bytes); byte >= 0) return {static_cast<char>(byte)};
  if (previous == kBoundary && bytes.starts_with(' ')) bytes.remove_prefix(1);
  return std::string(bytes);
}

}  // namespace heed::llama

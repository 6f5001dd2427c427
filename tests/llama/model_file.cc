#include "tests/llama/model_file.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <set>

#include "tests/proof/inputs.h"

namespace heed::tests {
namespace {

template <class T>
void put(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

}  // namespace

std::size_t ModelFile::final_norm() const {
  const std::int64_t kv_dim = kv_heads * (dim / heads);
  const std::int64_t layer = 2 * dim + 2 * dim * dim + 2 * kv_dim * dim + 3 * hidden_dim * dim;
  return static_cast<std::size_t>(vocab_size * dim + layers * layer);
}

std::size_t ModelFile::classifier() const {
  return final_norm() + static_cast<std::size_t>(dim + context * (dim / heads));
}

std::size_t ModelFile::elements() const {
  return classifier() + static_cast<std::size_t>(classifier_apart ? vocab_size * dim : 0);
}

std::string ModelFile::bytes() const {
  std::string bytes;
  const std::int32_t vocabulary = classifier_apart ? -vocab_size : vocab_size;
  for (const std::int32_t number :
       {dim, hidden_dim, layers, heads, kv_heads, vocabulary, context}) {
    put(bytes, number);
  }
  for (const float weight : weights) put(bytes, weight);
  return bytes;
}

ModelFile random_model(ModelFile shape, std::uint64_t seed) {
  ModelFile model = std::move(shape);
  proof::Random random(seed);
  // Of size 0.5 a sum of 16 products has the size of a number of 1: activations neither vanish nor
  // grow, and logits are some units apart.
  for (std::size_t i = 0; i < model.elements(); ++i) {
    model.weights.push_back(static_cast<float>(0.5 * random.normal()));
  }
  return model;
}

ModelFile chain_model(std::int32_t vocab_size,
                      std::span<const std::pair<std::int32_t, std::int32_t>> steps) {
  ModelFile model{.dim = vocab_size, .hidden_dim = 1, .layers = 1, .heads = 1, .kv_heads = 1};
  model.vocab_size = vocab_size;
  model.classifier_apart = true;
  model.weights.assign(model.elements(), 0);
  const auto n = static_cast<std::size_t>(vocab_size);
  for (std::size_t i = 0; i < n; ++i) {
    model.weights[i * n + i] = 1;
    model.weights[model.final_norm() + i] = 1;
  }
  for (const auto& [first, second] : steps) {
    const auto from = static_cast<std::size_t>(first), to = static_cast<std::size_t>(second);
    model.weights[model.classifier() + to * n + from] = 1;
  }
  return model;
}

std::string tokenizer_bytes(std::span<const PieceOfFile> pieces) {
  std::string bytes;
  std::size_t longest = 0;
  for (const PieceOfFile& piece : pieces) longest = std::max(longest, piece.bytes.size());
  put(bytes, static_cast<std::int32_t>(longest));
  for (const auto& [score, text] : pieces) {
    put(bytes, score);
    put(bytes, static_cast<std::int32_t>(text.size()));
    bytes += text;
  }
  return bytes;
}

std::vector<PieceOfFile> pieces_with(const std::vector<std::string>& merges) {
  std::vector<PieceOfFile> pieces = {{0, "<unk>"}, {0, "\n<s>\n"}, {0, "\n</s>\n"}};
  std::array<char, 8> name{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
    pieces.push_back({0, name.data()});
  }
  float score = 0;
  std::set<char> characters;
  for (const std::string& merge : merges) {
    pieces.push_back({score, merge});
    if (merge.size() > 1) characters.insert(merge.begin(), merge.end());
    score -= 1;
  }
  for (const char c : characters) pieces.push_back({score, {c}});
  return pieces;
}

}  // namespace heed::tests

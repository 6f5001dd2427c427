// Small language models, written to files as llama2.c has them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace heed::tests {

/// A checkpoint: the numbers of its header, and its weights.
struct ModelFile {
  std::int32_t dim = 16, hidden_dim = 24, layers = 2, heads = 4, kv_heads = 2, vocab_size = 0,
               context = 48;
  bool classifier_apart = false;
  std::vector<float> weights = {};

  /// Elements of all weights, unused ones included.
  std::size_t elements() const;
  std::size_t final_norm() const;  ///< where in `weights` it begins
  std::size_t classifier() const;  ///< the same, where it is apart
  std::string bytes() const;
};

/// A model with random weights, of which no two logits are close.
ModelFile random_model(ModelFile shape, std::uint64_t seed);

/// A model whose texts follow these steps: after a token `first` the largest logit is that of
/// `second`. Tokens are below dim = vocab_size.
ModelFile chain_model(std::int32_t vocab_size,
                      std::span<const std::pair<std::int32_t, std::int32_t>> steps);

/// A token of a tokenizer.
struct PieceOfFile {
  float score;
  std::string bytes;
};

std::string tokenizer_bytes(std::span<const PieceOfFile> pieces);

/// <unk>, \n<s>\n, \n</s>\n, the bytes <0x00> … <0xFF>, then the merges given, the best first, and
/// at last the characters that merges are made of.
std::vector<PieceOfFile> pieces_with(const std::vector<std::string>& merges);

}  // namespace heed::tests

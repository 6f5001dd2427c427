// What heed attend does to scores: the options and files of modifiers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heed/score_modifiers.h"
#include "heed/status.h"
#include "tools/npy.h"

namespace heed::tools {

/// The options, as given; empty where one is not.
struct ModifierOptions {
  std::string softcap, alibi, bias, sinks, temperatures;
};

/// The extents that tensors of modifiers have.
struct ScoreExtents {
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0;
};

/// Where the number of (sequence, head, query, key) lies in a file; a stride of 0 means that all
/// share it.
struct ScoreStrides {
  std::int64_t sequence = 0, head = 0, query = 0, key = 0;
};

/// Reads a file with numbers for scores: [batch, heads, queries, keys], each of them or 1. Fails
/// with a sentence that names the option.
Status read_scores(std::string_view option, const std::string& path, const ScoreExtents& extents,
                   Words words, Array& array, ScoreStrides& strides);

/// Modifiers, and the numbers that they point to.
class Modifiers {
 public:
  /// Fails with a sentence that names the option.
  Status read(const ModifierOptions& options, const ScoreExtents& extents);

  const ScoreModifiers& get() const { return modifiers_; }

 private:
  Status read_alibi(const std::string& text, const ScoreExtents& extents);
  Status read_bias(const std::string& path, const ScoreExtents& extents);
  Status read_sinks(const std::string& path, const ScoreExtents& extents);
  Status read_temperatures(const std::string& path, const ScoreExtents& extents);

  ScoreModifiers modifiers_;
  Array slopes_, bias_, sinks_, temperatures_;
};

}  // namespace heed::tools

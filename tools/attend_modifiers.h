// What heed attend does to scores: the options and files of modifiers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/score_modifiers.h"
#include "heed/status.h"
#include "tools/npy.h"

namespace heed::tools {

/// The options, as given; empty where one is not.
struct ModifierOptions {
  std::string softcap, alibi, bias, sinks;
};

/// The extents that tensors of modifiers have.
struct ScoreExtents {
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0;
};

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

  ScoreModifiers modifiers_;
  Array slopes_, bias_, sinks_;
};

}  // namespace heed::tools

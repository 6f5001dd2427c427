// ggml's mask, which hides keys with −∞ and adds anything else, as a mask and modifiers of heed's.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "bindings/ggml/node.h"
#include "heed/attention.h"

namespace heed::plugin {

/// What comes of a node's mask. It may point into the mask's tensor, and into itself.
class NodeMask {
 public:
  /// Reads the mask of a node. Returns an empty string, or why heed cannot take it. Throws
  /// std::bad_alloc.
  std::string_view read(const NodeShape& shape);

  /// Adds to a batch, to be planned, and to the modifiers of a run.
  void add_to(Batch& batch) const { batch.mask = visible_; }
  void add_to(ScoreModifiers& modifiers) const;

 private:
  std::string_view read_alibi(const NodeShape& shape);
  void make_biases(const NodeShape& shape);

  std::optional<KeyMask> visible_;
  ScoreBias bias_;
  std::vector<float> slopes_;        ///< of ALiBi, where keys lie in the order of their positions
  std::vector<std::uint8_t> bytes_;  ///< 1: visible
  std::vector<float> biases_;        ///< slope · mask, [sequence, head, query, key]
  std::vector<float> floats_;        ///< a row of the mask
};

}  // namespace heed::plugin

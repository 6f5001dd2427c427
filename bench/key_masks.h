// The masks of workloads: padding, a tree of speculated tokens, blocks.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "heed/key_mask.h"

namespace heed::bench {

/// What a workload's queries see, beside what its positions say.
enum class Shown {
  all,
  padding,  ///< keys up to a length of each sequence, from all of them down to an eighth; of bytes
  tree,     ///< of the queries' own tokens, each sees itself and its ancestors; of bits
  blocks,   ///< a quarter of all blocks of 64 queries and 64 keys, of each head; of bytes
};

inline constexpr std::string_view kShownNames[] = {"all", "padding", "tree", "blocks"};

/// A mask and its elements.
class KeyMaskOf {
 public:
  KeyMaskOf() = default;
  /// For sequences of so many queries and keys each.
  KeyMaskOf(Shown shown, std::int64_t sequences, std::int64_t heads, std::int64_t queries,
            std::int64_t keys);

  const KeyMask& get() const { return mask_; }

 private:
  void pad(std::int64_t sequences, std::int64_t keys);
  void grow_tree(std::int64_t tokens);
  void choose_blocks(std::int64_t heads, std::int64_t queries, std::int64_t keys);

  KeyMask mask_;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace heed::bench

// Random masks and lists of visible keys for a description.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "heed/attention.h"
#include "tests/proof/guarded_buffer.h"

namespace heed::proof {

/// How a mask divides keys.
enum class Pattern {
  none,
  random,     ///< each key by chance; some queries see no key, some all
  tree,       ///< of 20 keys at the end, each query sees itself and some of those before
  documents,  ///< queries see keys of their own document of 50 tokens
  blocks,     ///< a third of all blocks of 32 queries and 48 keys is visible
  lists,      ///< lists of keys in any order, some of them twice
};

struct MaskSpec {
  Pattern pattern = Pattern::none;
  MaskType type = MaskType::bytes;
  bool per_head = false;
  bool per_sequence = true;  ///< else all sequences share one; ragged queries never do
};

/// "bf16 mask of documents per head ", or nothing where there is none.
std::string to_string(const MaskSpec& spec);

/// The elements of a mask, or lists, with guard pages after them.
class MaskTensors {
 public:
  /// For sequences of these lengths.
  MaskTensors(const MaskSpec& spec, const std::vector<std::int32_t>& queries,
              const std::vector<std::int32_t>& keys, bool ragged, std::int64_t heads,
              std::uint64_t seed);

  /// Gives a batch the mask. It refers to this object.
  void describe(Batch& batch) const;

 private:
  void make_lists(const std::vector<std::int32_t>& queries, const std::vector<std::int32_t>& keys,
                  std::uint64_t seed);
  void store(const std::vector<bool>& visible);

  MaskSpec spec_;
  KeyMask mask_;
  std::optional<GuardedBuffer> memory_;
  std::vector<std::int64_t> offsets_;
  std::vector<std::int32_t> keys_;
};

/// Whether a mask shows a key, by the words of heed/key_mask.h. `query` counts in the sequence,
/// `first_query` is the number of ragged queries before it, and `keys` those of the sequence.
bool shows(const KeyMask& mask, std::int64_t sequence, std::int64_t head, std::int64_t first_query,
           std::int64_t query, std::int64_t key, std::int64_t keys);

}  // namespace heed::proof

#include "bench/key_masks.h"

#include "tests/proof/inputs.h"

namespace heed::bench {

KeyMaskOf::KeyMaskOf(Shown shown, std::int64_t sequences, std::int64_t heads, std::int64_t queries,
                     std::int64_t keys) {
  if (shown == Shown::padding) pad(sequences, keys);
  if (shown == Shown::tree) grow_tree(queries);
  if (shown == Shown::blocks) choose_blocks(heads, queries, keys);
  mask_.data = bytes_.data();
}

void KeyMaskOf::pad(std::int64_t sequences, std::int64_t keys) {
  mask_.type = MaskType::bytes;
  mask_.sequence_stride = keys;
  for (std::int64_t b = 0; b < sequences; ++b) {
    const std::int64_t length = keys - keys * 7 / 8 * b / sequences;
    for (std::int64_t j = 0; j < keys; ++j) bytes_.push_back(j < length ? 1 : 0);
  }
}

/// Token i follows token (i − 1) / 2: two choices at each step.
void KeyMaskOf::grow_tree(std::int64_t tokens) {
  mask_.type = MaskType::bits;
  mask_.last_keys = tokens;
  const std::int64_t row = (tokens + 7) / 8;
  mask_.query_stride = 8 * row;
  bytes_.assign(static_cast<std::size_t>(tokens * row), 0);
  for (std::int64_t i = 0; i < tokens; ++i) {
    for (std::int64_t j = i; j >= 0; j = j == 0 ? -1 : (j - 1) / 2) {
      std::uint8_t& byte = bytes_[static_cast<std::size_t>(i * row + j / 8)];
      byte = static_cast<std::uint8_t>(byte | 1U << (j % 8));
    }
  }
}

void KeyMaskOf::choose_blocks(std::int64_t heads, std::int64_t queries, std::int64_t keys) {
  constexpr std::int64_t block = 64;
  const std::int64_t rows = (queries + block - 1) / block, columns = (keys + block - 1) / block;
  mask_.type = MaskType::bytes;
  mask_.query_block = mask_.key_block = block;
  mask_.query_stride = columns;
  mask_.head_stride = rows * columns;
  proof::Random random(64);
  for (std::int64_t i = 0; i < heads * rows * columns; ++i) {
    bytes_.push_back(random.below(4) == 0 ? 1 : 0);
  }
}

}  // namespace heed::bench

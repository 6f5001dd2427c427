#include "tests/proof/masks.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "tests/proof/inputs.h"

namespace heed::proof {
namespace {

constexpr std::int64_t kTreeKeys = 20, kDocument = 50, kQueryBlock = 32, kKeyBlock = 48;

std::int64_t bits_of(MaskType type) {
  constexpr std::int64_t bits[] = {1, 8, 32, 16, 16};
  return bits[static_cast<int>(type)];
}

/// The bits of an element.
std::uint32_t element(MaskType type, bool visible, Random& random) {
  switch (type) {
    case MaskType::bits:
      return visible ? 1 : 0;
    case MaskType::bytes:
      return visible ? static_cast<std::uint32_t>(1 + random.below(255)) : 0;
    case MaskType::f32:
      return visible ? (random.below(2) == 0 ? 0 : 0x80000000U) : 0xFF800000U;
    case MaskType::f16:
      return visible ? (random.below(2) == 0 ? 0 : 0x8000U) : 0xFC00U;
    case MaskType::bf16:
      return visible ? (random.below(2) == 0 ? 0 : 0x8000U) : 0xFF80U;
  }
  return 0;
}

std::int64_t longest(const std::vector<std::int32_t>& lengths) {
  return lengths.empty() ? 0 : *std::ranges::max_element(lengths);
}

std::int64_t rounded_up(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size * size;
}

/// Whether a query sees a key; chance takes part in some patterns.
bool visible(const MaskSpec& spec, std::int64_t query, std::int64_t key, Random& random) {
  switch (spec.pattern) {
    case Pattern::random:
      if (query % 7 == 3) return false;
      return query % 5 == 1 || random.below(2) == 0;
    case Pattern::tree:
      return query % kTreeKeys == key || (query % kTreeKeys > key && random.below(2) == 0);
    case Pattern::documents:
      return query / kDocument == key / kDocument;
    case Pattern::blocks:
      return random.below(3) == 0;
    case Pattern::none:
    case Pattern::lists:
      break;
  }
  return false;
}

}  // namespace

std::string to_string(const MaskSpec& spec) {
  constexpr const char* types[] = {"bits", "bytes", "f32", "f16", "bf16"};
  constexpr const char* patterns[] = {"", "random", "tree", "documents", "blocks", "lists"};
  if (spec.pattern == Pattern::none) return "";
  if (spec.pattern == Pattern::lists) return "lists of keys ";
  return std::string(types[static_cast<int>(spec.type)]) + " mask of " +
         patterns[static_cast<int>(spec.pattern)] + (spec.per_head ? " per head " : " ") +
         (spec.per_sequence ? "" : "for all ");
}

MaskTensors::MaskTensors(const MaskSpec& spec, const std::vector<std::int32_t>& queries,
                         const std::vector<std::int32_t>& keys, bool ragged, std::int64_t heads,
                         std::uint64_t seed)
    : spec_(spec) {
  if (spec.pattern == Pattern::lists) make_lists(queries, keys, seed);
  if (spec.pattern == Pattern::none || spec.pattern == Pattern::lists) return;
  const bool blocks = spec.pattern == Pattern::blocks;
  mask_.type = spec.type;
  mask_.query_block = blocks && !ragged ? kQueryBlock : 1;
  mask_.key_block = blocks ? kKeyBlock : 1;
  mask_.last_keys = spec.pattern == Pattern::tree ? kTreeKeys : 0;
  std::int64_t rows = longest(queries);
  if (ragged) {
    rows = 0;
    for (const std::int32_t length : queries) rows += length;
  }
  rows = rounded_up(rows, mask_.query_block) / mask_.query_block;
  std::int64_t columns = mask_.last_keys > 0 ? mask_.last_keys : longest(keys);
  columns = rounded_up(columns, mask_.key_block) / mask_.key_block;
  mask_.query_stride = rounded_up(columns, 8);
  const std::int64_t planes = spec.per_head ? heads : 1;
  if (spec.per_head) mask_.head_stride = rows * mask_.query_stride;
  const bool own = spec.per_sequence && !ragged;
  if (own) mask_.sequence_stride = planes * rows * mask_.query_stride;
  const std::int64_t all = (own ? std::ssize(queries) : 1) * planes * rows;
  Random random(seed ^ 0xA5A5U);
  std::vector<bool> elements;
  for (std::int64_t row = 0; row < all; ++row) {
    for (std::int64_t j = 0; j < mask_.query_stride; ++j) {
      elements.push_back(visible(spec, row % rows, j, random));
    }
  }
  store(elements);
}

void MaskTensors::store(const std::vector<bool>& visible) {
  Random random(77);
  const std::int64_t bits = bits_of(spec_.type);
  const auto count = static_cast<std::int64_t>(visible.size());
  memory_.emplace(static_cast<std::size_t>((count * bits + 31) / 32));
  auto* const bytes = reinterpret_cast<unsigned char*>(memory_->data());
  std::memset(bytes, 0, memory_->size() * sizeof(float));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t own = element(spec_.type, visible[static_cast<std::size_t>(i)], random);
    if (bits == 1) {
      bytes[i / 8] = static_cast<unsigned char>(bytes[i / 8] | own << (i % 8));
    } else {
      std::memcpy(bytes + i * bits / 8, &own, static_cast<std::size_t>(bits / 8));
    }
  }
  mask_.data = bytes;
}

void MaskTensors::make_lists(const std::vector<std::int32_t>& queries,
                             const std::vector<std::int32_t>& keys, std::uint64_t seed) {
  Random random(seed ^ 0x1157U);
  offsets_ = {0};
  for (std::size_t b = 0; b < queries.size(); ++b) {
    for (std::int32_t i = 0; i < queries[b]; ++i) {
      const std::int64_t count = keys[b] == 0 || i % 9 == 4 ? 0 : random.below(keys[b] + 1);
      for (std::int64_t n = 0; n < count; ++n) {
        keys_.push_back(static_cast<std::int32_t>(random.below(keys[b])));
      }
      offsets_.push_back(std::ssize(keys_));
    }
  }
}

void MaskTensors::describe(Batch& batch) const {
  if (spec_.pattern == Pattern::none) return;
  if (spec_.pattern == Pattern::lists) {
    batch.key_lists = KeyLists{offsets_, keys_};
  } else {
    batch.mask = mask_;
  }
}

bool shows(const KeyMask& mask, std::int64_t sequence, std::int64_t head, std::int64_t first_query,
           std::int64_t query, std::int64_t key, std::int64_t keys) {
  const std::int64_t unmasked =
      mask.last_keys == 0 ? 0 : std::max<std::int64_t>(0, keys - mask.last_keys);
  if (key < unmasked) return true;
  const std::int64_t i = sequence * mask.sequence_stride + head * mask.head_stride +
                         (first_query + query / mask.query_block) * mask.query_stride +
                         (key - unmasked) / mask.key_block;
  const auto* const bytes = static_cast<const unsigned char*>(mask.data);
  switch (mask.type) {
    case MaskType::bits:
      return (bytes[i / 8] >> (i % 8) & 1) != 0;
    case MaskType::bytes:
      return bytes[i] != 0;
    case MaskType::f32:
      return static_cast<const float*>(mask.data)[i] == 0.0F;
    case MaskType::f16:
    case MaskType::bf16:
      return (static_cast<const std::uint16_t*>(mask.data)[i] & 0x7FFF) == 0;
  }
  return true;
}

}  // namespace heed::proof

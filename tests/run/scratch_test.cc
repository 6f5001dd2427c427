// No kernel writes outside the regions of its scratch (kernels/scratch.h): around items of all
// kinds, everything that belongs to no region keeps what it held.
#include "kernels/scratch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/interface.h"
#include "runtime/cpu/dispatch.h"
#include "tests/proof/inputs.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using kernels::AttentionItem;
using kernels::AttentionShape;
using kernels::KernelTable;
using kernels::ScratchLayout;
using kernels::ScratchRegion;

/// What nobody writes holds.
constexpr std::uint32_t kUntouched = 0x7FA5A5A5;

struct FreeMemory {
  void operator()(float* memory) const { std::free(memory); }
};

/// Scratch of which only the regions of a layout may be written; a guard follows its end.
class GuardedScratch {
 public:
  explicit GuardedScratch(const ScratchLayout& layout)
      : floats_(layout.floats + kernels::kScratchGuard),
        free_(floats_, true),
        memory_(
            static_cast<float*>(std::aligned_alloc(kernels::kAlignment, floats_ * sizeof(float)))) {
    std::fill_n(memory_.get(), floats_, std::bit_cast<float>(kUntouched));
    for (int i = 0; i < ScratchLayout::kRegions; ++i) {
      const ScratchRegion& region = layout.region(i);
      EXPECT_EQ(region.begin % (kernels::kAlignment / sizeof(float)), 0U);
      for (std::size_t x = region.begin; x < region.begin + region.size; ++x) {
        EXPECT_TRUE(free_[x]) << "region " << i << " overlaps another one";
        free_[x] = false;
      }
    }
  }

  float* get() const { return memory_.get(); }

  void expect_untouched() const {
    for (std::size_t x = 0; x < floats_; ++x) {
      if (free_[x]) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(memory_.get()[x]), kUntouched) << "float " << x;
      }
    }
  }

 private:
  std::size_t floats_;
  std::vector<bool> free_;
  std::unique_ptr<float[], FreeMemory> memory_;
};

/// Keys and values of one sequence, in one piece or in shuffled pages.
struct Problem {
  std::int32_t rows = 1, group = 1, heads = 1, keys = 1;
  std::int32_t head_dim = 1, value_head_dim = 1;
  std::int32_t tile_keys = 16, page_tokens = 0;
  std::int32_t window_left = 1 << 30;
  std::int32_t key_begin = 0;  ///< of the item
  bool masked = false;         ///< by chance, each token otherwise
  bool argmax = false;
  bool temperatures = false;  ///< of each head
  DType type = DType::f32;    ///< of all tensors, whose strides are those of floats
};

std::string to_string(const Problem& p) {
  return std::to_string(p.rows) + " rows in groups of " + std::to_string(p.group) + " of " +
         std::to_string(p.heads) + " heads, " + std::to_string(p.keys) + " keys, dims " +
         std::to_string(p.head_dim) + " and " + std::to_string(p.value_head_dim) + ", tiles of " +
         std::to_string(p.tile_keys) + ", pages of " + std::to_string(p.page_tokens) + ", window " +
         std::to_string(p.window_left) + ", from key " + std::to_string(p.key_begin) +
         (p.masked ? ", masked, " : ", ") + std::string(dtype_info(p.type).name);
}

AttentionShape shape_of(const Problem& p) {
  AttentionShape shape;
  shape.head_dim = p.head_dim;
  shape.value_head_dim = p.value_head_dim;
  shape.group = p.group;
  shape.tile_keys = p.tile_keys;
  shape.item_rows = p.rows;
  shape.item_heads = p.heads;
  shape.rule = p.argmax ? kernels::WeightRule::argmax : kernels::WeightRule::exponential;
  shape.sections = p.keys > kernels::kSectionPartitions * kernels::kPartitionKeys;
  shape.query_factor = shape.scale = 1;
  shape.window_left = p.window_left;
  shape.q_type = shape.k_type = shape.v_type = shape.out_type = p.type;
  return shape;
}

std::vector<float> random_floats(std::int64_t count, std::uint64_t seed) {
  proof::Random random(seed);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = static_cast<float>(random.normal());
  return x;
}

void run(const Problem& p, const KernelTable& table, bool decode) {
  SCOPED_TRACE(to_string(p) + (decode ? ", decode" : ", prefill"));
  const AttentionShape shape = shape_of(p);
  const std::int32_t heads = decode ? p.heads : 1;
  const ScratchLayout layout =
      decode ? kernels::decode_scratch(shape, p.rows, heads, table.lanes)
             : kernels::prefill_scratch(shape, p.rows, table.lanes, table.block_vectors);
  EXPECT_LE(layout.floats, kernels::attention_scratch_floats(shape, table));
  const std::int32_t pages = p.page_tokens == 0 ? 0 : p.keys / p.page_tokens + 1;
  const std::int64_t slots = std::max(p.keys, pages * p.page_tokens);
  const std::vector<float> q = random_floats(std::int64_t{heads} * p.rows * p.head_dim, 1);
  const std::vector<float> k = random_floats(heads * slots * p.head_dim, 2);
  const std::vector<float> v = random_floats(heads * slots * p.value_head_dim, 3);
  std::vector<float> out(static_cast<std::size_t>(heads * p.rows * p.value_head_dim));
  std::vector<std::int32_t> table_of_pages;
  table_of_pages.reserve(static_cast<std::size_t>(pages));
  for (std::int32_t i = 0; i < pages; ++i) table_of_pages.push_back(pages - 1 - i);
  AttentionItem item;
  constexpr std::ptrdiff_t size = sizeof(float);
  item.q = reinterpret_cast<const std::byte*>(q.data());
  item.k = reinterpret_cast<const std::byte*>(k.data());
  item.v = reinterpret_cast<const std::byte*>(v.data());
  item.out = reinterpret_cast<std::byte*>(out.data());
  item.q_stride = {p.group * p.head_dim * size, p.head_dim * size};
  item.out_stride = {p.group * p.value_head_dim * size, p.value_head_dim * size};
  item.k_stride = heads * p.head_dim * size;  // the rows of all heads of a token lie side by side
  item.v_stride = heads * p.value_head_dim * size;
  if (pages > 0) {
    item.pages = table_of_pages.data();
    item.page_tokens = p.page_tokens;
    item.k_page = p.page_tokens * item.k_stride;
    item.v_page = p.page_tokens * item.v_stride;
  }
  item.heads = heads;
  item.head_step.q = p.rows * p.head_dim * size;
  item.head_step.out = p.rows * p.value_head_dim * size;
  item.head_step.k = p.head_dim * size;
  item.head_step.v = p.value_head_dim * size;
  item.rows = p.rows;
  item.decode = decode;
  std::vector<float> temperatures;
  temperatures.reserve(static_cast<std::size_t>(heads) * static_cast<std::size_t>(p.group));
  for (std::int32_t h = 0; h < heads * p.group; ++h) {
    temperatures.push_back(static_cast<float>(h % 3));
  }
  if (p.temperatures) item.temperatures = temperatures.data();
  item.temperature_stride = {0, 1};
  item.head_step.temperature = p.group;
  item.key_begin = p.key_begin;
  item.key_end = item.keys = p.keys;
  const std::int32_t words = (p.keys + 31) / 32;
  std::vector<std::uint32_t> mask;
  proof::Random random(4);
  for (std::int32_t i = 0; p.masked && i < words * p.rows; ++i) {
    mask.push_back(static_cast<std::uint32_t>(random.below(std::int64_t{1} << 32)));
  }
  if (p.masked) item.mask = {.words = mask.data(), .row_words = words};
  item.query_position = p.keys - (p.rows + p.group - 1) / p.group;
  const GuardedScratch scratch(layout);
  table.attend(shape, item, scratch.get());
  scratch.expect_untouched();
}

Problem random_problem(proof::Random& random, std::int32_t most_rows) {
  Problem p;
  p.rows = static_cast<std::int32_t>(1 + random.below(most_rows));
  p.group = random.below(2) == 0 ? 1 : static_cast<std::int32_t>(1 + random.below(p.rows));
  p.rows = p.rows / p.group * p.group;
  p.heads = static_cast<std::int32_t>(1 + random.below(kernels::kMaxItemHeads));
  p.keys = static_cast<std::int32_t>(p.rows / p.group + random.below(700));
  p.head_dim = static_cast<std::int32_t>(1 + random.below(70));
  p.value_head_dim = static_cast<std::int32_t>(1 + random.below(70));
  p.tile_keys = 16 << random.below(5);
  if (random.below(2) == 0) p.page_tokens = static_cast<std::int32_t>(1 + random.below(40));
  if (random.below(3) == 0) p.window_left = static_cast<std::int32_t>(random.below(300));
  if (random.below(3) == 0) p.key_begin = static_cast<std::int32_t>(random.below(p.keys));
  p.masked = random.below(3) == 0;
  p.argmax = random.below(5) == 0;
  if (random.below(2) == 0) p.type = random.below(2) == 0 ? DType::f16 : DType::bf16;
  p.temperatures = random.below(3) == 0;
  return p;
}

void check(const Problem& p, const KernelTable& table) {
  run(p, table, false);
  if (p.rows <= kernels::max_decode_rows(table.lanes)) run(p, table, true);
}

TEST(Scratch, OnlyItsRegionsAreWritten) {
  for (const std::string_view isa : supported_isas()) {
    SCOPED_TRACE(isa);
    const KernelTable* table = nullptr;
    ASSERT_TRUE(detail::select_kernels(isa, table).ok());
    proof::Random random(5);
    for (int i = 0; i < (thorough() ? 400 : 60); ++i) {
      check(random_problem(random, i % 2 == 0 ? 5 : kernels::kMaxItemRows), *table);
      if (HasFailure()) return;
    }
    Problem sections{.rows = 4, .group = 2, .keys = 17000, .head_dim = 5, .value_head_dim = 9};
    check(sections, *table);
    sections.rows = 90;
    check(sections, *table);
  }
}

// The layouts of fewer rows fit the scratch of more.
TEST(Scratch, GrowsWithTheRows) {
  for (const std::int32_t lanes : {4, 8, 16}) {
    Problem p{.rows = kernels::kMaxItemRows, .head_dim = 40, .value_head_dim = 72};
    const AttentionShape shape = shape_of(p);
    for (std::int32_t rows = 2; rows <= kernels::kMaxItemRows; ++rows) {
      EXPECT_GE(kernels::prefill_scratch(shape, rows, lanes, 3).floats,
                kernels::prefill_scratch(shape, rows - 1, lanes, 3).floats);
      EXPECT_GE(kernels::decode_scratch(shape, rows, 1, lanes).floats,
                kernels::decode_scratch(shape, rows - 1, 1, lanes).floats);
    }
  }
}

}  // namespace
}  // namespace heed::tests

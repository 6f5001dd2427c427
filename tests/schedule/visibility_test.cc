// Which keys rows see, against one row and one key at a time.
#include "runtime/schedule/visibility.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "tests/proof/inputs.h"
#include "tests/schedule/batches.h"

namespace heed::tests {
namespace {

using detail::MaskView;
using detail::Range;
using detail::Visibility;
using kernels::kPartitionKeys;
using kernels::kPartitionWords;
using kernels::kWordKeys;
using proof::Random;

/// The bits of a mask, and what is counted of them.
class MaskOf {
 public:
  /// Of a sequence with these queries, keys and group, from `first_key` on. Many partitions have no
  /// bits.
  MaskOf(Random& random, const Visibility& s, std::int32_t first_key) {
    const std::int64_t partitions = (s.keys - first_key + kPartitionKeys - 1) / kPartitionKeys;
    mask_.rows.query_block = static_cast<std::int32_t>(1 + random.below(5));
    mask_.rows.heads = random.below(2) == 0 ? 1 : static_cast<std::int32_t>(s.group);
    mask_.rows.first_key = first_key;
    mask_.rows.row_words = partitions * kPartitionWords;
    mask_.partitions = partitions;
    const std::int64_t rows = (s.queries + mask_.rows.query_block - 1) / mask_.rows.query_block;
    for (std::int64_t row = 0; row < rows * mask_.rows.heads; ++row) {
      totals_.push_back(0);
      for (std::int64_t p = 0; p < partitions; ++p) {
        totals_.push_back(totals_.back());
        const bool empty = random.below(2) == 0;
        for (std::int64_t w = 0; w < kPartitionWords; ++w) {
          const bool some = !empty && random.below(3) == 0;
          words_.push_back(some ? static_cast<std::uint32_t>(random.below(std::int64_t{1} << 32))
                                : 0);
          totals_.back() += std::popcount(words_.back());
        }
      }
    }
    mask_.rows.words = words_.data();
    mask_.totals = totals_.data();
  }

  const MaskView& view() const { return mask_; }
  bool shows(std::int64_t token, std::int64_t head, std::int64_t key) const {
    const std::int64_t own = key - mask_.rows.first_key;
    if (own < 0) return true;
    const std::int64_t row =
        token / mask_.rows.query_block * mask_.rows.heads + head % mask_.rows.heads;
    const std::int64_t word = row * mask_.rows.row_words + own / kWordKeys;
    return (words_[static_cast<std::size_t>(word)] >> (own % kWordKeys) & 1U) != 0;
  }

 private:
  std::vector<std::uint32_t> words_;
  std::vector<std::int32_t> totals_;
  MaskView mask_;
};

Range range_below(Random& random, std::int64_t end) {
  const std::int64_t a = random.below(end + 1), b = random.below(end + 1);
  return {std::min(a, b), std::max(a, b)};
}

Visibility random_visibility(Random& random, std::int64_t most_keys) {
  const auto side = [&] { return random.below(3) == 0 ? kAll : random.below(20); };
  return {.queries = 1 + random.below(30),
          .keys = random.below(most_keys),
          .group = 1 + random.below(4),
          .window_left = side(),
          .window_right = side(),
          .alignment = random.below(2) == 0 ? Alignment::end : Alignment::start};
}

bool in_window(const Visibility& s, std::int64_t row, std::int64_t key) {
  const std::int64_t position = row / s.group + s.query_position(0);
  return key >= position - s.window_left && key <= position + s.window_right;
}

TEST(Visibility, ScoresAreThoseOfSingleRows) {
  Random random(7);
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE(round);
    const Visibility s = random_visibility(random, 30);
    const Range rows = range_below(random, s.rows()), keys = range_below(random, s.keys);
    std::int64_t expected = 0;
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
      for (std::int64_t key = keys.first; key < keys.last; ++key) {
        expected += in_window(s, row, key);
      }
    }
    ASSERT_EQ(s.scores(rows, keys), expected);
  }
}

/// A key that all rows see whatever their windows, or those after it.
bool kept(const Visibility& s, std::int64_t row, std::int64_t key) {
  const std::int64_t position = row / s.group + s.query_position(0);
  return key < s.prefix || (key < s.keep_first && key <= position + s.window_right);
}

TEST(Visibility, ScoresOfMasksAreThoseOfSingleRows) {
  Random random(8);
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    Visibility s = random_visibility(random, 900);
    if (random.below(3) == 0) s.prefix = random.below(s.keys + 1);
    if (random.below(3) == 0) s.keep_first = random.below(s.keys + 1);
    const std::int64_t first = random.below(s.keys / kPartitionKeys + 1) * kPartitionKeys;
    const MaskOf mask(random, s, static_cast<std::int32_t>(first));
    s.mask = mask.view();
    const Range rows = range_below(random, s.rows()), keys = range_below(random, s.keys);
    std::int64_t expected = 0;
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
      for (std::int64_t key = keys.first; key < keys.last; ++key) {
        expected += (in_window(s, row, key) || kept(s, row, key)) &&
                    mask.shows(row / s.group, row % s.group, key);
      }
    }
    ASSERT_EQ(s.scores(rows, keys), expected);
  }
}

TEST(Visibility, KeysOfRowsAreThoseOfEach) {
  Random random(9);
  for (int round = 0; round < 2000; ++round) {
    SCOPED_TRACE(round);
    Visibility s = random_visibility(random, 900);
    if (random.below(3) == 0) s.keep_first = random.below(s.keys + 1);
    const MaskOf mask(random, s, 0);
    s.mask = mask.view();
    const Range rows = range_below(random, s.rows());
    if (rows.first == rows.last) continue;
    Range expected{s.keys, 0};
    for (std::int64_t row = rows.first; row < rows.last; ++row) {
      const Range own = s.of_rows({row, row + 1});
      if (own.first == own.last) continue;
      expected = {std::min(expected.first, own.first), std::max(expected.last, own.last)};
    }
    if (expected.first >= expected.last) expected = {0, 0};
    const Range all = s.of_rows(rows);
    ASSERT_EQ(all.first, expected.first);
    ASSERT_EQ(all.last, expected.last);
  }
}

}  // namespace
}  // namespace heed::tests

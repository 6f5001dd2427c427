// The elements of masks as words, on every ISA.
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "tests/proof/inputs.h"
#include "tests/support/kernel_tables.h"

namespace heed::tests {
namespace {

using kernels::kPartitionKeys;
using kernels::kPartitionWords;
using kernels::kWordKeys;
using kernels::MaskFormat;

constexpr MaskFormat kBits{1}, kBytes{8}, kF16{16, 0x7FFF, 0xFC00}, kBf16{16, 0x7FFF, 0xFF80},
    kF32{32, 0x7FFFFFFF, 0xFF800000};

constexpr std::int64_t kMost = 3 * kWordKeys + 1;

/// Elements by their bits, lowest byte first.
class Elements {
 public:
  Elements(const MaskFormat& format, std::int64_t count)
      : bits_(format.bits), bytes_(static_cast<std::size_t>((count * bits_ + 7) / 8)) {}

  void set(std::int64_t i, std::uint32_t element) {
    if (bits_ == 1) {
      bytes_[static_cast<std::size_t>(i / 8)] |= static_cast<std::uint8_t>(element << (i % 8));
    } else {
      std::memcpy(bytes_.data() + i * bits_ / 8, &element, static_cast<std::size_t>(bits_ / 8));
    }
  }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(bytes_.data()); }

 private:
  std::int32_t bits_;
  std::vector<std::uint8_t> bytes_;  // no more than there are, so that sanitizers see what is read
};

/// What such elements are where they show a key, and where they hide it.
struct Choices {
  MaskFormat format;
  std::vector<std::uint32_t> visible, hidden;
};

const std::vector<Choices>& choices() {
  static const std::vector<Choices> all = {{kBits, {1}, {0}},
                                           {kBytes, {1, 2, 0x7F, 0x80, 0xFF}, {0}},
                                           {kF16, {0, 0x8000}, {0xFC00}},
                                           {kBf16, {0, 0x8000}, {0xFF80}},
                                           {kF32, {0, 0x80000000}, {0xFF800000}}};
  return all;
}

TEST(MaskWords, HaveABitForEachVisibleElement) {
  on_every_table([](const kernels::KernelTable& table) {
    proof::Random random(1);
    for (const Choices& own : choices()) {
      for (std::int64_t count = 0; count <= kMost; ++count) {
        SCOPED_TRACE(testing::Message() << own.format.bits << " bits, " << count);
        Elements elements(own.format, count);
        std::vector<std::uint32_t> expected(static_cast<std::size_t>((count + 31) / 32));
        for (std::int64_t i = 0; i < count; ++i) {
          const bool visible = random.below(2) == 1;
          elements.set(i, random.pick<std::uint32_t>(visible ? own.visible : own.hidden));
          expected[static_cast<std::size_t>(i / 32)] |= std::uint32_t{visible} << (i % 32);
        }
        std::vector<std::uint32_t> words(expected.size(), 0xDEADBEEF);
        EXPECT_EQ(table.mask_words(own.format, elements.data(), count, words.data()), count);
        EXPECT_EQ(words, expected);
      }
    }
  });
}

TEST(MaskWords, OfFloatsNameTheFirstOtherNumber) {
  const std::vector<std::uint32_t> others_of_f32 = {1,          0x80000001, 0x3F800000, 0x7F800000,
                                                    0x7FC00000, 0xFFC00000, 0xFF800001, 0xFF7FFFFF};
  const std::vector<std::uint32_t> others_of_f16 = {1, 0x8001, 0x7C00, 0x7E00, 0xFC01, 0xFBFF};
  const std::vector<std::uint32_t> others_of_bf16 = {1, 0x8001, 0x7F80, 0x7FC0, 0xFF81, 0xFF7F};
  on_every_table([&](const kernels::KernelTable& table) {
    const auto expect = [&](const MaskFormat& format, std::span<const std::uint32_t> others) {
      for (const std::uint32_t other : others) {
        for (std::int64_t at = 0; at < kMost; ++at) {
          Elements elements(format, kMost);
          elements.set(at, other);
          elements.set(kMost - 1, other);
          std::vector<std::uint32_t> words(static_cast<std::size_t>(kMost / kWordKeys + 1));
          ASSERT_EQ(table.mask_words(format, elements.data(), kMost, words.data()), at) << other;
        }
      }
    };
    expect(kF32, others_of_f32);
    expect(kF16, others_of_f16);
    expect(kBf16, others_of_bf16);
  });
}

TEST(MaskTotals, CountPartitionsOnFromWhatWasBefore) {
  constexpr std::int64_t kPartitions = 5;
  std::vector<std::uint8_t> bits(kPartitions * kPartitionKeys / 8 + 1);
  proof::Random random(2);
  for (std::uint8_t& byte : bits) byte = static_cast<std::uint8_t>(random.below(256));
  std::fill_n(bits.begin() + 1, kPartitionKeys / 8, std::uint8_t{0xFF});
  const std::uint8_t* const from = bits.data() + 1;  // aligned to nothing
  on_every_table([&](const kernels::KernelTable& table) {
    std::vector<std::uint32_t> words(kPartitions * kPartitionWords);
    std::vector<std::int32_t> totals(kPartitions + 1, 7), again = totals;
    table.mask_totals(from, kPartitions, words.data(), totals.data());
    EXPECT_EQ(std::memcmp(words.data(), from, words.size() * sizeof(words[0])), 0);
    std::int32_t expected = 7;
    EXPECT_EQ(totals[0], 7);
    for (std::size_t p = 0; p < kPartitions; ++p) {
      for (std::size_t w = 0; w < kPartitionWords; ++w) {
        expected += std::popcount(words[p * kPartitionWords + w]);
      }
      EXPECT_EQ(totals[p + 1], expected);
    }
    table.mask_totals(words.data(), kPartitions, words.data(), again.data());
    EXPECT_EQ(again, totals);
  });
}

}  // namespace
}  // namespace heed::tests

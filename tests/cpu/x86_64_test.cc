// What CPUID and XCR0 make usable on x86-64, and the caches that CPUID tells of.
#include "runtime/cpu/x86_64.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <string_view>
#include <vector>

#include "runtime/cpu/dispatch.h"
#include "runtime/cpu/machine.h"

namespace heed {
namespace {

using detail::CpuidWords;
using detail::Feature;
using detail::FeatureSet;
using detail::IsaRow;

constexpr std::uint64_t kSse = 0x2;
constexpr std::uint64_t kAvx = 0x4;
constexpr std::uint64_t kOpmask = 0x20;
constexpr std::uint64_t kZmmHigh = 0x40;
constexpr std::uint64_t kZmm16 = 0x80;
constexpr std::uint64_t kTiles = 0x60000;
constexpr std::uint64_t kEverything = kSse | kAvx | kOpmask | kZmmHigh | kZmm16 | kTiles | 1;
constexpr std::uint32_t kOsXsave = 1U << 27;
constexpr std::uint32_t kAvxBit = 1U << 28;
constexpr std::uint32_t kAvx512fBit = 1U << 16;

constexpr CpuidWords kEveryBit = {~0U, ~0U, ~0U, ~0U, ~0U, kEverything};

FeatureSet usable(CpuidWords words) { return detail::usable_features(words); }

CpuidWords with_xcr0(std::uint64_t xcr0) {
  CpuidWords words = kEveryBit;
  words.xcr0 = xcr0;
  return words;
}

TEST(UsableFeatures, EverythingWhereProcessorAndSystemProvideIt) {
  for (int i = 0; i <= static_cast<int>(Feature::amx_bf16); ++i) {
    const auto feature = static_cast<Feature>(i);
    EXPECT_TRUE(usable(kEveryBit).has(feature)) << detail::feature_name(feature);
  }
}

TEST(UsableFeatures, NothingOnAnOldProcessor) {
  EXPECT_TRUE(usable({}).empty());
  CpuidWords words;
  words.xcr0 = kEverything;
  EXPECT_TRUE(usable(words).empty());
}

TEST(UsableFeatures, NothingWithoutXsave) {
  CpuidWords words = kEveryBit;
  words.leaf1_ecx &= ~kOsXsave;
  EXPECT_TRUE(usable(words).empty());
}

TEST(UsableFeatures, NoAvxWhereTheSystemDoesNotSaveYmm) {
  for (const std::uint64_t xcr0 : {std::uint64_t{0}, kSse, kAvx, kEverything & ~kAvx}) {
    for (const Feature feature : {Feature::avx, Feature::avx2, Feature::fma, Feature::f16c,
                                  Feature::avxvnni, Feature::avx512f}) {
      EXPECT_FALSE(usable(with_xcr0(xcr0)).has(feature))
          << detail::feature_name(feature) << " with XCR0 " << xcr0;
    }
  }
}

TEST(UsableFeatures, NoAvx512WhereTheSystemDoesNotSaveAllOfZmm) {
  for (const std::uint64_t missing : {kOpmask, kZmmHigh, kZmm16}) {
    const FeatureSet set = usable(with_xcr0(kEverything & ~missing));
    EXPECT_TRUE(set.has(Feature::avx2)) << "without XCR0 bits " << missing;
    EXPECT_TRUE(set.has(Feature::fma)) << "without XCR0 bits " << missing;
    for (const Feature feature :
         {Feature::avx512f, Feature::avx512bw, Feature::avx512dq, Feature::avx512vl,
          Feature::avx512cd, Feature::avx512vnni, Feature::avx512bf16, Feature::avx512fp16}) {
      EXPECT_FALSE(set.has(feature))
          << detail::feature_name(feature) << " without XCR0 bits " << missing;
    }
  }
}

TEST(UsableFeatures, NoTilesWhereTheSystemDoesNotSaveThem) {
  for (const std::uint64_t missing : {std::uint64_t{0x20000}, std::uint64_t{0x40000}}) {
    const FeatureSet set = usable(with_xcr0(kEverything & ~missing));
    EXPECT_FALSE(set.has(Feature::amx_tile));
    EXPECT_FALSE(set.has(Feature::amx_bf16));
    EXPECT_TRUE(set.has(Feature::avx512f));
  }
}

TEST(UsableFeatures, NothingThatExtendsAFeatureThatIsHidden) {
  CpuidWords words = kEveryBit;
  words.leaf7_ebx &= ~kAvx512fBit;
  EXPECT_FALSE(usable(words).has(Feature::avx512bw));
  EXPECT_TRUE(usable(words).has(Feature::avx2));
  words.leaf1_ecx &= ~kAvxBit;
  EXPECT_FALSE(usable(words).has(Feature::avx2));
  EXPECT_FALSE(usable(words).has(Feature::fma));
}

// The bit of each feature, apart from the table in x86_64.cc: Intel SDM volume 2, CPUID.
TEST(UsableFeatures, EachBitMakesOneFeature) {
  struct Bit {
    Feature feature;
    std::uint32_t CpuidWords::*word;
    int bit;
  };
  const std::vector<Bit> bits = {
      {Feature::fma, &CpuidWords::leaf1_ecx, 12},
      {Feature::f16c, &CpuidWords::leaf1_ecx, 29},
      {Feature::avx2, &CpuidWords::leaf7_ebx, 5},
      {Feature::avx512dq, &CpuidWords::leaf7_ebx, 17},
      {Feature::avx512cd, &CpuidWords::leaf7_ebx, 28},
      {Feature::avx512bw, &CpuidWords::leaf7_ebx, 30},
      {Feature::avx512vl, &CpuidWords::leaf7_ebx, 31},
  };
  for (const Bit& bit : bits) {
    CpuidWords words = kEveryBit;
    words.*bit.word &= ~(1U << bit.bit);
    EXPECT_EQ(usable(kEveryBit) - usable(words), FeatureSet() | bit.feature)
        << detail::feature_name(bit.feature);
  }
}

#if defined(__GNUC__) && !defined(__clang__)
// The compiler's run-time library reads CPUID and XCR0 with code of its own.
TEST(UsableFeatures, AgreeWithTheCompilersLibrary) {
  const FeatureSet here = detail::machine_features();
  EXPECT_EQ(here.has(Feature::avx), __builtin_cpu_supports("avx") != 0);
  EXPECT_EQ(here.has(Feature::avx2), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(here.has(Feature::fma), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(here.has(Feature::f16c), __builtin_cpu_supports("f16c") != 0);
  EXPECT_EQ(here.has(Feature::avx512f), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(here.has(Feature::avx512bw), __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(here.has(Feature::avx512dq), __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ(here.has(Feature::avx512vl), __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(here.has(Feature::avx512cd), __builtin_cpu_supports("avx512cd") != 0);
  EXPECT_EQ(here.has(Feature::avx512vnni), __builtin_cpu_supports("avx512vnni") != 0);
  EXPECT_EQ(here.has(Feature::avx512bf16), __builtin_cpu_supports("avx512bf16") != 0);
}
#endif

TEST(Isas, RequireWhatTheyAreCompiledFor) {
  const FeatureSet avx2 = FeatureSet() | Feature::avx2 | Feature::fma | Feature::f16c;
  const FeatureSet avx512 = avx2 | Feature::avx512f | Feature::avx512bw | Feature::avx512dq |
                            Feature::avx512vl | Feature::avx512cd;
  const std::map<std::string_view, FeatureSet> required = {
      {"avx512_bf16", avx512 | Feature::avx512bf16},
      {"avx512", avx512},
      {"avx2", avx2},
      {"generic", FeatureSet()},
      {"toy", FeatureSet()}};
  ASSERT_FALSE(detail::isa_rows().empty());
  for (const IsaRow& row : detail::isa_rows()) {
    ASSERT_TRUE(required.contains(row.name)) << row.name;
    EXPECT_EQ(row.features, required.at(row.name)) << row.name;
  }
}

TEST(Machine, HasAVendorOfTwelveLetters) {
  EXPECT_EQ(detail::machine_vendor().size(), 12U) << detail::machine_vendor();
}

using detail::CpuidRegisters;

CpuInfo caches_of(detail::ReadLeaf read_leaf) {
  CpuInfo info;
  detail::read_caches(read_leaf, info);
  return info;
}

// What a Zen 5 answers, with all its leaves and without its list of caches.
bool older_leaves(std::uint32_t leaf, std::uint32_t, CpuidRegisters& registers) {
  if (leaf == 4) registers = {};
  if (leaf == 0x80000005U) registers = {0xff60ff40U, 0xff60ff40U, 0x300c0140U, 0x20080140U};
  if (leaf == 0x80000006U) registers = {0x40802040U, 0x60804040U, 0x04008140U, 0x0c009140U};
  return leaf == 4 || leaf == 0x80000005U || leaf == 0x80000006U;
}

bool all_leaves(std::uint32_t leaf, std::uint32_t subleaf, CpuidRegisters& registers) {
  if (leaf != 0x8000001DU) return older_leaves(leaf, subleaf, registers);
  constexpr CpuidRegisters kCaches[] = {{0x0121U, 0x02c0003fU, 0x003fU, 0},
                                        {0x0122U, 0x01c0003fU, 0x003fU, 0},
                                        {0x0143U, 0x03c0003fU, 0x03ffU, 2},
                                        {0x4163U, 0x03c0003fU, 0x7fffU, 1}};
  registers = subleaf < std::size(kCaches) ? kCaches[subleaf] : CpuidRegisters();
  return true;
}

TEST(Caches, AreThoseOfTheList) {
  const CpuInfo info = caches_of(all_leaves);
  EXPECT_EQ(info.l1d_bytes, 48 << 10);
  EXPECT_EQ(info.l2_bytes, 1 << 20);
  EXPECT_EQ(info.l3_bytes, 32 << 20);
}

TEST(Caches, AreThoseOfTheOlderLeavesWithoutAList) {
  const CpuInfo info = caches_of(older_leaves);
  EXPECT_EQ(info.l1d_bytes, 48 << 10);
  EXPECT_EQ(info.l2_bytes, 1 << 20);
  EXPECT_EQ(info.l3_bytes, 384 << 20);  // 12 of them
}

TEST(Caches, AreUnknownWithoutLeaves) {
  const CpuInfo info = caches_of([](auto, auto, auto&) { return false; });
  EXPECT_EQ(info.l1d_bytes, 0);
  EXPECT_EQ(info.l2_bytes, 0);
  EXPECT_EQ(info.l3_bytes, 0);
}

}  // namespace
}  // namespace heed

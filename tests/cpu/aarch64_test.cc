// What the system tells of an aarch64 processor.
#include "runtime/cpu/aarch64.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/cpu/dispatch.h"
#include "runtime/cpu/machine.h"

namespace heed {
namespace {

using detail::Feature;
using detail::FeatureSet;

// Bits of Linux's arm64 words, apart from the table in aarch64.cc.
TEST(UsableFeatures, EachBitMakesOneFeature) {
  const std::vector<std::pair<int, Feature>> first = {
      {1, Feature::neon}, {10, Feature::fp16}, {20, Feature::dotprod}, {22, Feature::sve}};
  const std::vector<std::pair<int, Feature>> second = {{13, Feature::i8mm}, {14, Feature::bf16}};
  FeatureSet all;
  for (const auto& [bit, feature] : first) {
    EXPECT_EQ(detail::usable_features(std::uint64_t{1} << bit, 0), FeatureSet() | feature);
    all = all | feature;
  }
  for (const auto& [bit, feature] : second) {
    EXPECT_EQ(detail::usable_features(0, std::uint64_t{1} << bit), FeatureSet() | feature);
    all = all | feature;
  }
  EXPECT_EQ(detail::usable_features(~std::uint64_t{0}, ~std::uint64_t{0}), all);
  EXPECT_TRUE(detail::usable_features(0, 0).empty());
  EXPECT_TRUE(detail::machine_features().has(Feature::neon));
}

TEST(Isas, RequireNothing) {
  for (const detail::IsaRow& row : detail::isa_rows()) EXPECT_TRUE(row.features.empty());
}

TEST(Models, AreNamedByTheirIdentification) {
  EXPECT_EQ(detail::model_of(0x413FD0C1), "Neoverse-N1");
  EXPECT_EQ(detail::model_of(0x410FD083), "Cortex-A72");
  EXPECT_EQ(detail::model_of(0x410FD4A0), "part 0xd4a");
  EXPECT_EQ(detail::model_of(0x610F0220), "part 0x22");
  EXPECT_EQ(detail::model_of(0), "");
}

/// The caches of a core, as Linux describes them.
class Caches : public testing::Test {
 protected:
  Caches() {
    std::string name = testing::TempDir() + "/heed-XXXXXX";
    const char* const made = mkdtemp(name.data());
    if (made != nullptr) folder_ = made;
  }
  ~Caches() override { std::filesystem::remove_all(folder_); }

  void add(int index, int level, const std::string& type, const std::string& size) const {
    const std::string cache = folder_ + "/index" + std::to_string(index);
    std::filesystem::create_directory(cache);
    std::ofstream(cache + "/level") << level << "\n";
    std::ofstream(cache + "/type") << type << "\n";
    std::ofstream(cache + "/size") << size << "\n";
  }

  CpuInfo read() const {
    CpuInfo info;
    detail::read_caches(folder_.c_str(), info);
    return info;
  }

 private:
  std::string folder_;
};

TEST_F(Caches, OfDataAndOfBoth) {
  add(0, 1, "Data", "64K");
  add(1, 1, "Instruction", "48K");
  add(2, 2, "Unified", "1024K");
  add(3, 3, "Unified", "32768K");
  const CpuInfo info = read();
  EXPECT_EQ(info.l1d_bytes, 64 << 10);
  EXPECT_EQ(info.l2_bytes, 1 << 20);
  EXPECT_EQ(info.l3_bytes, 32 << 20);
}

TEST_F(Caches, WhatTheSystemDoesNotTellIsUnknown) {
  EXPECT_EQ(read().l1d_bytes, 0);
  add(0, 2, "Unified", "");
  add(1, 4, "Unified", "8K");
  const CpuInfo info = read();
  EXPECT_EQ(info.l1d_bytes, 0);
  EXPECT_EQ(info.l2_bytes, 0);
  EXPECT_EQ(info.l3_bytes, 0);
}

}  // namespace
}  // namespace heed

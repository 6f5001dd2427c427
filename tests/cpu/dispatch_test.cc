// Which ISA runs: HEED_ISA, names that are wrong or out of reach, and what is known of the machine.
#include "runtime/cpu/dispatch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heed/cpu.h"
#include "runtime/cpu/core_traits.h"
#include "runtime/cpu/cpu.h"
#include "runtime/cpu/features.h"
#include "runtime/cpu/machine.h"
#include "tests/support/this_build.h"

namespace heed {
namespace {

using detail::Feature;
using detail::FeatureSet;
using detail::IsaRow;

/// Sets HEED_ISA, or takes it away, for as long as it lives.
class ScopedIsa {
 public:
  explicit ScopedIsa(const char* value) {
    if (const char* old = std::getenv("HEED_ISA")) old_ = old;
    set(value);
  }
  ~ScopedIsa() { set(old_ ? old_->c_str() : nullptr); }
  ScopedIsa(const ScopedIsa&) = delete;
  ScopedIsa& operator=(const ScopedIsa&) = delete;

 private:
  static void set(const char* value) {
    if (value != nullptr) {
      setenv("HEED_ISA", value, 1);
    } else {
      unsetenv("HEED_ISA");
    }
  }
  std::optional<std::string> old_;
};

class SelectRow : public ::testing::Test {
 protected:
  static constexpr IsaRow kRows[] = {
      {"best", FeatureSet() | Feature::avx512f | Feature::avx512bw | Feature::avx2, nullptr},
      {"middle", FeatureSet() | Feature::avx2 | Feature::fma, nullptr},
      {"any", FeatureSet(), nullptr},
      {"last", FeatureSet(), nullptr},
  };

  /// The name of the row that was selected, else the message.
  static std::string select(FeatureSet usable, std::string_view name,
                            StatusCode expected = StatusCode::ok) {
    const IsaRow* row = nullptr;
    const Status status = detail::select_row(kRows, {usable, "A"}, {"isa", name}, row);
    EXPECT_EQ(status.code(), expected) << status.message();
    EXPECT_EQ(row != nullptr, status.ok());
    return row != nullptr ? std::string(row->name) : status.message();
  }
};

TEST_F(SelectRow, TakesTheFirstSupportedOne) {
  const FeatureSet avx2 = FeatureSet() | Feature::avx2 | Feature::fma;
  EXPECT_EQ(select(avx2 | Feature::avx512f | Feature::avx512bw, ""), "best");
  EXPECT_EQ(select(avx2 | Feature::avx512f, ""), "middle");
  EXPECT_EQ(select(avx2, ""), "middle");
  EXPECT_EQ(select(FeatureSet() | Feature::avx2, ""), "any");
  EXPECT_EQ(select(FeatureSet(), ""), "any");
}

TEST_F(SelectRow, TakesASlowOneByItsNameAlone) {
  static constexpr IsaRow kSlow[] = {{"slow", FeatureSet() | Feature::avx2, nullptr, "B"},
                                     {"any", FeatureSet(), nullptr}};
  const auto selected = [&](std::string_view vendor, std::string_view name) {
    const IsaRow* row = nullptr;
    const FeatureSet usable = FeatureSet() | Feature::avx2;
    EXPECT_TRUE(detail::select_row(kSlow, {usable, vendor}, {"isa", name}, row).ok());
    return row != nullptr ? row->name : "";
  };
  EXPECT_EQ(selected("A", ""), "slow");
  EXPECT_EQ(selected("B", ""), "any");
  EXPECT_EQ(selected("B", "slow"), "slow");
  EXPECT_EQ(selected("", ""), "slow");
}

TEST_F(SelectRow, TakesTheOneThatIsNamed) {
  const FeatureSet avx2 = FeatureSet() | Feature::avx2 | Feature::fma;
  EXPECT_EQ(select(avx2, "middle"), "middle");
  EXPECT_EQ(select(avx2, "any"), "any");
  EXPECT_EQ(select(avx2, "last"), "last");
}

TEST_F(SelectRow, SaysWhatExistsWhereTheNameIsUnknown) {
  for (const std::string_view name : {"bes", "best ", "BEST", "bests", "best,any", "0"}) {
    EXPECT_EQ(select(FeatureSet(), name, StatusCode::invalid_argument),
              "isa (\"" + std::string(name) + "\") must be one of best, middle, any, last");
  }
}

TEST_F(SelectRow, SaysWhatIsMissingWhereItIsNotSupported) {
  EXPECT_EQ(
      select(FeatureSet() | Feature::avx2 | Feature::avx512f, "best", StatusCode::unsupported),
      "isa (\"best\") needs avx512bw, which this processor or its operating system does not "
      "provide; it can run any, last");
  EXPECT_EQ(
      select(FeatureSet(), "middle", StatusCode::unsupported),
      "isa (\"middle\") needs avx2, fma, which this processor or its operating system does not "
      "provide; it can run any, last");
}

TEST(CoreTraits, FollowTheMaker) {
  for (const FeatureSet features : {FeatureSet(), FeatureSet() | Feature::avx512f}) {
    EXPECT_EQ(detail::core_traits("GenuineIntel", features).streams, 4);
    EXPECT_FALSE(detail::core_traits("GenuineIntel", features).whole_pages);
    EXPECT_FALSE(detail::core_traits("GenuineIntel", features).reads_in_order);
    for (const std::string_view vendor : {"AuthenticAMD", "ARM", "unknown", ""}) {
      const detail::CoreTraits& traits = detail::core_traits(vendor, features);
      EXPECT_EQ(traits.streams, 1) << vendor;
      EXPECT_TRUE(traits.whole_pages) << vendor;
      EXPECT_EQ(traits.reads_in_order, vendor == "AuthenticAMD" && features.empty()) << vendor;
    }
  }
}

std::string names() {
  std::string result;
  for (const IsaInfo& isa : isas()) result.append(result.empty() ? "" : ", ").append(isa.name);
  return result;
}

std::vector<std::string> chosen_names() {
  std::vector<std::string> result;
  for (const IsaInfo& isa : isas()) {
    if (isa.chosen) result.emplace_back(isa.name);
  }
  return result;
}

/// Of those that are not slow here.
std::string first_supported() {
  for (const IsaInfo& isa : isas()) {
    const bool slow = isa.name == "avx512_bf16" && cpu_info().vendor == "GenuineIntel";
    if (isa.supported && !slow) return std::string(isa.name);
  }
  return {};
}

TEST(Isas, AreListedBestFirst) {
  const ScopedIsa none(nullptr);
  EXPECT_EQ(names(), std::string(tests::kTestIsaNames));
}

TEST(Isas, RowsAndTablesAgree) {
  for (const IsaRow& row : detail::isa_rows()) {
    ASSERT_NE(row.table, nullptr);
    EXPECT_EQ(row.name, row.table->name);
  }
}

TEST(Isas, TheBestSupportedOneIsChosen) {
  const ScopedIsa none(nullptr);
  std::string_view name;
  ASSERT_TRUE(chosen_isa(name));
  EXPECT_EQ(name, first_supported());
  EXPECT_NE(name, "toy");
  EXPECT_EQ(chosen_names(), std::vector<std::string>{std::string(name)});
}

TEST(Isas, AnEmptyVariableForcesNothing) {
  const ScopedIsa empty("");
  std::string_view name;
  ASSERT_TRUE(chosen_isa(name));
  EXPECT_EQ(name, first_supported());
}

TEST(Isas, EverySupportedOneCanBeForced) {
  for (const IsaInfo& isa : isas()) {
    const std::string wanted(isa.name);
    const ScopedIsa forced(wanted.c_str());
    std::string_view name;
    const kernels::KernelTable* table = nullptr;
    const Status chosen = chosen_isa(name);
    const Status by_variable = detail::select_kernels("", table);
    if (isa.supported) {
      EXPECT_EQ(name, isa.name);
      ASSERT_TRUE(by_variable) << by_variable.message();
      EXPECT_EQ(table->name, wanted);
      EXPECT_EQ(chosen_names(), std::vector<std::string>{wanted});
    } else {
      EXPECT_EQ(chosen.code(), StatusCode::unsupported);
      EXPECT_EQ(by_variable.code(), StatusCode::unsupported);
      EXPECT_TRUE(by_variable.message().starts_with("HEED_ISA (\"" + wanted + "\") needs "))
          << by_variable.message();
      EXPECT_TRUE(chosen_names().empty());
    }
  }
}

TEST(Isas, AnUnknownVariableIsAnError) {
  const ScopedIsa forced("sse9");
  std::string_view name = "untouched";
  const Status status = chosen_isa(name);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(),
            "HEED_ISA (\"sse9\") must be one of " + std::string(tests::kTestIsaNames));
  EXPECT_EQ(name, "untouched");
  EXPECT_TRUE(chosen_names().empty());

  const kernels::KernelTable* table = nullptr;
  EXPECT_EQ(detail::select_kernels("", table).code(), StatusCode::invalid_argument);
  EXPECT_EQ(table, nullptr);
}

TEST(Isas, AnOptionWinsOverTheVariable) {
  const ScopedIsa forced("sse9");
  const kernels::KernelTable* table = nullptr;
  const std::vector<IsaInfo> all = isas();
  const auto asked =
      std::find_if(all.rbegin(), all.rend(), [](const IsaInfo& isa) { return isa.supported; });
  ASSERT_NE(asked, all.rend());
  ASSERT_TRUE(detail::select_kernels(asked->name, table));
  EXPECT_EQ(table->name, asked->name);
  const Status status = detail::select_kernels("sse8", table);
  EXPECT_EQ(status.message(), "isa (\"sse8\") must be one of " + std::string(tests::kTestIsaNames));
}

TEST(CpuInformation, IsFilledIn) {
  const CpuInfo& info = cpu_info();
  EXPECT_FALSE(info.vendor.empty());
  EXPECT_FALSE(info.model.empty());
  EXPECT_GE(info.logical_cpus, 1);
  EXPECT_LE(info.logical_cpus, sysconf(_SC_NPROCESSORS_CONF));
  EXPECT_GE(info.physical_cores, 0);
  EXPECT_LE(info.physical_cores, info.logical_cpus);
  EXPECT_EQ(&info, &cpu_info());
}

TEST(CpuInformation, ListsUsableFeatures) {
  FeatureSet listed;
  for (int i = 0; i < detail::kFeatures; ++i) {
    const auto feature = static_cast<Feature>(i);
    const auto& list = cpu_info().features;
    if (std::find(list.begin(), list.end(), detail::feature_name(feature)) != list.end()) {
      listed = listed | feature;
    }
  }
  EXPECT_EQ(listed, detail::machine_features());
}

/// Bytes of a cache as the kernel tells it ("48K"), or 0.
std::int64_t cache_in_sysfs(int level, std::string_view type) {
  for (int index = 0; index < 8; ++index) {
    const std::string path =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    int found_level = 0;
    std::string found_type;
    std::int64_t kibibytes = 0;
    std::ifstream(path + "level") >> found_level;
    std::ifstream(path + "type") >> found_type;
    std::ifstream(path + "size") >> kibibytes;
    if (found_level == level && found_type == type) return kibibytes * 1024;
  }
  return 0;
}

TEST(CpuInformation, CachesAgreeWithTheKernel) {
  const std::int64_t l1d = cache_in_sysfs(1, "Data");
  if (l1d == 0) GTEST_SKIP() << "the kernel does not tell the sizes of caches here";
  EXPECT_EQ(cpu_info().l1d_bytes, l1d);
  EXPECT_EQ(cpu_info().l2_bytes, cache_in_sysfs(2, "Unified"));
  EXPECT_EQ(cpu_info().l3_bytes, cache_in_sysfs(3, "Unified"));
}

/// The CPUs of a machine, each with the list of those on its core, as Linux describes them.
class Cores : public testing::Test {
 protected:
  Cores() {
    std::string name = testing::TempDir() + "/heed-XXXXXX";
    const char* const made = mkdtemp(name.data());
    if (made != nullptr) folder_ = made;
  }
  ~Cores() override { std::filesystem::remove_all(folder_); }

  void add(int cpu, const std::string& siblings) const {
    const std::string folder = folder_ + "/cpu" + std::to_string(cpu) + "/topology";
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/thread_siblings_list") << siblings << "\n";
  }

  int count(const std::vector<int>& cpus) const {
    detail::CpuSet set;
    for (const int cpu : cpus) set.add(cpu);
    return detail::count_cores(set, folder_);
  }

 private:
  std::string folder_;
};

TEST_F(Cores, AreCountedOnceForAllTheirThreads) {
  for (const int cpu : {0, 1, 64, 65}) {
    add(cpu, std::to_string(cpu % 64) + "," + std::to_string(cpu % 64 + 64));
  }
  add(100, "100-101");
  add(101, "100-101");
  add(200, "200");
  EXPECT_EQ(count({0, 1, 64, 65, 100, 101, 200}), 4);
  EXPECT_EQ(count({0, 1}), 2);
  EXPECT_EQ(count({64, 65}), 2);
  EXPECT_EQ(count({1, 65, 101}), 2);
}

TEST_F(Cores, AreUnknownWhereOneCpuIs) {
  EXPECT_EQ(count({}), 0);
  EXPECT_EQ(count({0}), 0);
  add(0, "0");
  EXPECT_EQ(count({0}), 1);
  EXPECT_EQ(count({0, 1}), 0);
  for (const char* const strange : {"", "x", "-1", "65536", "99999999999"}) {
    add(1, strange);
    EXPECT_EQ(count({0, 1}), 0) << strange;
  }
}

}  // namespace
}  // namespace heed

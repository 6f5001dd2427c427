#include "runtime/cpu/aarch64.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "runtime/cpu/machine.h"

namespace heed::detail {
namespace {

/// The bits of AT_HWCAP and AT_HWCAP2 (Linux, arm64/elf_hwcaps).
struct FeatureRule {
  Feature feature;
  bool second;  ///< of AT_HWCAP2
  int bit;
};

constexpr std::array kRules = {
    FeatureRule{Feature::neon, false, 1},     FeatureRule{Feature::fp16, false, 10},
    FeatureRule{Feature::dotprod, false, 20}, FeatureRule{Feature::i8mm, true, 13},
    FeatureRule{Feature::bf16, true, 14},     FeatureRule{Feature::sve, false, 22}};

constexpr std::uint64_t kTellsIdentification = std::uint64_t{1} << 11;  // HWCAP_CPUID

/// A number that MIDR_EL1 stands for a name with.
struct Name {
  unsigned number;
  std::string_view name;
};

constexpr unsigned kArm = 0x41;
constexpr std::array kVendors = {
    Name{kArm, "ARM"},       Name{0x43, "Cavium"},    Name{0x46, "Fujitsu"},
    Name{0x48, "HiSilicon"}, Name{0x4e, "NVIDIA"},    Name{0x51, "Qualcomm"},
    Name{0x61, "Apple"},     Name{0x6d, "Microsoft"}, Name{0xc0, "Ampere"}};

constexpr std::array kArmModels = {
    Name{0xd03, "Cortex-A53"},  Name{0xd05, "Cortex-A55"},  Name{0xd07, "Cortex-A57"},
    Name{0xd08, "Cortex-A72"},  Name{0xd0b, "Cortex-A76"},  Name{0xd0c, "Neoverse-N1"},
    Name{0xd40, "Neoverse-V1"}, Name{0xd49, "Neoverse-N2"}, Name{0xd4f, "Neoverse-V2"}};

template <std::size_t Count>
std::string_view name_of(const std::array<Name, Count>& names, unsigned number) {
  const auto found = std::ranges::find(names, number, &Name::number);
  return found != names.end() ? found->name : std::string_view();
}

unsigned vendor_number(std::uint64_t midr) { return static_cast<unsigned>(midr >> 24) & 0xFFU; }

/// MIDR_EL1 of the core that asks, which the system answers for; 0 where it does not.
std::uint64_t read_identification() noexcept {
  std::uint64_t midr = 0;
  if ((getauxval(AT_HWCAP) & kTellsIdentification) != 0) asm("mrs %0, midr_el1" : "=r"(midr));
  return midr;
}

/// A short file of a cache.
class CacheFile {
 public:
  CacheFile(int folder, int index, std::string_view name) noexcept {
    std::array<char, 32> path{"index"};
    path[5] = static_cast<char>('0' + index);
    path[6] = '/';
    std::ranges::copy(name, path.begin() + 7);
    const int file = openat(folder, path.data(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    length_ = std::max<ssize_t>(read(file, text_.data(), text_.size()), 0);
    close(file);
  }

  bool begins_with(char letter) const { return length_ > 0 && text_[0] == letter; }
  /// The number that it begins with, 0 without one.
  std::int64_t number() const {
    std::int64_t number = 0;
    std::from_chars(text_.data(), text_.data() + length_, number);
    return number;
  }

 private:
  std::array<char, 32> text_{};
  ssize_t length_ = 0;
};

}  // namespace

FeatureSet usable_features(std::uint64_t hwcap, std::uint64_t hwcap2) noexcept {
  FeatureSet usable;
  for (const FeatureRule& rule : kRules) {
    if ((((rule.second ? hwcap2 : hwcap) >> rule.bit) & 1U) != 0) usable = usable | rule.feature;
  }
  return usable;
}

std::string model_of(std::uint64_t midr) {
  const unsigned part = static_cast<unsigned>(midr >> 4) & 0xFFFU;
  if (midr == 0) return {};
  if (vendor_number(midr) == kArm) {
    const std::string_view name = name_of(kArmModels, part);
    if (!name.empty()) return std::string(name);
  }
  std::array<char, 4> digits{};
  char* const end = std::to_chars(digits.begin(), digits.end(), part, 16).ptr;
  return "part 0x" + std::string(digits.data(), end);
}

void read_caches(const char* folder, CpuInfo& info) noexcept {
  constexpr int kMostCaches = 8;
  constexpr std::int64_t kKibibyte = 1 << 10;
  const int caches = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (caches < 0) return;
  for (int index = 0; index < kMostCaches; ++index) {
    if (CacheFile(caches, index, "type").begins_with('I')) continue;  // of instructions
    const std::int64_t bytes = CacheFile(caches, index, "size").number() * kKibibyte;
    set_cache(info, CacheFile(caches, index, "level").number(), bytes);
  }
  close(caches);
}

FeatureSet machine_features() noexcept {
  static const FeatureSet features = usable_features(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
  return features;
}

std::string_view machine_vendor() noexcept {
  static const std::string_view name = name_of(kVendors, vendor_number(read_identification()));
  return name.empty() ? "unknown" : name;
}

std::string machine_model() { return model_of(read_identification()); }

void read_machine_caches(CpuInfo& info) noexcept {
  read_caches("/sys/devices/system/cpu/cpu0/cache", info);
}

}  // namespace heed::detail

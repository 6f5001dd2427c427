#include "bench/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "bench/gang.h"
#include "heed/cpu.h"
#include "tests/proof/elements.h"

namespace heed::bench {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

// 8191 is a prime: where rows of keys recur, they do so at other positions and heads.
constexpr std::size_t kFreshFloats = std::size_t{8191} * 512;

// What a system without a word about its caches is taken to have.
constexpr std::int64_t kUnknownCacheBytes = std::int64_t{32} << 20;

std::int64_t last_cache_bytes() {
  const CpuInfo& cpu = cpu_info();
  const std::int64_t bytes = std::max({cpu.l1d_bytes, cpu.l2_bytes, cpu.l3_bytes});
  return bytes > 0 ? bytes : kUnknownCacheBytes;
}

std::int64_t free_memory_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string field, unit; meminfo >> field;) {
    std::int64_t kibibytes = 0;
    if (field == "MemAvailable:" && meminfo >> kibibytes) return kibibytes << 10;
    std::getline(meminfo, unit);
  }
  return std::numeric_limits<std::int64_t>::max();
}

// The share of a container, where it has one.
std::int64_t container_memory_bytes() {
  std::int64_t limit = 0, used = 0;
  if (!(std::ifstream("/sys/fs/cgroup/memory.max") >> limit)) {
    return std::numeric_limits<std::int64_t>::max();
  }
  std::ifstream("/sys/fs/cgroup/memory.current") >> used;
  return std::max<std::int64_t>(0, limit - used);
}

/// Elements of the largest block of any type.
constexpr std::size_t kMostBlock = 32;

/// Fills a span with inputs, vector by vector.
void fill(const Inputs& inputs, std::span<float> all) {
  const auto length = static_cast<std::size_t>(inputs.vector_length);
  proof::Random random(inputs.seed);
  for (std::size_t i = 0; i < all.size(); i += length) {
    proof::fill_vector(random, inputs.distribution,
                       all.subspan(i, std::min(length, all.size() - i)));
  }
}

/// The nearest elements to floats; of codes those with kv_scale.
void narrow(std::span<const float> floats, const OutputData& data) {
  if (!dtype_info(data.type()).scaled) return proof::narrow(floats, data);
  float scale = kv_scale(data.type());
  proof::narrow(floats, data, {&scale, nullptr, std::ssize(floats)}, false);
}

}  // namespace

float kv_scale(DType type) { return type == DType::int4 ? 4.0F / 7 : 4.0F / 127; }

StreamSize stream_size() {
  StreamSize size;
  size.last_cache_bytes = last_cache_bytes();
  size.wanted_bytes = 8 * size.last_cache_bytes;
  const std::int64_t free = std::min(free_memory_bytes(), container_memory_bytes());
  size.bytes = std::min(size.wanted_bytes, free / 4);
  return size;
}

std::size_t repetition(std::int64_t vector_length) {
  const auto length = static_cast<std::size_t>(vector_length);
  return kFreshFloats / length * length;
}

void Pool::Free::operator()(float* p) const { std::free(p); }

Status Pool::create(std::size_t floats, Pages kind, Pool& pool) {
  const std::size_t pages =
      std::max<std::size_t>(1, (floats * sizeof(float) + kHugePage - 1) / kHugePage);
  void* const data = std::aligned_alloc(kHugePage, pages * kHugePage);
  if (data == nullptr) {
    return {StatusCode::out_of_memory,
            "cannot allocate " + std::to_string(2 * pages) + " MiB for the benchmark"};
  }
  if (kind == Pages::huge) madvise(data, pages * kHugePage, MADV_HUGEPAGE);
  pool.data_.reset(static_cast<float*>(data));
  pool.size_ = floats;
  pool.filled_ = false;
  return {};
}

void Pool::touch(int threads) {
  constexpr std::size_t kStep = kHugePage / sizeof(float), kPage = 4096 / sizeof(float);
  run_gang(threads, {.untimed = 0}, [&](int ith, int) {
    const auto first = static_cast<std::size_t>(ith) * kStep;
    for (std::size_t begin = first; begin < size_;
         begin += static_cast<std::size_t>(threads) * kStep) {
      const std::size_t end = std::min(begin + kStep, size_);
      for (std::size_t i = begin; i < end; i += kPage) data_[i] = 0;
    }
  });
}

std::span<const float> Pool::inputs(const Inputs& inputs) {
  const std::span<float> all(data_.get(), size_);
  if (filled_ && filled_with_ == inputs && filled_type_ == DType::f32) return all;
  const std::size_t fresh = std::min(repetition(inputs.vector_length), size_);
  fill(inputs, all.first(fresh));
  for (std::size_t i = fresh; i < size_; i += fresh) {
    std::memcpy(&all[i], all.data(), std::min(fresh, size_ - i) * sizeof(float));
  }
  filled_with_ = inputs;
  filled_type_ = DType::f32;
  filled_ = true;
  return all;
}

InputData Pool::inputs(const Inputs& wanted, DType type) {
  if (type == DType::f32) return inputs(wanted).data();
  if (filled_ && filled_with_ == wanted && filled_type_ == type) return {data_.get(), type};
  std::vector<float> floats(repetition(wanted.vector_length) / kMostBlock * kMostBlock);
  fill(wanted, floats);
  auto* const bytes = reinterpret_cast<std::byte*>(scratch().data());
  const std::size_t all = size_ * sizeof(float);
  std::vector<float> elements(floats.size());  // as much memory as any type needs
  const OutputData fresh(elements.data(), type);
  narrow(floats, fresh);
  const auto length =
      static_cast<std::size_t>(dtype_info(type).bytes(static_cast<std::int64_t>(floats.size())));
  for (std::size_t i = 0; i < all; i += length) {
    std::memcpy(bytes + i, fresh.data(), std::min(length, all - i));
  }
  filled_with_ = wanted;
  filled_type_ = type;
  filled_ = true;
  return {bytes, type};
}

std::span<float> Pool::scratch() {
  filled_ = false;
  return {data_.get(), size_};
}

}  // namespace heed::bench

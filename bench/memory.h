// The memory that benchmarks stream through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "heed/status.h"
#include "heed/tensor_data.h"
#include "tests/proof/inputs.h"

namespace heed::bench {

/// How much memory keeps a stream out of the cache.
struct StreamSize {
  std::int64_t last_cache_bytes = 0;
  std::int64_t wanted_bytes = 0;  ///< 8 times the last cache
  std::int64_t bytes = 0;         ///< the same, or less: a quarter of the memory that is free
  bool capped() const { return bytes < wanted_bytes; }
};
StreamSize stream_size();

/// What a pool is filled with. Pools that must not hold the same numbers need different seeds.
struct Inputs {
  std::uint64_t seed = 1;
  proof::Distribution distribution = proof::Distribution::normal;
  std::int64_t vector_length = 1;  ///< what the distribution calls a vector

  bool operator==(const Inputs&) const = default;
};

/// Random numbers are made once and repeated after so many floats, whole vectors of this length:
/// tensors of one pool that lie a multiple of it apart hold the same numbers.
std::size_t repetition(std::int64_t vector_length);

/// Huge pages (where the system grants them), so that what is measured is the memory and not the
/// look-up of addresses; or whatever every program gets, as other libraries are measured.
enum class Pages { huge, usual };

/// The scale of all codes of int8 or int4 that a pool holds: four is the largest number.
float kv_scale(DType type);

/// Floats at a 2 MiB boundary.
class Pool {
 public:
  static Status create(std::size_t floats, Pages kind, Pool& pool);

  /// Has the memory of a new pool touched first by so many threads, huge page by huge page in turn:
  /// with threads on several NUMA nodes it lies on all of them, in equal parts.
  void touch(int threads);

  std::size_t size() const { return size_; }
  /// To be read only, whatever it holds.
  std::span<const float> memory() const { return {data_.get(), size_}; }
  /// The pool, full of these inputs; to be read only.
  std::span<const float> inputs(const Inputs& inputs);
  /// The pool, full of the elements of a type that are nearest to these inputs; to be read only.
  InputData inputs(const Inputs& inputs, DType type);
  /// The pool as memory to write to, whatever it holds.
  std::span<float> scratch();

 private:
  struct Free {
    void operator()(float* p) const;
  };
  std::unique_ptr<float[], Free> data_;
  std::size_t size_ = 0;
  Inputs filled_with_;
  DType filled_type_ = DType::f32;
  bool filled_ = false;
};

}  // namespace heed::bench

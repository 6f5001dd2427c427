// Rows that do not depend on each other, spread over workers in chunks.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "runtime/base/float_environment.h"
#include "runtime/threads/executor.h"

namespace heed::detail {

// Elements of work that pay for waking another worker: it takes some ten microseconds, and a core
// does one to three elements per nanosecond.
inline constexpr std::int64_t kElementsPerWorker = 32768;

// Elements of a chunk, at least: taking one costs less than a thousandth of computing it.
inline constexpr std::int64_t kElementsPerChunk = 8192;

// Chunks per worker, where there is work enough: a worker that is held up then delays the end by
// little.
inline constexpr std::int64_t kChunksPerWorker = 8;

/// The rows that are left, from which shares take chunks.
template <class Body>
struct RowQueue {
  const Body& body;
  std::int64_t rows;
  std::int64_t chunk;
  Denormals denormals;
  std::atomic<std::int64_t> next = 0;

  static void share(void* context, int) {
    auto& queue = *static_cast<RowQueue*>(context);
    const FloatEnvironment environment(queue.denormals);
    for (;;) {
      const std::int64_t first = queue.next.fetch_add(queue.chunk, std::memory_order_relaxed);
      if (first >= queue.rows) return;
      queue.body(first, std::min(queue.chunk, queue.rows - first));
    }
  }
};

/// Calls body(first, count), which must not throw, for chunks that together are the rows 0 … rows −
/// 1, in the floating-point environment that results are defined in, on as many of `workers` as
/// pay for rows that cost as much as `row_elements` (≥ 1) elements each.
template <class Body>
Status parallel_for_rows(std::int64_t rows, std::int64_t row_elements, int workers,
                         Executor* executor, const Body& body,
                         Denormals denormals = Denormals::kept) {
  const std::int64_t elements = rows > INT64_MAX / row_elements ? INT64_MAX : rows * row_elements;
  const std::int64_t useful = std::min(rows, elements / kElementsPerWorker);
  const std::int64_t shares = std::clamp<std::int64_t>(useful, 1, workers);
  const std::int64_t chunk = shares == 1
                                 ? std::max<std::int64_t>(rows, 1)
                                 : std::max({std::int64_t{1}, rows / (shares * kChunksPerWorker),
                                             kElementsPerChunk / row_elements});
  RowQueue<Body> queue{body, rows, chunk, denormals};
  return run_shares(static_cast<int>(shares), executor, &RowQueue<Body>::share, &queue);
}

}  // namespace heed::detail

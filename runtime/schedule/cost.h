// What pieces of attention cost, in multiply-adds of one lane: what planning weighs them by.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/interface.h"

namespace heed::detail {

/// A core does two vectors of multiply-adds per cycle.
struct CostModel {
  std::int32_t lanes = 1;
  std::int32_t head_dim = 0, value_head_dim = 0;

  /// Whether the decode kernel is the one to take: it does less for each float of a key or
  /// value, and has registers for so many rows.
  bool prefers_decode(std::int64_t rows) const {
    return rows <= kernels::max_decode_rows(lanes) && by_decode(rows) < by_prefill(rows);
  }

  /// Rows that see so many scores among them, by the kernel to take. A line of 16 floats takes
  /// about eight cycles from memory (33 GB/s at 4.2 GHz), one vector for each float, whatever is
  /// done with it. Each row is also packed, normalised and written once: about as much as ten keys.
  double attend(std::int64_t rows, std::int64_t scores) const {
    const double floats =
        prefers_decode(rows) ? std::max<double>(lanes, by_decode(rows)) : filled(rows);
    const double dims = head_dim + value_head_dim;
    return floats * dims * (static_cast<double>(scores) / static_cast<double>(rows) + 10);
  }

  /// Merging the states of a split's partitions. They come from the caches of other cores, which
  /// takes half as long as from memory.
  double merge(std::int64_t rows, std::int64_t partitions) const {
    const std::size_t state =
        kernels::state_floats(value_head_dim, static_cast<std::int32_t>(rows));
    return static_cast<double>(partitions) * static_cast<double>(state) * lanes / 2;
  }

 private:
  double filled(std::int64_t rows) const {
    return static_cast<double>(kernels::padded(static_cast<std::int32_t>(rows), lanes));
  }

  /// For each float of a key or value, measured on a Zen 5 with keys in L2. Few rows: three to four
  /// cycles to load and transpose each line, whatever the vectors, and the multiply-adds of each
  /// row, a quarter of which wait. Blocks: those of all lanes, also where there is no row, of which
  /// a quarter waits in a block of one vector.
  double by_decode(std::int64_t rows) const {
    return lanes * 7.0 / 16 + 1.25 * static_cast<double>(rows);
  }
  double by_prefill(std::int64_t rows) const { return 1.25 * filled(rows); }
};

}  // namespace heed::detail

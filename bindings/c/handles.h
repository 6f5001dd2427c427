// What the handles of the C interface are.
#pragma once

#include "heed/heed.h"
#include "heed/heed_c.h"

// NOLINTBEGIN(readability-identifier-naming): they are named in C.
struct heed_executor {
  heed::Executor value;
};

struct heed_plan {
  heed::Plan value;
};

struct heed_workspace {
  heed::Workspace value;
};

struct heed_rotary {
  heed::Rotary value;
};

struct heed_paged_sequences {
  heed::PagedSequences value;
};

struct heed_kv_cache {
  heed::KvCache value;
  /// Its layout in C, which points to the scales here.
  heed_paged_layout layout;
  heed_scale_layout k_scales, v_scales;

  void describe() noexcept;
};

struct heed_sampling_workspace {
  heed::SamplingWorkspace value;
};
// NOLINTEND(readability-identifier-naming)

namespace heed::c {

/// Null is the caller's arena.
inline Executor* value_of(heed_executor* executor) noexcept {
  return executor == nullptr ? nullptr : &executor->value;
}

}  // namespace heed::c

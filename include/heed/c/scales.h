// Where scales of int8 and int4 lie, and what they are.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stdint.h>

/// As heed::ScaleLayout in scales.h.
typedef struct heed_scale_layout {
  int64_t group;  ///< neighbouring elements of a vector with one scale; 0: all of them
  int64_t sequence_stride;
  int64_t token_stride;
  int64_t head_stride;
} heed_scale_layout;

/// As heed::Scales in scales.h.
typedef struct heed_scales {
  const float* scales;
  const float* zero_points;  ///< null: all are 0
} heed_scales;

/// As heed::MutableScales in scales.h.
typedef struct heed_mutable_scales {
  float* scales;
  float* zero_points;
} heed_mutable_scales;
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

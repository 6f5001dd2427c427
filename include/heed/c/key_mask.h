// Which keys queries see, one by one.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/export.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// As heed::MaskType in key_mask.h.
typedef enum heed_mask_type HEED_C_ENUM {
  HEED_MASK_BITS,
  HEED_MASK_BYTES,
  HEED_MASK_F32,
  HEED_MASK_F16,
  HEED_MASK_BF16
} heed_mask_type;

/// Which keys queries see, element by element: heed::KeyMask in key_mask.h.
typedef struct heed_key_mask {
  size_t struct_size;
  const void* data;
  heed_mask_type type;  ///< default HEED_MASK_BYTES
  int reserved;
  int64_t sequence_stride;  ///< in elements, as all strides; 0: all share them
  int64_t head_stride;
  int64_t query_stride;
  int64_t query_block;  ///< queries that share elements, default 1
  int64_t key_block;    ///< keys that share an element, default 1
  int64_t last_keys;    ///< the mask is of the last keys only; 0: of all
} heed_key_mask;

/// The keys that each query sees: heed::KeyLists in key_mask.h.
typedef struct heed_key_lists {
  size_t struct_size;
  const int64_t* offsets;  ///< one more than there are queries
  size_t offsets_count;
  const int32_t* keys;
  size_t keys_count;
} heed_key_lists;

HEED_C_INIT(heed_key_mask);
HEED_C_INIT(heed_key_lists);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

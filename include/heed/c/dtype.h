// Element types, and elements in memory.
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

/// As heed::DType in dtype.h, which says how each lies in memory.
typedef enum heed_dtype HEED_C_ENUM {
  HEED_F32,
  HEED_F16,
  HEED_BF16,
  HEED_INT8,
  HEED_INT4,
  HEED_FP8_E4M3,
  HEED_FP8_E5M2,
  HEED_Q8_0,
  HEED_Q4_0
} heed_dtype;

/// As heed::DTypeInfo in tensor_data.h.
typedef struct heed_dtype_info {
  size_t struct_size;
  const char* name;        ///< "bf16"; valid for ever
  int64_t block_elements;  ///< elements that are stored together; else 1
  int64_t block_bytes;     ///< of these
  int64_t alignment;       ///< of a tensor's first byte, in bytes
  int computes;            ///< 1: queries and outputs may have it
  int scaled;              ///< 1: codes, which need scales in a tensor of their own
} heed_dtype_info;

HEED_C_INIT(heed_dtype_info);
/// Fails for what is no type.
HEED_C_API heed_status heed_get_dtype_info(heed_dtype type, heed_dtype_info* info);

/// Elements that heed reads, as heed::InputData in tensor_data.h.
typedef struct heed_input_data {
  const void* data;
  heed_dtype type;
} heed_input_data;

/// Elements that heed writes, as heed::OutputData in tensor_data.h.
typedef struct heed_output_data {
  void* data;
  heed_dtype type;
} heed_output_data;

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

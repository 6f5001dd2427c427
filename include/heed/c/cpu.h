// The processor, and the instruction sets that heed has for it.
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

/// As heed::IsaInfo in cpu.h.
typedef struct heed_isa_info {
  size_t struct_size;
  const char* name;  ///< "avx2"; valid for ever
  int supported;     ///< 1: this machine can run it
  int chosen;        ///< 1: what a plan uses now that names none
} heed_isa_info;

/// As heed::CpuInfo in cpu.h, without its features, which heed_cpu_features() has.
typedef struct heed_cpu_info {
  size_t struct_size;
  const char* vendor;  ///< "GenuineIntel"; valid for ever, as `model` is
  const char* model;
  int logical_cpus;
  int physical_cores;  ///< 0: unknown
  double cpu_quota;    ///< in CPUs; 0: no limit
  int default_workers;
  int reserved;
  int64_t memory_bytes;  ///< 0: unknown, as of the caches
  int64_t l1d_bytes;
  int64_t l2_bytes;
  int64_t l3_bytes;
} heed_cpu_info;

HEED_C_INIT(heed_isa_info);
HEED_C_INIT(heed_cpu_info);

/// The number of instruction sets of this build.
HEED_C_API heed_status heed_isas(size_t* count);
/// One of them, 0 … count − 1, best first.
HEED_C_API heed_status heed_get_isa_info(size_t index, heed_isa_info* info);
/// As heed::chosen_isa in cpu.h; the name is valid for ever.
HEED_C_API heed_status heed_chosen_isa(const char** name);
HEED_C_API heed_status heed_get_cpu_info(heed_cpu_info* info);
/// The usable features of heed's list, with a space between two: "avx2 fma". Writes at most `size`
/// bytes, a zero at the end included, and to `length`, which may be null, how many the whole text
/// has without the zero. `text` may be null where size is 0.
HEED_C_API heed_status heed_cpu_features(char* text, size_t size, size_t* length);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

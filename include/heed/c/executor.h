// Threads that work runs on, and options of single passes.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>

#include "heed/c/export.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Threads that heed's work runs on, as heed::Executor in executor.h.
typedef struct heed_executor heed_executor;
/// As heed::TaskFunction in executor.h.
typedef void (*heed_task_function)(void* argument, int index);
/// As heed::ParallelForFunction in executor.h.
typedef void (*heed_parallel_for_function)(void* context, int tasks, heed_task_function task,
                                           void* argument);

/// "tbb", "std" or "none": what spreads work over threads in this heed, as heed::thread_library.
HEED_C_API const char* heed_thread_library(void);
/// Threads of heed's own: `threads` ≥ 1, the calling one included.
HEED_C_API heed_status heed_executor_create(int threads, heed_executor** executor);
/// The host's threads, as heed::Executor::adopt, which says what the host promises. `context`,
/// which may be null, goes to `parallel_for` as it is.
HEED_C_API heed_status heed_executor_adopt(int threads, heed_parallel_for_function parallel_for,
                                           void* context, heed_executor** executor);
HEED_C_API void heed_executor_destroy(heed_executor* executor);
/// The threads that there are, which can be fewer than were asked for.
HEED_C_API heed_status heed_executor_threads(const heed_executor* executor, int* threads);
/// Calls task(argument, i) once for each i = 0 … tasks − 1, as heed::parallel_for. `executor` may
/// be null.
HEED_C_API heed_status heed_parallel_for(int tasks, heed_task_function task, void* argument,
                                         heed_executor* executor);

/// As heed::RunOptions in executor.h. Null, where a function takes it, is all defaults.
typedef struct heed_run_options {
  size_t struct_size;
  const char* isa;  ///< null or "": HEED_ISA, else the best
  int workers;      ///< 0: heed_cpu_info::default_workers
  int reserved;
  heed_executor* executor;  ///< null: where heed_thread_library() says
} heed_run_options;

HEED_C_INIT(heed_run_options);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

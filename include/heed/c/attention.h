// Describing attention, planning it and running it.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#include "heed/c/dtype.h"
#include "heed/c/executor.h"
#include "heed/c/export.h"
#include "heed/c/key_mask.h"
#include "heed/c/paged_layout.h"
#include "heed/c/scales.h"
#include "heed/c/score_modifiers.h"
#include "heed/c/status.h"
#include "heed/c/struct.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Not a limit: of a window's side.
#define HEED_UNLIMITED INT64_MAX

/// As heed::Alignment in attention.h.
typedef enum heed_alignment HEED_C_ENUM { HEED_ALIGN_END, HEED_ALIGN_START } heed_alignment;

/// As heed::Products in attention.h.
typedef enum heed_products HEED_C_ENUM {
  HEED_PRODUCTS_AUTOMATIC,
  HEED_PRODUCTS_F32,
  HEED_PRODUCTS_BF16
} heed_products;

/// What a model fixes: heed::AttentionConfig in attention.h.
typedef struct heed_attention_config {
  size_t struct_size;
  int64_t query_heads;       ///< default 1
  int64_t kv_heads;          ///< default 1; must divide query_heads
  int64_t head_dim;          ///< of queries and keys, 1 … 1024; has no default
  int64_t value_head_dim;    ///< of values and outputs, 1 … 1024; 0: head_dim
  int causal;                ///< 1: a query sees no key after its own position
  heed_alignment alignment;  ///< of the causal mask and of the window
  int64_t window_left;       ///< keys visible before the query's position; default HEED_UNLIMITED
  int64_t window_right;      ///< keys visible after it; default HEED_UNLIMITED
  int64_t keep_first;        ///< first keys that window_left does not hide
  const float* scale;        ///< null: 1 / √head_dim
  float temperature;         ///< default 1; 0: argmax; infinity: uniform
  heed_products products;
  heed_dtype q_type, k_type, v_type, out_type;  ///< default HEED_F32
} heed_attention_config;

/// The lengths of one side of a batch, in tokens: heed::Lengths in attention.h.
typedef struct heed_lengths {
  int64_t length;
  const int32_t* lengths;  ///< one per sequence; or none
  size_t lengths_count;
  const int32_t* offsets;  ///< sequences + 1; or none
  size_t offsets_count;
} heed_lengths;

/// Where a tensor's element (sequence, token, head, 0) lies, in elements: heed::Layout in
/// attention.h.
typedef struct heed_layout {
  int64_t sequence_stride;
  int64_t token_stride;
  int64_t head_stride;
} heed_layout;

/// Which keys of longer sequences a batch has: heed::KeyShard in attention.h.
typedef struct heed_key_shard {
  size_t struct_size;
  int64_t first_key;
  int64_t whole_length;
  const int32_t* first_keys;  ///< one per sequence; or none
  size_t first_keys_count;
  const int32_t* whole_lengths;  ///< one per sequence; or none
  size_t whole_lengths_count;
} heed_key_shard;

/// What changes from call to call: heed::Batch in attention.h.
typedef struct heed_batch {
  size_t struct_size;
  int64_t sequences;  ///< default 1
  heed_lengths query;
  heed_lengths key;
  const heed_layout* q;  ///< null: contiguous [sequence, token, head, dim], as k, v and out
  const heed_layout* k;
  const heed_layout* v;
  const heed_layout* out;
  const heed_scale_layout* k_scales;  ///< null: one per (sequence, token, head), contiguous
  const heed_scale_layout* v_scales;
  const heed_paged_layout* pages;  ///< null: keys and values are not in pages
  const int32_t* shared_prefixes;  ///< one per sequence; or none
  size_t shared_prefixes_count;
  const int32_t* visible_prefixes;  ///< one per sequence; or none
  size_t visible_prefixes_count;
  const heed_key_mask* mask;        ///< null: none
  const heed_key_lists* key_lists;  ///< null: none
  const heed_layout* lse;           ///< null: contiguous [sequence, head, token]
  const heed_key_shard* shard;      ///< null: the keys are all that there are
} heed_batch;

/// As heed::PlanOptions in attention.h. Null, where a function takes it, is all defaults.
typedef struct heed_plan_options {
  size_t struct_size;
  const char* isa;  ///< null or "": HEED_ISA, else the best
  int workers;      ///< 0: heed_cpu_info::default_workers
  int tile_keys;    ///< 0: heed chooses
  int item_rows;    ///< 0: heed chooses
  int reserved;
} heed_plan_options;

HEED_C_INIT(heed_attention_config);
HEED_C_INIT(heed_key_shard);
HEED_C_INIT(heed_batch);
HEED_C_INIT(heed_plan_options);

/// A validated, cut and ordered piece of work: heed::Plan in attention.h.
typedef struct heed_plan heed_plan;

/// A plan of nothing, for heed_plan_attention.
HEED_C_API heed_status heed_plan_create(heed_plan** plan);
HEED_C_API void heed_plan_destroy(heed_plan* plan);
/// Checks the description, and cuts the work, as heed::plan_attention. Where `plan` has been made
/// before, its memory is used again; on failure it stays as it was.
HEED_C_API heed_status heed_plan_attention(const heed_attention_config* config,
                                           const heed_batch* batch,
                                           const heed_plan_options* options, heed_plan* plan);
/// The plan in words, written as heed_cpu_features writes its text.
HEED_C_API heed_status heed_plan_describe(const heed_plan* plan, char* text, size_t size,
                                          size_t* length);
/// The name of its instruction set, valid for ever.
HEED_C_API heed_status heed_plan_isa(const heed_plan* plan, const char** isa);
HEED_C_API heed_status heed_plan_workers(const heed_plan* plan, int* workers);
HEED_C_API heed_status heed_plan_workspace_bytes(const heed_plan* plan, size_t* bytes);
HEED_C_API heed_status heed_plan_visible_scores(const heed_plan* plan, int64_t* scores);

/// The memory that a run works in, one per concurrent run: heed::Workspace in attention.h.
typedef struct heed_workspace heed_workspace;

/// Empty.
HEED_C_API heed_status heed_workspace_create(heed_workspace** workspace);
HEED_C_API void heed_workspace_destroy(heed_workspace* workspace);
HEED_C_API heed_status heed_workspace_reserve(heed_workspace* workspace, const heed_plan* plan);
HEED_C_API heed_status heed_workspace_bytes(const heed_workspace* workspace, size_t* bytes);

/// Which pages hold the keys and values of each sequence: heed::PageTables in attention.h.
typedef struct heed_page_tables {
  size_t struct_size;
  const int32_t* pages;
  size_t pages_count;
  int64_t stride;         ///< of a block table
  const int32_t* indptr;  ///< sequences + 1 (CSR); or none
  size_t indptr_count;
} heed_page_tables;

/// The tensors of one run: heed::AttentionTensors in attention.h.
typedef struct heed_attention_tensors {
  size_t struct_size;
  heed_input_data q, k, v;
  heed_output_data out;
  float* lse;                      ///< null: not asked for
  const heed_page_tables* tables;  ///< where keys and values lie in pages
  heed_scales k_scales, v_scales;  ///< of int8 and int4
  const heed_score_modifiers* modifiers;
} heed_attention_tensors;

HEED_C_INIT(heed_page_tables);
HEED_C_INIT(heed_attention_tensors);

/// Runs the plan, as heed::run; where heed_thread_library() says if `executor` is null.
HEED_C_API heed_status heed_run(const heed_plan* plan, const heed_attention_tensors* tensors,
                                heed_workspace* workspace, heed_executor* executor);
/// One worker's share of a run, for hosts with threads of their own, as heed::run_share.
HEED_C_API heed_status heed_run_share(const heed_plan* plan, const heed_attention_tensors* tensors,
                                      heed_workspace* workspace, int ith, int nth);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

// heed from C, and from whatever can call C: C99, and C++. libheed_c contains heed; nothing of C++
// is seen through it.
//
// Names are those of the C++ headers, heed::KvCache::extend being heed_kv_cache_extend; these
// headers and docs/manual.md tell the whole story, and what is said here is what C adds. A function
// that would have the name of a struct begins with heed_get_. "Default" means what the struct's
// init function writes.
//
// Errors. Functions return a heed_status, but for those that return void, a text or a number and
// cannot fail. After a failure nothing has changed, outputs included, and heed_last_message() has
// the sentence. A null pointer where something is needed is a failure like any other. Nothing is
// thrown, and nothing ends the process.
//
// Structs that begin with `struct_size` may grow at their end from version to version: call the
// struct's init function, then set what differs. It writes the size that the program was compiled
// with, by which heed knows the members that a caller does not have, and takes their defaults. A
// struct that is larger than heed knows is refused where what heed does not know is not 0. Members
// called `reserved` must be 0. Into structs that it writes heed writes as much as the caller has.
// Structs without `struct_size` never change.
//
// Where C++ has an optional, a pointer is null, which is the default; where it has a span there are
// a pointer and a count. Arrays and structs that a struct points to are read during the call only.
//
// Handles are made by a create function, which writes to its last parameter, and ended by a destroy
// function, to which null is nothing. What C++ says of threads and one object goes for handles.
#pragma once

/* NOLINTBEGIN(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define HEED_C_API __attribute__((visibility("default")))
#else
#define HEED_C_API
#endif

/// The interface's number, that of libheed_c.so.1. Functions and members may be added to it; what
/// is there stays.
#define HEED_C_ABI 1

#ifdef __cplusplus
extern "C" {
/// Of the size that enumerations have in C; any number may be given, and is checked.
#define HEED_C_ENUM : int
#else
#define HEED_C_ENUM
#endif

// --- Status and version

/// As heed::StatusCode in status.h.
typedef enum heed_status HEED_C_ENUM {
  HEED_OK,
  HEED_INVALID_ARGUMENT,
  HEED_UNSUPPORTED,
  HEED_OUT_OF_MEMORY,
  HEED_EXHAUSTED,
  HEED_INTERNAL
} heed_status;

/// The sentence of the calling thread's last failure, "" before the first one; never null, and
/// valid until the thread's next failure.
HEED_C_API const char* heed_last_message(void);
/// "ok", "invalid_argument" and so on; "unknown" for other numbers.
HEED_C_API const char* heed_status_name(heed_status status);
/// "major.minor.patch" of the library that the program runs with.
HEED_C_API const char* heed_version(void);
/// HEED_C_ABI of the library that the program runs with.
HEED_C_API int heed_abi(void);

/// Declares type_init(value), which writes the defaults of a struct, and what other languages call
/// for it: type_init_sized(value, struct_size), where struct_size is how large they have the
/// struct.
#define HEED_C_INIT(type)                                                    \
  HEED_C_API heed_status type##_init_sized(type* value, size_t struct_size); \
  static inline heed_status type##_init(type* value) {                       \
    return type##_init_sized(value, sizeof(type));                           \
  }                                                                          \
  struct type

// --- Element types

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

// --- The processor

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

// --- Executors and options of single passes

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

// --- Describe

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

/// As heed::ScaleLayout in scales.h.
typedef struct heed_scale_layout {
  int64_t group;  ///< neighbouring elements of a vector with one scale; 0: all of them
  int64_t sequence_stride;
  int64_t token_stride;
  int64_t head_stride;
} heed_scale_layout;

/// Strides of a pool of pages, in elements: heed::PageStrides in paged_layout.h.
typedef struct heed_page_strides {
  int64_t page;
  int64_t token;
  int64_t head;
} heed_page_strides;

/// The shape of one layer's pages: heed::PagedLayout in paged_layout.h. There are no defaults.
typedef struct heed_paged_layout {
  size_t struct_size;
  int64_t pages;
  int64_t page_tokens;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t value_head_dim;
  heed_page_strides k, v;
  const heed_scale_layout* k_scales;  ///< null: one per (page, token, head), contiguous
  const heed_scale_layout* v_scales;
} heed_paged_layout;

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
HEED_C_INIT(heed_paged_layout);
HEED_C_INIT(heed_key_mask);
HEED_C_INIT(heed_key_lists);
HEED_C_INIT(heed_key_shard);
HEED_C_INIT(heed_batch);
HEED_C_INIT(heed_plan_options);

/// Keys and values in two buffers, each [page, token, head, dim], as heed::PagedLayout::bshd. A
/// value_head_dim of 0 means head_dim. `layout` must be initialised, as all structs that heed
/// writes and that begin with struct_size.
HEED_C_API heed_status heed_paged_layout_bshd(int64_t pages, int64_t page_tokens, int64_t kv_heads,
                                              int64_t head_dim, int64_t value_head_dim,
                                              heed_paged_layout* layout);
/// The same with [page, head, token, dim], as heed::PagedLayout::bhsd.
HEED_C_API heed_status heed_paged_layout_bhsd(int64_t pages, int64_t page_tokens, int64_t kv_heads,
                                              int64_t head_dim, int64_t value_head_dim,
                                              heed_paged_layout* layout);
/// Makes a layout of two buffers one of a single buffer, each page's keys before its values, as
/// heed::PagedLayout::together.
HEED_C_API heed_status heed_paged_layout_together(heed_paged_layout* layout);

// --- Plan

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

// --- Run

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

/// As heed::Scales in scales.h.
typedef struct heed_scales {
  const float* scales;
  const float* zero_points;  ///< null: all are 0
} heed_scales;

/// Numbers that are added to scores: heed::ScoreBias in score_modifiers.h.
typedef struct heed_score_bias {
  size_t struct_size;
  heed_input_data data;
  int64_t sequence_stride;  ///< 0: all share it, as of head, query and key
  int64_t head_stride;
  int64_t query_stride;
  int64_t key_stride;  ///< 1, the default, or 0
} heed_score_bias;

/// Temperatures of heads or rows: heed::RowTemperatures in score_modifiers.h.
typedef struct heed_row_temperatures {
  size_t struct_size;
  const float* data;
  int64_t sequence_stride;  ///< 0: all share it, as of head and query
  int64_t head_stride;
  int64_t query_stride;
} heed_row_temperatures;

/// What happens to scores before they become weights: heed::ScoreModifiers in score_modifiers.h.
typedef struct heed_score_modifiers {
  size_t struct_size;
  const float* alibi_slopes;  ///< [query_heads]; null: none
  const float* sinks;         ///< [query_heads]; null: none
  const heed_score_bias* bias;
  const heed_row_temperatures* temperatures;
  float softcap;  ///< 0: none
  int reserved;
} heed_score_modifiers;

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
HEED_C_INIT(heed_score_bias);
HEED_C_INIT(heed_row_temperatures);
HEED_C_INIT(heed_score_modifiers);
HEED_C_INIT(heed_attention_tensors);

/// As heed::alibi_slopes in score_modifiers.h.
HEED_C_API heed_status heed_alibi_slopes(float* slopes, size_t count);

/// Runs the plan, as heed::run; where heed_thread_library() says if `executor` is null.
HEED_C_API heed_status heed_run(const heed_plan* plan, const heed_attention_tensors* tensors,
                                heed_workspace* workspace, heed_executor* executor);
/// One worker's share of a run, for hosts with threads of their own, as heed::run_share.
HEED_C_API heed_status heed_run_share(const heed_plan* plan, const heed_attention_tensors* tensors,
                                      heed_workspace* workspace, int ith, int nth);

// --- What the weights tell

/// Where weights lie: heed::WeightLayout in attention_weights.h.
typedef struct heed_weight_layout {
  int64_t sequence_stride;
  int64_t head_stride;
  int64_t query_stride;
} heed_weight_layout;

/// Where masses lie: heed::MassLayout in attention_weights.h.
typedef struct heed_mass_layout {
  int64_t sequence_stride;
  int64_t head_stride;
} heed_mass_layout;

/// What is asked for, and where it goes: heed::AttentionWeights in attention_weights.h. What is
/// null is not asked for.
typedef struct heed_attention_weights {
  size_t struct_size;
  heed_output_data weights;
  const heed_weight_layout* layout;  ///< null: contiguous [sequence, head, query, key]
  float* entropy;                    ///< of each row, in nats
  float* top_weights;                ///< [row, top]
  int32_t* top_keys;                 ///< [row, top]
  int32_t top;                       ///< 1 … 16, default 1
  int reserved;
  float* mass;                          ///< of each key
  const heed_mass_layout* mass_layout;  ///< null: contiguous [sequence, head, key]
} heed_attention_weights;

HEED_C_INIT(heed_attention_weights);

/// Makes room for heed_get_attention_weights.
HEED_C_API heed_status heed_workspace_reserve_weights(heed_workspace* workspace,
                                                      const heed_plan* plan,
                                                      const heed_attention_weights* weights);

/// Computes what is asked for, and outputs where tensors->out is not null, as
/// heed::attention_weights.
HEED_C_API heed_status heed_get_attention_weights(const heed_plan* plan,
                                                  const heed_attention_tensors* tensors,
                                                  const heed_attention_weights* weights,
                                                  heed_workspace* workspace,
                                                  heed_executor* executor);

// --- Partial states

/// How many states a plan's run has: heed::StateShape in partial_states.h.
typedef struct heed_state_shape {
  int64_t partitions;
  int64_t rows;
  int64_t value_head_dim;
} heed_state_shape;

/// States to write, as heed::PartialStates in partial_states.h.
typedef struct heed_partial_states {
  float* m;  ///< [partition, row]
  float* l;  ///< [partition, row]
  float* o;  ///< [partition, row, value_head_dim]
  int64_t partitions;
} heed_partial_states;

/// States to read.
typedef struct heed_const_partial_states {
  const float* m;
  const float* l;
  const float* o;
  int64_t partitions;
} heed_const_partial_states;

HEED_C_API heed_status heed_get_state_shape(const heed_plan* plan, heed_state_shape* shape);
/// Of all m, l and o together, as heed::StateShape::floats.
HEED_C_API heed_status heed_state_shape_floats(const heed_state_shape* shape, size_t* floats);
/// States in one piece of so many floats, as heed::PartialStates::in.
HEED_C_API heed_status heed_partial_states_in(float* memory, const heed_state_shape* shape,
                                              heed_partial_states* states);
HEED_C_API heed_status heed_run_partial(const heed_plan* plan,
                                        const heed_attention_tensors* tensors,
                                        const heed_partial_states* states,
                                        heed_workspace* workspace, heed_executor* executor);
HEED_C_API heed_status heed_run_partial_share(const heed_plan* plan,
                                              const heed_attention_tensors* tensors,
                                              const heed_partial_states* states,
                                              heed_workspace* workspace, int ith, int nth);
/// Adds the states of `count` shards, at most 256, as heed::merge. `lse`, `modifiers` and
/// `executor` may be null.
HEED_C_API heed_status heed_merge(const heed_plan* plan, const heed_const_partial_states* shards,
                                  size_t count, heed_output_data out, float* lse,
                                  const heed_score_modifiers* modifiers, heed_executor* executor);
/// total += states, as heed::merge_into. `modifiers` and `executor` may be null.
HEED_C_API heed_status heed_merge_into(const heed_plan* plan, const heed_partial_states* total,
                                       const heed_const_partial_states* states,
                                       const heed_score_modifiers* modifiers,
                                       heed_executor* executor);
/// Makes all states empty.
HEED_C_API heed_status heed_clear(const heed_plan* plan, const heed_partial_states* states);

// --- Rotary position embedding

/// The cosines and sines of all positions: heed::Rotary in rotary.h.
typedef struct heed_rotary heed_rotary;

/// As heed::RotaryPairs in rotary.h.
typedef enum heed_rotary_pairs HEED_C_ENUM {
  HEED_ROTARY_ADJACENT,
  HEED_ROTARY_HALVES
} heed_rotary_pairs;

/// As heed::RotaryScalingKind in rotary.h.
typedef enum heed_rotary_scaling_kind HEED_C_ENUM {
  HEED_ROTARY_SCALING_NONE,
  HEED_ROTARY_SCALING_LINEAR,
  HEED_ROTARY_SCALING_DYNAMIC_NTK,
  HEED_ROTARY_SCALING_LLAMA3,
  HEED_ROTARY_SCALING_YARN,
  HEED_ROTARY_SCALING_LONG_ROPE
} heed_rotary_scaling_kind;

/// As heed::RotaryScaling in rotary.h.
typedef struct heed_rotary_scaling {
  size_t struct_size;
  heed_rotary_scaling_kind kind;  ///< default HEED_ROTARY_SCALING_NONE
  int truncate;                   ///< of YaRN; default 1
  double factor;                  ///< default 1
  int64_t original_positions;     ///< has no default
  double low_freq_factor;         ///< default 1
  double high_freq_factor;        ///< default 4
  double beta_fast;               ///< default 32
  double beta_slow;               ///< default 1
  double mscale;                  ///< default 0, with mscale_all_dim: none
  double mscale_all_dim;
  double attention_factor;      ///< default 0: as the kind says
  const double* short_factors;  ///< of LongRoPE
  size_t short_factors_count;
  const double* long_factors;
  size_t long_factors_count;
} heed_rotary_scaling;

/// As heed::RotaryConfig in rotary.h.
typedef struct heed_rotary_config {
  size_t struct_size;
  int64_t rotary_dim;       ///< has no default
  heed_rotary_pairs pairs;  ///< default HEED_ROTARY_ADJACENT
  int reserved;
  double base;                         ///< default 10000
  double position_scale;               ///< default 1
  int64_t positions;                   ///< has no default
  const heed_rotary_scaling* scaling;  ///< null: none
  const double* frequencies;           ///< in the place of base
  size_t frequencies_count;
  const double* factors;  ///< what frequencies are divided by before they are scaled
  size_t factors_count;
} heed_rotary_config;

/// Vectors to rotate: heed::RotaryTensors in rotary.h.
typedef struct heed_rotary_tensors {
  size_t struct_size;
  heed_input_data x;
  heed_output_data y;
  int64_t heads;                ///< default 1
  int64_t head_dim;             ///< has no default
  const heed_layout* x_layout;  ///< null: contiguous
  const heed_layout* y_layout;
  const int64_t* positions;  ///< one per token
  size_t positions_count;
} heed_rotary_tensors;

HEED_C_INIT(heed_rotary_scaling);
HEED_C_INIT(heed_rotary_config);
HEED_C_INIT(heed_rotary_tensors);

HEED_C_API heed_status heed_rotary_create(const heed_rotary_config* config, heed_rotary** rotary);
HEED_C_API void heed_rotary_destroy(heed_rotary* rotary);
/// As given to heed_rotary_create, but for `scaling` and the lists, which are null:
/// heed_rotary_frequencies says what came of them.
HEED_C_API heed_status heed_get_rotary_config(const heed_rotary* rotary,
                                              heed_rotary_config* config);
/// What each pair turns by at a position of 1, after scaling; valid as long as the handle.
HEED_C_API heed_status heed_rotary_frequencies(const heed_rotary* rotary,
                                               const double** frequencies,
                                               size_t* frequencies_count);
/// What cosines and sines are multiplied by.
HEED_C_API heed_status heed_rotary_attention_factor(const heed_rotary* rotary, double* factor);
/// y = x rotated, as heed::rotate. `options` may be null.
HEED_C_API heed_status heed_rotate(const heed_rotary* rotary, const heed_rotary_tensors* tensors,
                                   const heed_run_options* options);

// --- The norm of queries and keys

/// As heed::RmsNorm in head_norm.h.
typedef struct heed_rms_norm {
  size_t struct_size;
  const float* weight;  ///< [head_dim]; null: 1
  float weight_offset;  ///< default 0
  int reserved;
  double epsilon;  ///< default 1e-6
} heed_rms_norm;

/// Heads to normalise: heed::HeadTensors in head_norm.h.
typedef struct heed_head_tensors {
  size_t struct_size;
  const float* x;
  float* y;
  int64_t tokens;               ///< default 0
  int64_t heads;                ///< default 1
  int64_t head_dim;             ///< has no default
  const heed_layout* x_layout;  ///< null: contiguous
  const heed_layout* y_layout;
} heed_head_tensors;

HEED_C_INIT(heed_rms_norm);
HEED_C_INIT(heed_head_tensors);

/// y = x normalised, head by head, as heed::normalise_heads. `options` may be null.
HEED_C_API heed_status heed_normalise_heads(const heed_rms_norm* norm,
                                            const heed_head_tensors* tensors,
                                            const heed_run_options* options);

// --- Paged caches

/// What heed_paged_sequences may hand out: heed::PageBudget in kv_cache.h. There are no defaults.
typedef struct heed_page_budget {
  size_t struct_size;
  int64_t pages;
  int64_t page_tokens;
  int64_t sequences;
  int64_t sequence_tokens;  ///< of one sequence at most; 0: as many as the pages hold
  int prefixes;             ///< whether pages can be found by their tokens
  int reserved;
} heed_page_budget;

/// What must be copied, in every layer: heed::PageCopy in kv_cache.h. 0 tokens: nothing.
typedef struct heed_page_copy {
  int32_t from;
  int32_t to;
  int32_t tokens;
} heed_page_copy;

HEED_C_INIT(heed_page_budget);

/// Which page holds what, for storage that the caller has: heed::PagedSequences in kv_cache.h.
typedef struct heed_paged_sequences heed_paged_sequences;

HEED_C_API heed_status heed_paged_sequences_create(const heed_page_budget* budget,
                                                   heed_paged_sequences** sequences);
HEED_C_API void heed_paged_sequences_destroy(heed_paged_sequences* sequences);
HEED_C_API heed_status heed_paged_sequences_add(heed_paged_sequences* sequences, int32_t* id);
/// A new sequence for a text with these tokens, `found` of which it shares with earlier ones.
HEED_C_API heed_status heed_paged_sequences_begin(heed_paged_sequences* sequences,
                                                  const int32_t* tokens, size_t tokens_count,
                                                  int32_t* id, int64_t* found);
/// Lets others find the pages of a sequence's first tokens, which have been written.
HEED_C_API heed_status heed_paged_sequences_publish(heed_paged_sequences* sequences, int32_t id,
                                                    const int32_t* tokens, size_t tokens_count);
/// Gives back pages before `tokens`, but for the first `keep_first` tokens; they are −1 then.
HEED_C_API heed_status heed_paged_sequences_forget(heed_paged_sequences* sequences, int32_t id,
                                                   int64_t tokens, int64_t keep_first);
/// Makes room for slots_count more tokens and writes their slots.
HEED_C_API heed_status heed_paged_sequences_extend(heed_paged_sequences* sequences, int32_t id,
                                                   int64_t* slots, size_t slots_count,
                                                   heed_page_copy* copy);
HEED_C_API heed_status heed_paged_sequences_fork(heed_paged_sequences* sequences, int32_t id,
                                                 int64_t tokens, int32_t* child);
HEED_C_API heed_status heed_paged_sequences_truncate(heed_paged_sequences* sequences, int32_t id,
                                                     int64_t tokens);
HEED_C_API heed_status heed_paged_sequences_remove(heed_paged_sequences* sequences, int32_t id);
/// −1 where the id is not in use.
HEED_C_API heed_status heed_paged_sequences_tokens(const heed_paged_sequences* sequences,
                                                   int32_t id, int64_t* tokens);
/// The pages of a sequence, valid until it changes; none where the id is not in use.
HEED_C_API heed_status heed_paged_sequences_pages(const heed_paged_sequences* sequences, int32_t id,
                                                  const int32_t** pages, size_t* pages_count);
HEED_C_API heed_status heed_paged_sequences_free_pages(const heed_paged_sequences* sequences,
                                                       int64_t* pages);
HEED_C_API heed_status heed_paged_sequences_block_table(const heed_paged_sequences* sequences,
                                                        const int32_t* ids, size_t ids_count,
                                                        int64_t stride, int32_t* table,
                                                        size_t table_count);
/// `indptr` has ids_count + 1 elements.
HEED_C_API heed_status heed_paged_sequences_page_lists(const heed_paged_sequences* sequences,
                                                       const int32_t* ids, size_t ids_count,
                                                       int32_t* indptr, int32_t* indices,
                                                       size_t indices_count);
/// `prefixes` has ids_count elements.
HEED_C_API heed_status heed_paged_sequences_shared_prefixes(const heed_paged_sequences* sequences,
                                                            const int32_t* ids, size_t ids_count,
                                                            int32_t* prefixes);

/// As heed::MutableScales in scales.h.
typedef struct heed_mutable_scales {
  float* scales;
  float* zero_points;
} heed_mutable_scales;

/// The pages of one layer: heed::KvPages in kv_cache.h.
typedef struct heed_kv_pages {
  size_t struct_size;
  heed_output_data k, v;
  heed_mutable_scales k_scales, v_scales;
} heed_kv_pages;

/// What a cache holds: heed::KvCacheConfig in kv_cache.h.
typedef struct heed_kv_cache_config {
  size_t struct_size;
  const heed_paged_layout* layout;  ///< of each layer; needed
  int64_t layers;                   ///< default 1
  int64_t sequences;                ///< has no default
  int64_t sequence_tokens;          ///< of one sequence at most; 0: as many as the pages hold
  heed_dtype k_type, v_type;        ///< default HEED_F32
  int k_zero_points, v_zero_points;
  int prefixes;  ///< whether pages can be found by their tokens
  int reserved;
} heed_kv_cache_config;

/// Keys and values of new tokens: heed::NewTokens in kv_cache.h.
typedef struct heed_new_tokens {
  size_t struct_size;
  heed_input_data k, v;
  const heed_layout* k_layout;  ///< null: contiguous
  const heed_layout* v_layout;
  const int64_t* slots;  ///< one per token
  size_t slots_count;
  const heed_rotary* rotary;  ///< null: keys stay as they are
  const int64_t* positions;   ///< one per token where rotary is given
  size_t positions_count;
} heed_new_tokens;

HEED_C_INIT(heed_kv_pages);
HEED_C_INIT(heed_kv_cache_config);
HEED_C_INIT(heed_new_tokens);

/// Paged sequences with the memory of several layers: heed::KvCache in kv_cache.h.
typedef struct heed_kv_cache heed_kv_cache;

HEED_C_API heed_status heed_kv_cache_create(const heed_kv_cache_config* config,
                                            heed_kv_cache** cache);
HEED_C_API void heed_kv_cache_destroy(heed_kv_cache* cache);
HEED_C_API heed_status heed_kv_cache_add(heed_kv_cache* cache, int32_t* id);
HEED_C_API heed_status heed_kv_cache_begin(heed_kv_cache* cache, const int32_t* tokens,
                                           size_t tokens_count, int32_t* id, int64_t* found);
HEED_C_API heed_status heed_kv_cache_publish(heed_kv_cache* cache, int32_t id,
                                             const int32_t* tokens, size_t tokens_count);
HEED_C_API heed_status heed_kv_cache_forget(heed_kv_cache* cache, int32_t id, int64_t tokens,
                                            int64_t keep_first);
/// Makes room for slots_count more tokens and writes their slots; copies a page where one must be.
HEED_C_API heed_status heed_kv_cache_extend(heed_kv_cache* cache, int32_t id, int64_t* slots,
                                            size_t slots_count);
HEED_C_API heed_status heed_kv_cache_fork(heed_kv_cache* cache, int32_t id, int64_t tokens,
                                          int32_t* child);
HEED_C_API heed_status heed_kv_cache_truncate(heed_kv_cache* cache, int32_t id, int64_t tokens);
HEED_C_API heed_status heed_kv_cache_remove(heed_kv_cache* cache, int32_t id);
HEED_C_API heed_status heed_kv_cache_tokens(const heed_kv_cache* cache, int32_t id,
                                            int64_t* tokens);
HEED_C_API heed_status heed_kv_cache_pages(const heed_kv_cache* cache, int32_t id,
                                           const int32_t** pages, size_t* pages_count);
HEED_C_API heed_status heed_kv_cache_free_pages(const heed_kv_cache* cache, int64_t* pages);
HEED_C_API heed_status heed_kv_cache_block_table(const heed_kv_cache* cache, const int32_t* ids,
                                                 size_t ids_count, int64_t stride, int32_t* table,
                                                 size_t table_count);
HEED_C_API heed_status heed_kv_cache_page_lists(const heed_kv_cache* cache, const int32_t* ids,
                                                size_t ids_count, int32_t* indptr, int32_t* indices,
                                                size_t indices_count);
HEED_C_API heed_status heed_kv_cache_shared_prefixes(const heed_kv_cache* cache, const int32_t* ids,
                                                     size_t ids_count, int32_t* prefixes);
/// What it points to is valid as long as the cache.
HEED_C_API heed_status heed_kv_cache_layout(const heed_kv_cache* cache, heed_paged_layout* layout);
HEED_C_API heed_status heed_kv_cache_layers(const heed_kv_cache* cache, int64_t* layers);
HEED_C_API heed_status heed_kv_cache_k_type(const heed_kv_cache* cache, heed_dtype* type);
HEED_C_API heed_status heed_kv_cache_v_type(const heed_kv_cache* cache, heed_dtype* type);
/// Null pointers for a layer that does not exist.
HEED_C_API heed_status heed_kv_cache_layer(const heed_kv_cache* cache, int64_t index,
                                           heed_kv_pages* pages);
HEED_C_API heed_status heed_kv_cache_bytes(const heed_kv_cache* cache, size_t* bytes);

/// Writes keys and values of new tokens to their slots, as heed::append. `options` may be null.
HEED_C_API heed_status heed_append(const heed_paged_layout* layout, const heed_kv_pages* pages,
                                   const heed_new_tokens* tokens, const heed_run_options* options);
/// Numbers of one type as those of another, as heed::convert. `options` may be null.
HEED_C_API heed_status heed_convert(heed_input_data from, heed_output_data to, int64_t elements,
                                    const heed_run_options* options);

// --- Softmax of matrices

/// A matrix to read: heed::ConstRows in softmax.h.
typedef struct heed_const_rows {
  size_t struct_size;
  heed_input_data data;
  int64_t rows;
  int64_t length;
  int64_t stride;
} heed_const_rows;

/// A matrix to write: heed::Rows in softmax.h.
typedef struct heed_rows {
  size_t struct_size;
  heed_output_data data;
  int64_t rows;
  int64_t length;
  int64_t stride;
} heed_rows;

/// Which entries are visible, those that are not 0: heed::EntryMask in softmax.h.
typedef struct heed_entry_mask {
  const uint8_t* visible;  ///< null: all entries
  int64_t stride;
} heed_entry_mask;

/// As heed::SoftmaxOptions in softmax.h. Null, where a function takes it, is all defaults.
typedef struct heed_softmax_options {
  size_t struct_size;
  float scale;                ///< default 1
  float temperature;          ///< default 1
  const float* temperatures;  ///< one per row; or none
  size_t temperatures_count;
  heed_entry_mask mask;
  const char* isa;  ///< null or "": HEED_ISA, else the best
  int workers;      ///< 0: heed_cpu_info::default_workers
  int reserved;
  heed_executor* executor;  ///< null: where heed_thread_library() says
} heed_softmax_options;

HEED_C_INIT(heed_const_rows);
HEED_C_INIT(heed_rows);
HEED_C_INIT(heed_softmax_options);

HEED_C_API heed_status heed_softmax(const heed_const_rows* x, const heed_rows* y,
                                    const heed_softmax_options* options);
HEED_C_API heed_status heed_log_softmax(const heed_const_rows* x, const heed_rows* y,
                                        const heed_softmax_options* options);
/// `lse` has x->rows elements.
HEED_C_API heed_status heed_log_sum_exp(const heed_const_rows* x, float* lse,
                                        const heed_softmax_options* options);
/// As heed::softmax_gradient; `dt`, the gradient of each row's T, may be null.
HEED_C_API heed_status heed_softmax_gradient(const heed_const_rows* y, const heed_const_rows* dy,
                                             const heed_rows* dx, float* dt,
                                             const heed_softmax_options* options);
/// As heed::log_softmax_gradient; `dt` may be null.
HEED_C_API heed_status heed_log_softmax_gradient(const heed_const_rows* y,
                                                 const heed_const_rows* dy, const heed_rows* dx,
                                                 float* dt, const heed_softmax_options* options);

// --- Drawing tokens

/// What a row without a token gets.
#define HEED_NO_TOKEN (-1)

/// Logits to read: heed::Logits in sampling.h.
typedef struct heed_logits {
  size_t struct_size;
  heed_input_data data;
  int64_t rows;
  int64_t length;
  int64_t stride;
} heed_logits;

/// What may be drawn from a row: heed::SamplingRule in sampling.h. In an array all have the same
/// struct_size.
typedef struct heed_sampling_rule {
  size_t struct_size;
  int64_t top_k;      ///< 0: all
  float temperature;  ///< default 1; 0: the largest logit
  float top_p;        ///< default 1: all
  float min_p;        ///< 0: all
  int reserved;
} heed_sampling_rule;

/// Which random number a row is given: heed::Draw in sampling.h.
typedef struct heed_draw {
  uint64_t seed;
  uint64_t counter;
} heed_draw;

/// What is written, one element for each row: heed::Samples in sampling.h.
typedef struct heed_samples {
  size_t struct_size;
  int32_t* tokens;
  float* probabilities;  ///< null: not asked for
} heed_samples;

HEED_C_INIT(heed_logits);
HEED_C_INIT(heed_sampling_rule);
HEED_C_INIT(heed_samples);

/// The memory that heed_sample works in: heed::SamplingWorkspace in sampling.h.
typedef struct heed_sampling_workspace heed_sampling_workspace;

/// Empty.
HEED_C_API heed_status heed_sampling_workspace_create(heed_sampling_workspace** workspace);
HEED_C_API void heed_sampling_workspace_destroy(heed_sampling_workspace* workspace);
/// For rows of `length` logits on `workers` workers; 0: heed_cpu_info::default_workers.
HEED_C_API heed_status heed_sampling_workspace_reserve(heed_sampling_workspace* workspace,
                                                       int64_t length, int workers);
HEED_C_API heed_status heed_sampling_workspace_bytes(const heed_sampling_workspace* workspace,
                                                     size_t* bytes);

/// Draws a token from each row, as heed::sample. Rules are one, or one for each row; draws one for
/// each row, or none where all rules have a temperature of 0. `options` and `workspace` may be
/// null. Rules and draws are copied to memory that is allocated for the call.
HEED_C_API heed_status heed_sample(const heed_logits* logits, const heed_sampling_rule* rules,
                                   size_t rules_count, const heed_draw* draws, size_t draws_count,
                                   const heed_samples* samples, const heed_run_options* options,
                                   heed_sampling_workspace* workspace);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming,modernize-*,bugprone-macro-parentheses) */

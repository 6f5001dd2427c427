// Multi-head attention: describe → plan → run.
//
//   logit  = scale · q·k                     weight = exp(logit / T − lse) over the visible keys
//   output = Σ weight · v                    lse    = log Σ exp(logit / T)
//
// A plan is made from the shapes alone, costs microseconds, and serves any number of runs on any
// tensors of those shapes. A row's result depends on its own query, its keys and values and the
// configuration, and on nothing else: not on the number of threads, the other sequences of the
// batch, the way a prompt was cut into chunks, or the storage; and AVX2, AVX-512 and NEON give the
// same bits. The bits of values below about 2⁻¹⁰⁰ are an exception: their weighted sums may be
// denormal, and then differ by up to 2⁻¹⁴⁹ for each key.
//
// Everything is summed in float, over n visible keys in chains of at most N = min(n, 256) + 64 +
// ⌈n / 16384⌉ + 1 additions. With ε = 2⁻²⁴, V the largest visible |v| and R the relative error of
// the weights (of the order of head_dim · ε · |logit / T|), outputs are within V · (2 · R + (2 · N
// + 2) · ε) of the exact ones, and the lse within R + N · ε + 3 · ε · |lse|: for equal weights
// 4·10⁻⁵ · V at 16,384 keys, 1.6·10⁻⁴ · V at 2²⁴, 1.6·10⁻² · V at 2³¹. docs/canonical-row.md has
// the derivation.
//
// Queries are multiplied by scale / T · log2 e, rounded to float, before they meet a key. Where
// that product or a logit is beyond the range of float, infinities follow the formula, and outputs
// are NaN: T near 0 needs small queries (T = 0 does not divide). Where the factor itself is no
// normal float it loses precision, and below 2⁻¹⁴⁹ it is 0, which weighs all visible keys equally.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "heed/dtype.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/key_mask.h"
#include "heed/paged_layout.h"
#include "heed/scales.h"
#include "heed/score_modifiers.h"
#include "heed/status.h"
#include "heed/tensor_data.h"

namespace heed {

/// Largest head dimension of queries, keys and values.
inline constexpr std::int64_t kMaxHeadDim = 1024;

/// Keys of a partition. Sums over keys start afresh at every multiple of this position, so that
/// keys can be split there without leaving a trace in the bits.
inline constexpr std::int64_t kPartitionKeys = 256;

/// Most sequences of a batch, and most work items (rows of one KV head, by what the caches hold) of
/// a plan before keys are split: a plan takes some hundred bytes and a microsecond for each.
inline constexpr std::int64_t kMaxSequences = std::int64_t{1} << 24;
inline constexpr std::int64_t kMaxItems = std::int64_t{1} << 24;

/// A window side without an end.
inline constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

/// Where the mask's diagonal lies. Query i of n stands at key position i + n_kv − n (end: the last
/// query stands at the last key, as when decoding against a cache) or at key position i (start).
enum class Alignment { end, start };

/// What queries are multiplied with keys in, and weights with values. Sums are float in any case.
enum class Products {
  automatic,  ///< bf16 where q, k and v are all bf16 and head_dim is even, else f32
  f32,        ///< of the floats that elements widen to
  /// Of bf16 numbers, two at a time, as processors with AVX512-BF16 do: up to twice as fast there,
  /// and the same bits elsewhere. Weights are rounded to bf16, and denormal numbers count as zero
  /// throughout. q, k and v must be bf16, head_dim even.
  bf16,
};

/// What is computed: the part of the description that a model fixes.
struct AttentionConfig {
  std::int64_t query_heads = 1;  ///< ≥ 1
  /// ≥ 1; must divide query_heads: head h reads KV head h / (query_heads / kv_heads).
  std::int64_t kv_heads = 1;
  std::int64_t head_dim = 0;        ///< of queries and keys, 1 … kMaxHeadDim
  std::int64_t value_head_dim = 0;  ///< of values and outputs, 1 … kMaxHeadDim; 0 means head_dim
  bool causal = false;              ///< a query sees no key after its own position
  Alignment alignment = Alignment::end;    ///< of the causal mask and of the window
  std::int64_t window_left = kUnlimited;   ///< keys visible before the query's position, ≥ 0
  std::int64_t window_right = kUnlimited;  ///< keys visible after it, ≥ 0 (causal makes it 0)
  /// The first keys of a sequence, ≥ 0, that window_left does not hide: the attention sinks of
  /// StreamingLLM (Xiao et al., arXiv 2309.17453). What hides keys after the query's position hides
  /// these, too. Pages between them and the windows of all queries may have any number.
  std::int64_t keep_first = 0;
  std::optional<float> scale = {};  ///< finite; default 1 / √head_dim
  /// T ≥ 0. 1 is plain attention; 0 is the argmax, its weight shared equally among ties (the LSE is
  /// then undefined, and NaN); infinity weighs all visible keys equally (the LSE is the logarithm
  /// of their number).
  float temperature = 1.0F;
  /// Element types. Everything is computed in f32 (but for `products`), from rows of floats that
  /// these widen to; outputs are rounded to the nearest, ties to even. q_type and out_type are f32,
  /// f16 or bf16; keys and values of int8 and int4 have scales (Batch::k_scales,
  /// AttentionTensors::k_scales and so on).
  DType q_type = DType::f32, k_type = DType::f32, v_type = DType::f32, out_type = DType::f32;
  Products products = Products::automatic;
};

/// The lengths, in tokens, of one side (queries or keys) of a batch. Exactly one of three forms:
/// dense (`length`), padded (`lengths`: sequence b uses the first lengths[b] tokens of its slot of
/// `length`), or ragged (`offsets`, and no `length`: all sequences lie one after the other; b's
/// tokens are offsets[b] … offsets[b + 1] − 1). The arrays are read while planning only.
struct Lengths {
  std::int64_t length = 0;  ///< of every sequence; of the slot, where lengths is given
  std::span<const std::int32_t> lengths = {};  ///< one per sequence, each 0 … length; or empty
  /// sequences + 1 entries from 0, never falling; or empty
  std::span<const std::int32_t> offsets = {};
};

/// Where the element (sequence, token, head, 0) of a tensor lies, in elements from its start; the
/// last dimension is contiguous. Ragged tensors do not use the sequence stride. Where elements are
/// stored in blocks, strides and the last dimension are whole ones: multiples of 32 for q8_0 and
/// q4_0, of 2 for int4.
struct Layout {
  std::int64_t sequence_stride = 0;
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;

  /// [sequence, token, head, head_dim], what a projection writes.
  static constexpr Layout bshd(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim) {
    return {tokens * heads * head_dim, heads * head_dim, head_dim};
  }
  /// [sequence, head, token, head_dim], what many caches hold.
  static constexpr Layout bhsd(std::int64_t tokens, std::int64_t heads, std::int64_t head_dim) {
    return {heads * tokens * head_dim, head_dim, tokens * head_dim};
  }
};

/// Which keys of longer sequences a batch has: each sequence's Batch::key tokens are a piece of its
/// whole keys, at whose positions masks and windows stand. `run` gives the results of these keys
/// alone; heed/partial_states.h says how those of all pieces become one. The arrays are read while
/// planning only.
struct KeyShard {
  /// Of every sequence: the position of its first key here, a multiple of kPartitionKeys, ≥ 0.
  std::int64_t first_key = 0;
  /// Of every sequence: all its keys, those of the other shards included. Where the keys here end
  /// before them, their number must be a multiple of kPartitionKeys.
  std::int64_t whole_length = 0;
  /// One per sequence, in place of first_key and whole_length where these differ; or empty.
  std::span<const std::int32_t> first_keys = {};
  std::span<const std::int32_t> whole_lengths = {};
};

/// How much there is to compute, and where it lives: the part of the description that changes from
/// call to call. Lengths and the number of sequences may be zero.
struct Batch {
  std::int64_t sequences = 1;  ///< 0 … kMaxSequences
  Lengths query = {};
  Lengths key = {};
  std::optional<Layout> q = {}, k = {}, v = {}, out = {};  ///< default: contiguous bshd
  /// Scales of keys and values of int8 and int4; those of pages are in their layout. Default: one
  /// per (sequence, token, head), contiguous. Ragged ones do not use the sequence stride.
  std::optional<ScaleLayout> k_scales = {}, v_scales = {};
  /// Keys and values in pages of this layout, in place of k and v. `key` gives the lengths as ever:
  /// `length`, and with it `lengths` where sequences differ, or offsets.
  std::optional<PagedLayout> pages = {};
  /// Prefixes that neighbours have in common: the first shared_prefixes[b] keys of sequence b are
  /// also those of sequence b − 1, and lie in the same pages. One per sequence, the first of them
  /// 0; or empty. Whole partitions of them are then read once for all their sequences (Juravsky et
  /// al., "Hydragen", arXiv 2402.05099), where that saves work; no result changes. Where relatives
  /// stand together, prefixes within prefixes are found, too. The array is read while planning
  /// only. Needs pages; sequences are grouped where their queries lie at one token stride
  /// throughout, as ragged ones do, and dense ones of a single token or without gaps.
  std::span<const std::int32_t> shared_prefixes = {};
  /// The first visible_prefixes[b] keys of sequence b, 0 … all that it has, are visible to each of
  /// its queries, though the causal mask or window_right hides them: prefix-LM, in which a prompt
  /// sees itself whole. window_left does not hide them either. One per sequence; or empty.
  /// Positions are those of whole sequences where keys are shards. Read while planning only.
  std::span<const std::int32_t> visible_prefixes = {};
  /// Keys that queries see, beside all that is said of positions: one of these, or neither. Read
  /// while planning only. Prefixes are read together as far as a mask leaves their
  /// keys out (KeyMask::last_keys); with a mask per head they are not, and items are of single
  /// heads.
  std::optional<KeyMask> mask = {};
  std::optional<KeyLists> key_lists = {};
  /// Strides of the LSE, one number per (sequence, token, head). Default: contiguous
  /// [sequence, head, token]; for ragged queries [head, token] over all tokens.
  std::optional<Layout> lse = {};
  /// Default: the keys are all that there are.
  std::optional<KeyShard> shard = {};
};

/// How it is computed.
struct PlanOptions {
  std::string_view isa = {};  ///< force an ISA by name; empty: HEED_ISA, else the best
  int workers = 0;  ///< the largest number of workers of a run; 0: CpuInfo::default_workers
  /// Keys per tile, a power of two from 16 to 256; 0: heed chooses, for the caches of this machine.
  /// It never changes a result.
  int tile_keys = 0;
  /// Query rows per work item at most, 1 to 384, rounded up to whole vectors; 0: heed chooses, for
  /// the caches of this machine. Fewer where the workers would run out of items. It never changes a
  /// result.
  int item_rows = 0;
};

/// Which pages hold the keys and values of each sequence: its key t is in the (t / page_tokens)th
/// of its pages, at t % page_tokens. A block table has a row per sequence, CSR one list after the
/// other. Pages before and after all keys that queries see, and between the
/// first keys and windows (AttentionConfig::keep_first), may have any number.
struct PageTables {
  std::span<const std::int32_t> pages = {};
  std::int64_t stride = 0;  ///< block table: sequence b's pages begin at pages[b · stride]
  /// CSR: sequence b's pages are pages[indptr[b]] … pages[indptr[b + 1] − 1]; sequences + 1
  /// entries. Empty for a block table.
  std::span<const std::int32_t> indptr = {};
};

/// The tensors of one run, with the shapes and layouts of the plan. No element of an output may be
/// one of an input (page tables included) or of another output, unused slots and pages included;
/// tensors may interleave, though, as queries and outputs do that lie in one buffer token by token.
/// Inputs may overlap. Pointers have the types of the plan (AttentionConfig::q_type and so on), and
/// the alignment of these.
struct AttentionTensors {
  InputData q = {};
  InputData k = {};
  InputData v = {};
  OutputData out = {};
  /// Optional: the log-sum-exp of each row, natural logarithm; −∞ where nothing is visible and
  /// there is no sink, NaN where a visible logit is NaN or +∞ when it becomes a weight.
  float* lse = nullptr;
  /// Where keys and values lie in pages; k and v are then the bases of the pool.
  PageTables tables = {};
  Scales k_scales = {}, v_scales = {};  ///< of int8 and int4; else null
  ScoreModifiers modifiers = {};        ///< default: none
};

namespace detail {
struct PlanData;
}

/// A validated, cut and ordered piece of work: a value that can be printed, kept and run again and
/// again, also by several threads at once with a workspace each.
class HEED_API Plan {
 public:
  Plan() noexcept;
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  /// In words: the ISA, tile shapes and what they need of the caches, items, splits, how evenly
  /// they spread over the workers by heed's estimate of their costs, bytes of workspace, and the
  /// path of each feature.
  std::string describe() const noexcept;
  std::string_view isa() const noexcept;
  /// The largest number of workers that can run at once; the nth of run_share may not exceed it.
  int workers() const noexcept;
  /// What a Workspace must hold for this plan.
  std::size_t workspace_bytes() const noexcept;
  /// Scores that the mask leaves visible, over all heads (at most the largest int64): what GFLOP
  /// figures count.
  std::int64_t visible_scores() const noexcept;

  /// For heed itself.
  const detail::PlanData* data() const noexcept { return data_.get(); }

 private:
  friend HEED_API Status plan_attention(const AttentionConfig&, const Batch&, const PlanOptions&,
                                        Plan&) noexcept;
  std::unique_ptr<detail::PlanData> data_;   ///< null before the first plan
  std::unique_ptr<detail::PlanData> spare_;  ///< where the next plan is made, then swapped in
};

/// Checks the description, and cuts the work. Every fault of the caller is found here; on failure
/// `plan` is unchanged. Reuses the memory of the plan before.
HEED_API Status plan_attention(const AttentionConfig& config, const Batch& batch,
                               const PlanOptions& options, Plan& plan) noexcept;

struct AttentionWeights;  // heed/attention_weights.h

/// The memory that a run works in, one per concurrent run: a run that finds another one at work in
/// its workspace is refused. Grows on request and never shrinks.
class HEED_API Workspace {
 public:
  Workspace() noexcept = default;
  ~Workspace();
  Workspace(Workspace&& other) noexcept;
  Workspace& operator=(Workspace&& other) noexcept;

  /// Makes room for `plan`; allocates only where there is too little. Forgets a run whose host has
  /// not called all of its shares; refuses while one is being executed.
  Status reserve(const Plan& plan) noexcept;
  /// The same for attention_weights of a plan, asked for these answers.
  Status reserve(const Plan& plan, const AttentionWeights& weights) noexcept;
  std::size_t bytes() const noexcept { return bytes_; }
  void* data() noexcept { return data_; }

 private:
  Status reserve(std::size_t bytes) noexcept;

  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Runs the plan in `executor` or, where that is null, where thread_library() says. Allocates
/// nothing; fails before any work when a tensor is missing or in the wrong place, the workspace is
/// too small or in use, a page does not exist, or `executor` was never created.
HEED_API Status run(const Plan& plan, const AttentionTensors& tensors, Workspace& workspace,
                    Executor* executor = nullptr) noexcept;

/// One worker's share of a run, for hosts with a thread pool of their own: call it nth times, with
/// ith = 0 … nth − 1 and the same plan, tensors and workspace, from any threads, concurrently or
/// not; when all have returned and are ok, the run is done. Shares take items from a common queue,
/// so a slow worker does less. nth must not exceed plan.workers(), which PlanOptions::workers sets.
///
/// A run begins with the first of its shares to be called, and ends when all nth have returned;
/// then the workspace may have the next one. Before that it refuses, and the run goes on as if they
/// had not been called: a share that was called already, shares with another nth, of another plan,
/// or with other tensors (page tables are not compared: shares may have copies), `run`
/// while a share is at work, and any share while `run` is. Where a host does not call all shares of
/// a run, it calls Workspace::reserve, or `run`, which take its place. A host that forgets to is
/// told so by one of its next run's shares at least: where all of them are ok, they have written
/// all outputs.
HEED_API Status run_share(const Plan& plan, const AttentionTensors& tensors, Workspace& workspace,
                          int ith, int nth) noexcept;

}  // namespace heed

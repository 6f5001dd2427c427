// The workloads of `heed bench`, described in workloads.txt.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "bench/key_masks.h"
#include "heed/dtype.h"
#include "heed/status.h"
#include "tests/proof/modifiers.h"

namespace heed::bench {

/// How the tensors of a workload lie. `usual`: as a projection writes them, but those of a cache as
/// caches hold them, in pages or not.
enum class TensorLayout {
  usual,
  bshd,  ///< [sequence, token, head, head_dim]
  bhsd,  ///< [sequence, head, token, head_dim]
};

struct AttentionWorkload {
  std::int64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  std::vector<std::int32_t> query_lengths, kv_lengths;  ///< one per sequence
  bool causal = false;
  bool sharp = false;  ///< inputs with outliers
  TensorLayout layout = TensorLayout::usual;
  std::int32_t page_tokens = 0;  ///< of the pages that keys and values lie in; 0: in none
  std::int32_t shared_keys = 0;  ///< the first ones, whole pages: the same of all sequences
  DType q_type = DType::f32;     ///< of queries
  DType kv_type = DType::f32;    ///< of keys and values
  /// Keys that a query sees of a causal mask, the last of them at its position; 0: all.
  std::int32_t window = 0;
  proof::ModifierSpec modifiers;
  Shown shown = Shown::all;
  /// Each run is followed by what its weights tell: entropies, largest weights and masses.
  bool explained = false;

  std::int64_t sequences() const { return static_cast<std::int64_t>(query_lengths.size()); }
  /// Keys and values come from a cache that is longer than the queries.
  bool cached() const { return query_lengths != kv_lengths; }
  bool paged() const { return page_tokens > 0; }
};

struct SoftmaxWorkload {
  std::int64_t rows = 0, length = 0;
  bool resident = false;  ///< measured in the cache, always
};

struct Workload {
  std::string name;
  std::string shape;   ///< its words, as --shape takes them
  std::string beside;  ///< the workload that says what its scores cost; or empty
  std::variant<AttentionWorkload, SoftmaxWorkload> what;

  /// "prefill", "decode" (one query per sequence) or "softmax".
  std::string_view kind() const;
};

/// Adds the workloads of a text, one a line or several where a line has lists or ranges; lines that
/// are empty or begin with # have none. Fails with a sentence that begins with `where`, which says
/// what the text is, and the line.
Status parse_workloads(std::string_view where, std::string_view text,
                       std::vector<Workload>& workloads);

/// Adds those of one line, as `--shape` has it.
Status parse_shape(std::string_view shape, std::vector<Workload>& workloads);

/// The text of workloads.txt, compiled in.
std::string_view workloads_text();

/// Adds the workloads of that text.
Status parse_built_in(std::vector<Workload>& workloads);

/// Keeps the workloads with a part of their name that `regex` (ECMAScript) matches; all of them
/// where it is empty. Fails where it is no regular expression, matches none, or is longer than 200
/// characters, counts repetitions, looks ahead or refers back.
Status select_workloads(const std::string& regex, std::vector<Workload>& workloads);

/// Fails where two workloads have one name: nothing could tell their figures apart.
Status check_names(const std::vector<Workload>& workloads);

/// Gives all workloads with attention these types, where they are given.
void set_types(std::optional<DType> q_type, std::optional<DType> kv_type,
               std::vector<Workload>& workloads);

}  // namespace heed::bench

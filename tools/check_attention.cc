// What `heed check` proves of attention. Cases lie around the edges of vectors, tiles, blocks and
// partitions; those with many rows are sampled.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/proof/bounds.h"
#include "tests/proof/case.h"
#include "tests/proof/elements.h"
#include "tests/proof/numbers.h"
#include "tests/proof/oracle.h"
#include "tests/proof/reference.h"
#include "tests/proof/typed_tensors.h"
#include "tools/verdict.h"

namespace heed::tools {
namespace {

using proof::Arithmetic;
using proof::CaseSpec;
using proof::Distribution;

using proof::kInfinity;

/// A case, and the number that takes the place of one element of a key and of a value; 0 for none.
struct AttentionCase {
  CaseSpec spec;
  float spoiler = 0;
};

/// Multiply-adds of the scalar oracle per case, about: larger cases are sampled.
constexpr std::int64_t kOracleWork = 2'000'000;

std::vector<proof::Row> sampled_rows(const proof::Geometry& geometry) {
  const std::vector<proof::Row> all = geometry.rows();
  std::int64_t work = 0;
  for (const proof::Row& row : all) {
    const proof::KeyRange keys = geometry.visible(row);
    work += std::max<std::int64_t>(keys.end - keys.begin, 0) *
            (geometry.config().head_dim + geometry.value_head_dim());
  }
  const auto step = static_cast<std::size_t>(work / kOracleWork + 1);
  std::vector<proof::Row> rows;
  for (std::size_t i = 0; i < all.size(); i += step) rows.push_back(all[i]);
  if (!all.empty() && (all.size() - 1) % step != 0) rows.push_back(all.back());
  return rows;
}

/// One case and what it must give.
class Proof {
 public:
  explicit Proof(const AttentionCase& c)
      : spoiler_(c.spoiler), case_(c.spec), random_(c.spec.seed) {
    if (spoiler_ != 0) spoil();
    rows_ = sampled_rows(case_.geometry());
    if (!bounded()) return;
    for (const proof::Row& row : rows_) {
      exact_.push_back(proof::reference_row(case_.geometry(), case_.inputs(), row));
    }
  }

  /// Runs the case on an ISA that has no fault yet, with a number of workers and a tile size of
  /// chance, which do not depend on the faults of others.
  void check(const Subject& subject, std::string_view isa, Verdict& verdict) {
    constexpr std::array<int, 6> kTiles = {0, 16, 32, 64, 128, 256};
    PlanOptions options;
    options.isa = isa;
    options.workers = static_cast<int>(1 + random_.below(4));
    options.tile_keys = random_.pick(std::span<const int>(kTiles));
    if (!verdict.passed()) return;
    const proof::TypedBuffer out(case_.config().out_type,
                                 static_cast<std::int64_t>(case_.out_size()));
    proof::GuardedBuffer lse(case_.lse_size());
    AttentionTensors tensors = case_.inputs();
    tensors.out = out.data();
    tensors.lse = lse.data();
    const Status status = subject.attend(case_.config(), case_.batch(), options, tensors);
    if (!status) return verdict.fail(describe(options) + ": " + status.message());
    const auto& oracle = oracle_rows(proof::arithmetic_of(isa));
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      verdict.count_row();
      compare_bits(i, oracle[i], tensors, options, verdict);
      if (bounded() && !is_argmax(rows_[i])) compare_exact(i, tensors, options, verdict);
    }
  }

 private:
  /// Whether the bounds of float64 hold: for finite inputs whose weights are exponentials, and
  /// logits within the range of float.
  bool bounded() const {
    return spoiler_ == 0 && case_.config().temperature > 0 &&
           case_.config().out_type == DType::f32 && case_.spec().distribution != Distribution::huge;
  }

  bool is_argmax(const proof::Row& row) const {
    return case_.geometry().temperature(case_.inputs().modifiers, row) == 0;
  }

  void spoil() {
    const proof::Geometry& geometry = case_.geometry();
    const proof::Row row{0, 0, 0};
    const std::int64_t key = geometry.keys().length(0) / 2;
    case_.k()[geometry.k(row, key)] = spoiler_;
    case_.v()[geometry.v(row, key / 2)] = spoiler_;
    case_.narrow();
  }

  const std::vector<proof::OracleRow>& oracle_rows(Arithmetic arithmetic) {
    const auto [entry, missing] = oracle_.try_emplace(arithmetic);
    if (!missing) return entry->second;
    for (const proof::Row& row : rows_) {
      entry->second.push_back(proof::oracle_row(case_.geometry(), case_.inputs(), row, arithmetic));
    }
    return entry->second;
  }

  void compare_bits(std::size_t i, const proof::OracleRow& expected, const AttentionTensors& actual,
                    const PlanOptions& options, Verdict& verdict) const {
    std::vector<float> buffer, rounded_buffer;
    const std::int64_t dims = case_.geometry().value_head_dim();
    const std::span<const float> out =
        proof::floats_of(actual.out + case_.geometry().out(rows_[i]), dims, buffer);
    const proof::TypedBuffer rounded(case_.config().out_type, dims);
    proof::narrow(expected.out, rounded.data());
    const std::span<const float> wanted = proof::floats_of(rounded.data(), dims, rounded_buffer);
    for (std::size_t x = 0; x < wanted.size(); ++x) {
      verdict.expect_bits(out[x], wanted[x],
                          [&] { return describe(options, i, fmt::format("out[{}]", x)); });
    }
    // The logarithm at the end is the kernel's own.
    verdict.expect_one_ulp(actual.lse[case_.geometry().lse(rows_[i])], expected.lse,
                           [&] { return describe(options, i, "lse"); });
  }

  void compare_exact(std::size_t i, const AttentionTensors& actual, const PlanOptions& options,
                     Verdict& verdict) const {
    const proof::Bounds bounds =
        proof::error_bounds(exact_[i], case_.config().head_dim, case_.geometry().pairs());
    const float* const out = actual.out.as<float>() + case_.geometry().out(rows_[i]);  // f32
    for (std::size_t x = 0; x < exact_[i].out.size(); ++x) {
      verdict.expect_within(out[x], exact_[i].out[x], bounds.out, [&] {
        return describe(options, i, fmt::format("out[{}] against float64", x));
      });
    }
    verdict.expect_within(actual.lse[case_.geometry().lse(rows_[i])], exact_[i].lse, bounds.lse,
                          [&] { return describe(options, i, "lse against float64"); });
  }

  std::string describe(const PlanOptions& options) const {
    return fmt::format("{}{}, {} workers, tile_keys {}", to_string(case_.spec()),
                       spoiler_ == 0 ? "" : fmt::format(", with {} in k and v", spoiler_),
                       options.workers, options.tile_keys);
  }

  std::string describe(const PlanOptions& options, std::size_t i, std::string_view what) const {
    const proof::Row& row = rows_[i];
    return fmt::format("{}: sequence {}, token {}, head {}: {}", describe(options), row.sequence,
                       row.token, row.head, what);
  }

  float spoiler_;
  proof::Case case_;
  proof::Random random_;
  std::vector<proof::Row> rows_;
  std::vector<proof::ReferenceRow> exact_;
  std::map<Arithmetic, std::vector<proof::OracleRow>> oracle_;
};

Check make_check(std::string name, std::vector<AttentionCase> cases) {
  std::uint64_t seed = 0;
  for (AttentionCase& c : cases) c.spec.seed = ++seed;
  return {std::move(name),
          [cases = std::move(cases)](const Subject& subject, std::span<const std::string_view> isas,
                                     std::span<Verdict> verdicts) {
            for (const AttentionCase& c : cases) {
              if (!any_passed(verdicts)) return;
              Proof proof(c);
              for (std::size_t i = 0; i < isas.size(); ++i) {
                proof.check(subject, isas[i], verdicts[i]);
              }
            }
          }};
}

CaseSpec single(std::int32_t queries, std::int32_t keys, std::int64_t head_dim) {
  CaseSpec spec;
  spec.config.head_dim = head_dim;
  spec.config.causal = true;
  spec.queries = {queries};
  spec.keys = {keys};
  return spec;
}

constexpr std::array<std::int32_t, 17> kEdges = {1,  7,  8,  9,   15,  16,  17,  31, 33,
                                                 48, 63, 65, 128, 129, 255, 257, 513};

Check head_dims() {
  std::vector<AttentionCase> cases;
  constexpr std::array<std::int64_t, 11> kDims = {1, 3, 16, 40, 64, 80, 96, 128, 192, 256, 511};
  for (std::size_t i = 0; i < kDims.size(); ++i) {
    for (const std::size_t j : {i, kDims.size() - 1 - i}) {
      CaseSpec spec = single(9, 40, kDims[i]);
      spec.config.value_head_dim = kDims[j];
      cases.push_back({spec});
    }
  }
  return make_check("head dimensions", std::move(cases));
}

Check lengths() {
  std::vector<AttentionCase> cases;
  for (const std::int32_t edge : kEdges) {
    for (const std::int32_t other : {1, 20, 70}) {
      cases.push_back({single(other, edge, 16)});
      cases.push_back({single(edge, other, 16)});
    }
  }
  return make_check("numbers of queries and keys", std::move(cases));
}

Check groups() {
  std::vector<AttentionCase> cases;
  for (const std::int64_t group : {1, 4, 5, 7, 71}) {
    for (const std::int32_t queries : {1, 3, 29}) {
      CaseSpec spec = single(queries, 37, 24);
      spec.config.kv_heads = 2;
      spec.config.query_heads = 2 * group;
      cases.push_back({spec});
    }
  }
  return make_check("heads that share keys", std::move(cases));
}

Check masks() {
  std::vector<AttentionCase> cases;
  for (const std::int64_t left :
       {std::int64_t{0}, std::int64_t{31}, std::int64_t{200}, kUnlimited}) {
    for (const std::int64_t right : {std::int64_t{0}, std::int64_t{5}, kUnlimited}) {
      for (const bool start : {false, true}) {
        CaseSpec spec = single(70, 300, 8);
        spec.config.causal = right == 5 && left == 31;
        spec.config.window_left = left;
        spec.config.window_right = right;
        spec.config.alignment = start ? Alignment::start : Alignment::end;
        cases.push_back({spec});
      }
    }
  }
  for (const std::int32_t prefix : {0, 33, 300}) {
    CaseSpec spec = single(70, 300, 8);
    spec.visible_prefixes = {prefix};
    cases.push_back({spec});
    spec.config.window_left = 20;
    spec.config.keep_first = 40;
    cases.push_back({spec});
  }
  return make_check("masks and windows", std::move(cases));
}

Check key_masks() {
  using proof::Pattern;
  std::vector<AttentionCase> cases;
  for (const Pattern pattern :
       {Pattern::random, Pattern::tree, Pattern::documents, Pattern::blocks, Pattern::lists}) {
    for (const MaskType type :
         {MaskType::bits, MaskType::bytes, MaskType::f32, MaskType::f16, MaskType::bf16}) {
      for (const std::int32_t queries : {2, 100}) {
        CaseSpec spec = single(queries, 600, 8);
        spec.config.query_heads = 4;
        spec.config.kv_heads = 2;
        spec.config.causal = type == MaskType::bits;
        spec.mask = {pattern, type, type != MaskType::f32, true};
        cases.push_back({spec});
      }
    }
  }
  return make_check("masks of bits, bytes and floats, and lists of keys", std::move(cases));
}

Check nothing_visible() {
  std::vector<AttentionCase> cases = {{single(40, 0, 8)}, {single(0, 9, 8)}, {single(60, 17, 8)}};
  CaseSpec ragged;
  ragged.config.head_dim = 20;
  ragged.config.causal = true;
  ragged.form = proof::Form::ragged;
  ragged.queries = {3, 0, 30, 1};
  ragged.keys = {0, 5, 12, 300};
  cases.push_back({ragged});
  return make_check("rows that see nothing", std::move(cases));
}

Check storages() {
  using proof::Form;
  using proof::Storage;
  std::vector<AttentionCase> cases;
  for (const Form form : {Form::dense, Form::padded, Form::ragged}) {
    for (const Storage storage :
         {Storage::bshd, Storage::bhsd, Storage::interleaved, Storage::spaced, Storage::pages}) {
      CaseSpec spec = single(40, 90, 20);
      spec.config.query_heads = 4;
      spec.config.kv_heads = 2;
      spec.form = form;
      spec.storage = storage;
      spec.queries = {40, 40, 40};
      spec.keys = {90, 90, 90};
      if (form != Form::dense) spec.keys = {90, 0, 270};
      cases.push_back({spec});
    }
  }
  return make_check("batches and layouts", std::move(cases));
}

Check temperatures() {
  std::vector<AttentionCase> cases;
  for (const float temperature : {0.0F, 1e-3F, 0.7F, 3.0F, kInfinity}) {
    for (const float scale : {-0.3F, 0.0F, 2.0F}) {
      CaseSpec spec = single(33, 300, 16);
      spec.config.temperature = temperature;
      spec.config.scale = scale;
      cases.push_back({spec});
    }
  }
  return make_check("temperature and scale", std::move(cases));
}

Check sizes_of_numbers() {
  std::vector<AttentionCase> cases;
  for (const Distribution distribution :
       {Distribution::sharp, Distribution::tiny, Distribution::huge}) {
    for (const std::int32_t keys : {1, 40, 300, 600}) {
      CaseSpec spec = single(50, keys, 40);
      spec.distribution = distribution;
      cases.push_back({spec});
    }
  }
  return make_check("sharp, tiny and huge numbers", std::move(cases));
}

Check not_finite() {
  std::vector<AttentionCase> cases;
  for (const float spoiler : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (const std::int32_t keys : {16, 100, 600}) {
      cases.push_back({single(40, keys, 16), spoiler});
    }
  }
  return make_check("NaN and infinity", std::move(cases));
}

/// Every type of keys and of values, alone and together with the next ones, by decode and by
/// prefill, with queries and outputs of others, and with scales of every kind.
Check element_types() {
  constexpr std::array kComputing = {DType::f32, DType::f16, DType::bf16};
  std::vector<AttentionCase> cases;
  std::size_t count = 0;
  const auto add = [&](DType k_type, DType v_type) {
    for (const std::int32_t queries : {2, 40}) {
      CaseSpec spec = single(queries, 300, 64);
      spec.config.query_heads = 4;
      spec.config.kv_heads = 2;
      spec.config.k_type = k_type;
      spec.config.v_type = v_type;
      spec.config.q_type = kComputing[++count % 3];
      spec.config.out_type = kComputing[count / 3 % 3];
      spec.scaling = static_cast<proof::Scaling>(count / 2 % 5);
      spec.zero_points = count / 2 % 3 == 0;
      cases.push_back({spec});
    }
  };
  for (std::size_t i = 0; i < std::size(kDTypes); ++i) {
    const DType type = kDTypes[i].type;
    add(type, DType::f32);
    add(DType::f32, type);
    for (int kinds = dtype_info(type).scaled ? 5 : 1; kinds > 0; --kinds) add(type, type);
    add(type, kDTypes[(i + 1) % std::size(kDTypes)].type);
  }
  return make_check("element types", std::move(cases));
}

/// Products of bf16: pairs of keys and dimensions, at the edges of masks, tiles and partitions.
Check bf16_products() {
  std::vector<AttentionCase> cases;
  for (const std::int64_t head_dim : {2, 34, 64}) {
    for (const std::int32_t queries : {1, 3, 40}) {
      for (const std::int64_t left : {std::int64_t{20}, kUnlimited}) {
        CaseSpec spec = single(queries, 299, head_dim);
        spec.config.query_heads = 4;
        spec.config.kv_heads = 2;
        spec.config.value_head_dim = 33;
        spec.config.window_left = left;
        spec.config.q_type = spec.config.k_type = spec.config.v_type = DType::bf16;
        spec.distribution = head_dim == 34 ? Distribution::tiny : Distribution::normal;
        cases.push_back({spec});
      }
    }
  }
  return make_check("products of bf16", std::move(cases));
}

/// Modifiers of scores, each alone and all together, by decode and by prefill.
Check score_modifiers() {
  using proof::Biases;
  std::vector<proof::ModifierSpec> all = {{.softcap = 5}, {.alibi = true}, {.sinks = true}};
  for (const Biases biases : {Biases::all, Biases::by_key, Biases::by_pair, Biases::by_row}) {
    all.push_back({.biases = biases, .bias_type = DType::f16});
  }
  all.push_back({3, true, true, Biases::all, DType::bf16});
  all.push_back({.temperatures = proof::Temperatures::by_head});
  all.push_back({.softcap = 3,
                 .alibi = true,
                 .sinks = true,
                 .biases = Biases::by_key,
                 .temperatures = proof::Temperatures::by_row});
  std::vector<AttentionCase> cases;
  for (const proof::ModifierSpec& modifiers : all) {
    for (const std::int32_t queries : {2, 40}) {
      for (const float temperature : {0.0F, 1.5F}) {
        CaseSpec spec = single(queries, 300, 24);
        spec.config.query_heads = 4;
        spec.config.kv_heads = 2;
        spec.config.temperature = temperature;
        spec.modifiers = modifiers;
        cases.push_back({spec});
      }
    }
  }
  return make_check("softcap, ALiBi, bias, sinks, own T", std::move(cases));
}

Check real_sizes() {
  struct Size {
    std::int64_t query_heads, kv_heads, head_dim;
    std::int32_t queries, keys;
  };
  constexpr std::array<Size, 5> kSizes = {{{8, 8, 64, 512, 512},
                                           {8, 2, 128, 300, 1000},
                                           {32, 8, 128, 1, 3000},
                                           {16, 1, 80, 5, 2000},
                                           {4, 4, 256, 130, 700}}};
  std::vector<AttentionCase> cases;
  for (const Size& size : kSizes) {
    CaseSpec spec = single(size.queries, size.keys, size.head_dim);
    spec.config.query_heads = size.query_heads;
    spec.config.kv_heads = size.kv_heads;
    spec.queries = {size.queries, size.queries};
    spec.keys = {size.keys, size.keys};
    cases.push_back({spec});
  }
  return make_check("prompts and caches of models", std::move(cases));
}

/// Everything at once, by chance.
CaseSpec random_mixture(proof::Random& random) {
  const auto below = [&](std::int64_t n) { return static_cast<std::int32_t>(random.below(n)); };
  const auto window = [&] { return random.below(2) == 0 ? kUnlimited : random.below(200); };
  CaseSpec spec;
  spec.config.head_dim = 1 + below(140);
  spec.config.value_head_dim = 1 + below(140);
  spec.config.kv_heads = 1 + below(3);
  spec.config.query_heads = spec.config.kv_heads * (1 + below(6));
  spec.config.causal = random.below(2) == 0;
  spec.config.alignment = random.below(3) == 0 ? Alignment::start : Alignment::end;
  spec.config.window_left = window();
  spec.config.window_right = window();
  spec.config.temperature = random.below(3) == 0 ? 0.6F : 1.0F;
  if (random.below(2) == 0) {
    spec.modifiers = {random.below(2) == 0 ? 0.0F : 4.0F,
                      random.below(2) == 0,
                      random.below(2) == 0,
                      static_cast<proof::Biases>(random.below(5)),
                      DType::f32,
                      static_cast<proof::Temperatures>(random.below(3))};
  }
  spec.form = random.below(2) == 0 ? proof::Form::padded : proof::Form::ragged;
  spec.storage = static_cast<proof::Storage>(random.below(5));
  for (std::int32_t sequences = 1 + below(3); sequences > 0; --sequences) {
    spec.queries.push_back(below(100));
    spec.keys.push_back(below(random.below(3) == 0 ? 900 : 150));
  }
  return spec;
}

Check mixtures() {
  constexpr int kCases = 60;
  std::vector<AttentionCase> cases;
  cases.reserve(kCases);
  proof::Random random(1);
  for (int i = 0; i < kCases; ++i) cases.push_back({random_mixture(random)});
  return make_check("mixtures of all of these", std::move(cases));
}

}  // namespace

std::vector<Check> attention_checks() {
  return {head_dims(),        lengths(),         groups(),        masks(),
          key_masks(),        nothing_visible(), storages(),      temperatures(),
          sizes_of_numbers(), not_finite(),      element_types(), bf16_products(),
          score_modifiers(),  mixtures(),        real_sizes()};
}

}  // namespace heed::tools

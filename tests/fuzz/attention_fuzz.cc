// Random descriptions of attention. Valid ones are planned and run on every ISA, with tensors of
// all element types, and must agree with the oracle in every bit; one with a number replaced is
// refused with a sentence that leaves the plan as it was, or planned.
#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/proof/case.h"
#include "tests/support/attention_run.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::CaseSpec;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

std::vector<std::int32_t> lengths(Choices& choices, std::size_t count, bool equal,
                                  std::int64_t longest) {
  std::vector<std::int32_t> all;
  for (std::size_t i = 0; i < count; ++i) {
    const bool repeat = equal && i > 0;
    all.push_back(repeat ? all[0] : static_cast<std::int32_t>(choices.below(longest)));
  }
  return all;
}

CaseSpec random_spec(Choices& choices) {
  constexpr std::int64_t windows[] = {kUnlimited, 0, 1, 5, 100, kMax - 1};
  constexpr float temperatures[] = {1, 0, 0.5F, 100, std::numeric_limits<float>::infinity()};
  CaseSpec spec;
  AttentionConfig& config = spec.config;
  config.kv_heads = 1 + choices.below(3);
  config.query_heads = config.kv_heads * (1 + choices.below(9));
  config.head_dim = 1 + choices.below(40);
  config.value_head_dim = choices.below(40);
  config.causal = choices.flip();
  config.alignment = choices.flip() ? Alignment::start : Alignment::end;
  config.window_left = choices.pick(windows);
  config.window_right = choices.pick(windows);
  config.temperature = choices.pick(temperatures);
  if (choices.flip()) config.scale = static_cast<float>(choices.below(256) - 128) / 64;
  spec.form = static_cast<proof::Form>(choices.below(3));
  spec.storage = static_cast<proof::Storage>(choices.below(5));
  spec.distribution = static_cast<proof::Distribution>(choices.below(4));
  spec.seed = static_cast<std::uint64_t>(choices.below(256));
  const auto sequences = static_cast<std::size_t>(choices.below(4));
  const bool equal = spec.form == proof::Form::dense;
  spec.queries = lengths(choices, sequences, equal, choices.flip() ? 4 : 40);
  spec.keys = lengths(choices, sequences, equal, choices.flip() ? 40 : 700);
  return spec;
}

void choose_modifiers(Choices& choices, CaseSpec& spec) {
  constexpr float softcaps[] = {0, 1, 50};
  constexpr DType types[] = {DType::f32, DType::f16, DType::bf16};
  spec.modifiers.softcap = choices.pick(softcaps);
  spec.modifiers.alibi = choices.flip();
  spec.modifiers.sinks = choices.flip();
  spec.modifiers.biases = static_cast<proof::Biases>(choices.below(5));
  spec.modifiers.bias_type = choices.pick(types);
  spec.modifiers.temperatures = static_cast<proof::Temperatures>(choices.below(3));
}

/// Gives a case a mask or lists of keys, windows that keep keys, and prefixes.
void choose_keys(Choices& choices, CaseSpec& spec) {
  spec.mask.pattern = static_cast<proof::Pattern>(choices.below(6));
  spec.mask.type = static_cast<MaskType>(choices.below(5));
  spec.mask.per_head = choices.flip();
  spec.mask.per_sequence = choices.flip();
  if (choices.flip()) spec.config.keep_first = choices.below(200);
  if (!choices.flip()) return;
  for (const std::int32_t keys : spec.keys) {
    spec.visible_prefixes.push_back(static_cast<std::int32_t>(choices.below(keys + 1)));
  }
}

/// Gives a case types; its heads become blocks where they need to be.
void choose_types(Choices& choices, CaseSpec& spec) {
  constexpr DType computing[] = {DType::f32, DType::f16, DType::bf16};
  const auto any = [&] {
    return kDTypes[static_cast<std::size_t>(choices.below(std::ssize(kDTypes)))].type;
  };
  AttentionConfig& config = spec.config;
  config.q_type = choices.pick(computing);
  config.k_type = any();
  config.v_type = any();
  config.out_type = choices.pick(computing);
  // Products of bf16 need three types by chance.
  if (choices.below(4) == 0) config.q_type = config.k_type = config.v_type = DType::bf16;
  config.products = choices.flip() ? Products::automatic : Products::f32;
  spec.scaling = static_cast<proof::Scaling>(choices.below(5));
  spec.zero_points = choices.flip();
  // Every row is compared with the oracle: few enough that an input takes well below a second.
  for (std::int32_t& queries : spec.queries) queries %= 8;
  for (std::int32_t& keys : spec.keys) keys %= 300;
  const std::int64_t block =
      std::max(dtype_info(config.k_type).block_elements, dtype_info(config.v_type).block_elements);
  if (block > 1) {
    const auto whole = [&](std::int64_t dims) { return (dims + block - 1) / block * block; };
    config.head_dim = whole(config.head_dim);
    config.value_head_dim = whole(config.value_head_dim);
    if (spec.storage == proof::Storage::spaced) spec.storage = proof::Storage::bhsd;
  }
}

/// Puts a number where another one was.
void spoil(Choices& choices, AttentionConfig& config, Batch& batch, PlanOptions& options) {
  constexpr std::int64_t numbers[] = {
      -1, 0, 1, 2, 3, 7, 384, 1024, 1025, 1 << 20, 1L << 31, kMax, kMax - 1, kMax / 2, -kMax - 1};
  constexpr float floats[] = {-1,
                              std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(),
                              0,
                              1e-38F,
                              1e38F};
  constexpr std::int64_t counts[] = {-1, 0, 1, 2, 5, 4096, kMax};
  const std::int64_t number = choices.pick(numbers);
  Layout layout{choices.pick(numbers), choices.pick(numbers), choices.pick(numbers)};
  switch (choices.below(19)) {
    case 0:
      config.query_heads = number;
      break;
    case 1:
      config.kv_heads = number;
      break;
    case 2:
      config.head_dim = number;
      break;
    case 3:
      config.value_head_dim = number;
      break;
    case 4:
      config.window_left = number;
      break;
    case 5:
      config.window_right = number;
      break;
    case 6:
      config.scale = choices.pick(floats);
      break;
    case 7:
      config.temperature = choices.pick(floats);
      break;
    case 8:
      batch.sequences = choices.pick(counts);
      break;
    case 9:
      batch.query.length = choices.pick(counts);
      break;
    case 10:
      batch.key.length = number;
      break;
    case 11:
      batch.q = layout;
      break;
    case 12:
      batch.k = layout;
      break;
    case 13:
      batch.out = layout;
      break;
    case 14:
      batch.lse = layout;
      break;
    case 15:
      batch.shard = KeyShard{number, choices.pick(numbers), {}, {}};
      break;
    case 16:
      config.k_type = static_cast<DType>(choices.below(20) - 5);
      break;
    case 17:
      options.tile_keys = static_cast<int>(number);
      break;
    default:
      options.item_rows = static_cast<int>(number);
      break;
  }
}

/// Whether a plan has so many items that sanitizers take many seconds for it: allowed, and no more
/// to be learned from than from fewer. What is refused for its number is quick.
bool takes_long(const AttentionConfig& config, const Batch& batch, const PlanOptions& options) {
  const double tokens = batch.query.offsets.empty() ? static_cast<double>(batch.sequences) *
                                                          static_cast<double>(batch.query.length)
                                                    : batch.query.offsets.back();
  const double items = tokens * static_cast<double>(config.query_heads) /
                       std::max(options.item_rows == 0 ? 64.0 : options.item_rows, 8.0);
  return items > 1 << 18 && items < 1 << 26;
}

void run_spoilt(Choices& choices, const proof::Case& c, PlanOptions options) {
  Plan plan;
  require(plan_attention(c.config(), c.batch(), options, plan).ok(), "the case can be planned");
  const std::string before = plan.describe();
  AttentionConfig config = c.config();
  Batch batch = c.batch();
  for (std::int64_t faults = 1 + choices.below(2); faults > 0; --faults) {
    spoil(choices, config, batch, options);
  }
  if (takes_long(config, batch, options)) return;
  const Status status = plan_attention(config, batch, options, plan);
  if (status.ok()) return;
  require(!status.message().empty(), "a refusal has a sentence");
  require(plan.describe() == before, "a refusal leaves the plan alone");
}

void run_valid(const proof::Case& c, const PlanOptions& options) {
  const Outputs outputs = run_case(c, options);
  const std::vector<proof::Row> rows = c.geometry().rows();
  const std::size_t step = rows.size() / 64 + 1;
  std::vector<proof::Row> sample;
  for (std::size_t i = 0; i < rows.size(); i += step) sample.push_back(rows[i]);
  if (!rows.empty()) sample.push_back(rows.back());
  expect_oracle_rows(c.geometry(), c.inputs(), outputs, sample, proof::arithmetic_of(options.isa));
}

}  // namespace
}  // namespace heed::tests

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed::tests;
  constexpr int tiles[] = {0, 16, 32, 64, 128, 256};
  Choices choices({data, size});
  const bool spoilt = choices.flip();
  static const std::vector<std::string_view> isas = supported_isas();
  require(!isas.empty(), "this processor runs a kernel of heed_for_fuzz");
  // A byte of the input, however many there are.
  const std::string_view isa = isas[static_cast<std::size_t>(choices.below(256)) % isas.size()];
  const int workers = static_cast<int>(1 + choices.below(3));
  heed::PlanOptions options = on(isa, workers, choices.pick(tiles));
  options.item_rows = static_cast<int>(choices.below(385));
  heed::proof::CaseSpec spec = random_spec(choices);
  const bool typed = choices.flip();
  if (typed) choose_types(choices, spec);
  if (!spoilt && choices.flip()) choose_modifiers(choices, spec);
  if (!spoilt && choices.flip()) choose_keys(choices, spec);
  const heed::proof::Case c(spec);
  if (spoilt) {
    run_spoilt(choices, c, options);
  } else if (typed) {
    expect_oracle(typed_run(c), options);
  } else {
    run_valid(c, options);
  }
  return 0;
}

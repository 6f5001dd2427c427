// Random calls of `sample`. Valid ones must give the tokens and probabilities of the reference of
// tests/proof/sampling_reference.h, on every ISA; one with a number replaced is refused with a
// sentence that leaves the outputs alone, or works.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "heed/sampling.h"
#include "tests/fuzz/fuzz.h"
#include "tests/proof/elements.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/proof/sampling_reference.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::kInfinity;
using proof::kNan;

/// Rows of logits that end at a guard page, with all that a call needs.
struct Call {
  Logits logits;
  std::vector<SamplingRule> rules;
  std::vector<Draw> draws;
  RunOptions options;
  proof::GuardedBuffer memory{0};
};

/// A value that is often one of a few, and else of a normal distribution.
float logit(Choices& choices, proof::Random& random, std::int64_t kind, float deviation) {
  constexpr float values[] = {0, -0.0F, 1, -kInfinity, kNan, kInfinity, 1e38F, -3e38F, 1e-40F, 88};
  if (kind == 0) return choices.pick(values);
  const auto normal = [&] { return static_cast<float>(deviation * random.normal()); };
  if (kind == 1) return static_cast<float>(random.below(4));
  if (kind == 2 && random.below(3) == 0) return -kInfinity;
  if (kind == 3 && random.below(100) == 0) return 4 * normal();
  return normal();
}

/// Some tokens at equal distances are other than the rest: a sample may see them alone, or none.
void mislead(Choices& choices, std::vector<float>& row) {
  constexpr float distances[] = {-30, -3, 3, 12};
  const std::int64_t step = 1 + choices.below(64);
  const float distance = choices.pick(distances);
  for (std::int64_t i = choices.below(step); i < std::ssize(row); i += step) {
    row[static_cast<std::size_t>(i)] += distance;
  }
}

std::vector<float> random_row(Choices& choices, std::int64_t length) {
  constexpr float deviations[] = {1, 0.01F, 4, 40};
  const std::int64_t kind = choices.below(5);
  const float deviation = choices.pick(deviations);
  proof::Random random(static_cast<std::uint64_t>(choices.below(256)));
  std::vector<float> row(static_cast<std::size_t>(length));
  for (float& z : row) z = logit(choices, random, kind, deviation);
  if (choices.flip()) mislead(choices, row);
  return row;
}

SamplingRule random_rule(Choices& choices, std::int64_t length) {
  constexpr float temperatures[] = {1, 0, 0.5F, 3, kInfinity, 1e-42F, 3e38F};
  constexpr float shares[] = {1, 0.9F, 0.5F, 0.999999F, 1e-7F, 1e-40F};
  constexpr float parts[] = {0, 0.05F, 0.5F, 1, 1e-12F};
  SamplingRule rule;
  rule.temperature = choices.pick(temperatures);
  if (choices.flip()) rule.top_k = choices.below(length + 2);
  rule.top_p = choices.pick(shares);
  if (choices.flip()) rule.top_p = static_cast<float>(1 + choices.below(65536)) / 65536;
  rule.min_p = choices.pick(parts);
  return rule;
}

std::int64_t random_length(Choices& choices) {
  switch (choices.below(4)) {
    case 0:
      return choices.below(40);
    case 1:
      return choices.below(5000);
    case 2:
      return 16384 + choices.below(4);
    default:
      return choices.below(60000);
  }
}

Call random_call(Choices& choices) {
  constexpr DType types[] = {DType::f32, DType::f16, DType::bf16};
  const DType type = choices.pick(types);
  const std::int64_t length = random_length(choices), rows = choices.below(4);
  const std::int64_t stride = choices.flip() ? length + choices.below(9) : 0;
  Call call;
  const std::int64_t elements = rows == 0 ? 0 : (rows - 1) * stride + length;
  const std::int64_t bytes = dtype_info(type).bytes(elements);
  call.memory = proof::GuardedBuffer(static_cast<std::size_t>((bytes + 3) / 4));
  std::byte* const begin =
      reinterpret_cast<std::byte*>(call.memory.data() + call.memory.size()) - bytes;
  for (std::int64_t r = 0; r < (stride == 0 ? std::min<std::int64_t>(rows, 1) : rows); ++r) {
    proof::narrow(random_row(choices, length), OutputData(begin, type) + r * stride);
  }
  call.logits = {{begin, type}, rows, length, stride};
  for (std::int64_t r = choices.flip() ? rows : 1; r > 0; --r) {
    call.rules.push_back(random_rule(choices, length));
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto word = [&] { return static_cast<std::uint64_t>(choices.below(1LL << 40)); };
    call.draws.push_back({word(), word()});
  }
  call.options.workers = static_cast<int>(choices.below(4));
  return call;
}

/// Puts a number where another one was.
void spoil(Choices& choices, Call& call) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t numbers[] = {-1, 0, 1, 3, 1 << 22, (1 << 22) + 1, most / 2, most, -most};
  constexpr float floats[] = {-1, kNan, kInfinity, 0, 1, 1.5F, 1e-40F};
  SamplingRule other;
  SamplingRule& rule = call.rules.empty() ? other : call.rules.back();
  switch (choices.below(10)) {
    case 0:
      call.logits.rows = choices.pick(numbers);
      break;
    case 1:
      call.logits.length = choices.pick(numbers);
      break;
    case 2:
      call.logits.stride = choices.pick(numbers);
      break;
    case 3:
      call.logits.data = {call.logits.data.data(), static_cast<DType>(choices.below(20) - 5)};
      break;
    case 4:
      call.logits.data = {nullptr, call.logits.data.type()};
      break;
    case 5:
      rule.temperature = choices.pick(floats);
      break;
    case 6:
      rule.top_k = choices.pick(numbers);
      break;
    case 7:
      rule.top_p = choices.pick(floats);
      break;
    case 8:
      rule.min_p = choices.pick(floats);
      break;
    default:
      call.options.workers = static_cast<int>(choices.pick(numbers));
      break;
  }
}

/// What a call writes; −7 where it has not.
struct Written {
  explicit Written(std::size_t rows) : tokens(rows, -7), probabilities(rows, -7) {}
  Samples samples() { return {tokens.data(), probabilities.data()}; }

  std::vector<std::int32_t> tokens;
  std::vector<float> probabilities;
};

/// Kept from input to input: what an earlier call has left there shows in no result.
SamplingWorkspace& kept_workspace() {
  static SamplingWorkspace workspace;
  return workspace;
}

/// Whether all that a call would read is there.
bool is_there(const Logits& logits, const Logits& before) {
  const bool fewer = logits.rows <= before.rows && logits.length <= before.length;
  return fewer && logits.stride == before.stride && logits.data == before.data;
}

void run_spoilt(Choices& choices, Call& call) {
  const Logits before = call.logits;
  spoil(choices, call);
  // What is not there may not be read: a second fault sees to that.
  const bool there = is_there(call.logits, before);
  if (!there) call.rules.assign(1, {.temperature = -1});
  Written written(call.draws.size());
  const Status status = sample(call.logits, call.rules, call.draws, written.samples(), call.options,
                               &kept_workspace());
  require(there || !status.ok(), "what is not there is refused");
  if (status.ok()) return;
  require(!status.message().empty(), "a refusal has a sentence");
  const auto untouched = [](auto value) { return value == -7; };
  require(std::ranges::all_of(written.tokens, untouched), "a refusal writes no tokens");
  require(std::ranges::all_of(written.probabilities, untouched), "nor probabilities");
}

std::vector<proof::Drawn> expected_of(const Call& call) {
  std::vector<proof::Drawn> expected;
  for (std::size_t r = 0; r < call.draws.size(); ++r) {
    const auto place = static_cast<std::int64_t>(r) * call.logits.stride;
    std::vector<float> buffer;
    const auto row = proof::floats_of(call.logits.data + place, call.logits.length, buffer);
    const SamplingRule& rule = call.rules[call.rules.size() == 1 ? 0 : r];
    expected.push_back(proof::drawn(row, rule, call.draws[r]));
  }
  return expected;
}

void run_valid(Call& call, bool keep) {
  static const std::vector<std::string_view> isas = f32_isas();
  require(!isas.empty(), "this processor runs a kernel of heed_for_fuzz");
  const std::vector<proof::Drawn> expected = expected_of(call);
  for (const std::string_view isa : isas) {
    call.options.isa = isa;
    Written written(call.draws.size());
    const Status status = sample(call.logits, call.rules, call.draws, written.samples(),
                                 call.options, keep ? &kept_workspace() : nullptr);
    require(status.ok(), "the call is valid");
    for (std::size_t r = 0; r < expected.size(); ++r) {
      require(written.tokens[r] == expected[r].token, "the token is the reference's");
      require(written.probabilities[r] == expected[r].probability, "and so is its probability");
    }
  }
}

}  // namespace
}  // namespace heed::tests

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heed::tests;
  Choices choices({data, size});
  const bool spoilt = choices.flip(), keep = choices.flip();
  Call call = random_call(choices);
  if (spoilt) {
    run_spoilt(choices, call);
  } else {
    run_valid(call, keep);
  }
  return 0;
}

#include "tests/proof/modifiers.h"

#include <algorithm>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"

namespace heed::proof {
namespace {

/// The strides, and how many elements there are.
std::int64_t lay_out(const Geometry& geometry, Biases biases, ScoreBias& bias) {
  std::int64_t keys = 0;
  for (std::int64_t b = 0; b < geometry.sequences(); ++b) {
    keys = std::max(keys, geometry.keys().length(b));
  }
  const std::int64_t heads = geometry.config().query_heads, queries = geometry.queries().slot();
  const std::int64_t sequences = geometry.queries().ragged() ? 1 : geometry.sequences();
  switch (biases) {
    case Biases::none:
      return 0;
    case Biases::all:
      bias = ScoreBias::bhqk(nullptr, heads, queries, keys);
      return sequences * heads * queries * keys;
    case Biases::by_key:
      bias = {nullptr, 0, keys, 0, 1};
      return heads * keys;
    case Biases::by_pair:
      bias = {nullptr, 0, 0, keys, 1};
      return queries * keys;
    case Biases::by_row:
      bias = {nullptr, heads * queries, queries, 1, 0};
      return sequences * heads * queries;
  }
  return 0;
}

/// Normal numbers of this deviation, one of `rarity` of them −∞.
void fill(Random& random, float deviation, std::int64_t rarity, std::span<float> numbers) {
  for (float& x : numbers) {
    x = random.below(rarity) == 0 ? -kInfinity : deviation * static_cast<float>(random.normal());
  }
}

}  // namespace

std::string to_string(const ModifierSpec& spec) {
  constexpr const char* names[] = {"", "all ", "by key ", "by pair ", "by row "};
  std::string text;
  if (spec.softcap > 0) text += "softcap " + std::to_string(spec.softcap) + " ";
  if (spec.alibi) text += "alibi ";
  if (spec.sinks) text += "sinks ";
  if (spec.temperatures == Temperatures::by_head) text += "T by head ";
  if (spec.temperatures == Temperatures::by_row) text += "T by row ";
  if (spec.biases == Biases::none) return text;
  return text.append(dtype_info(spec.bias_type).name)
      .append(" biases ")
      .append(names[static_cast<int>(spec.biases)]);
}

ModifierTensors::ModifierTensors(const Geometry& geometry, const ModifierSpec& spec,
                                 std::uint64_t seed)
    : softcap_(spec.softcap) {
  Random random(seed ^ 0x5EEDU);
  const auto heads = static_cast<std::size_t>(geometry.config().query_heads);
  if (spec.alibi) {
    slopes_.emplace(heads);
    for (float& slope : slopes_->span()) slope = 0.2F * static_cast<float>(random.normal());
  }
  if (spec.sinks) {
    sinks_.emplace(heads);
    fill(random, 3.0F, 8, sinks_->span());
  }
  const std::int64_t count = lay_out(geometry, spec.biases, bias_);
  if (spec.biases != Biases::none) {
    std::vector<float> floats(static_cast<std::size_t>(count));
    fill(random, 2.0F, 7, floats);
    biases_.emplace(spec.bias_type, count);
    if (count > 0) narrow(floats, biases_->data());
    bias_.data = biases_->data();
  }
  if (spec.temperatures != Temperatures::of_call) {
    fill_temperatures(geometry, spec.temperatures, random);
  }
}

/// Those of tokens that do not exist stay NaN.
void ModifierTensors::fill_temperatures(const Geometry& geometry, Temperatures temperatures,
                                        Random& random) {
  constexpr float choices[] = {0.0F, 0.3F, 1.0F, kInfinity, 2.5F};
  const std::int64_t heads = geometry.config().query_heads, queries = geometry.queries().slot();
  const std::int64_t sequences = geometry.queries().ragged() ? 1 : geometry.sequences();
  const bool by_head = temperatures == Temperatures::by_head;
  temperatures_.emplace(static_cast<std::size_t>(by_head ? heads : sequences * heads * queries));
  float* const data = temperatures_->data();
  row_temperatures_ =
      by_head ? RowTemperatures::per_head(data) : RowTemperatures::bhq(data, heads, queries);
  if (by_head) {
    for (float& t : temperatures_->span()) t = random.pick(std::span<const float>(choices));
    return;
  }
  for (const Row& row : geometry.rows()) {
    data[geometry.temperature_offset(row_temperatures_, row)] =
        random.pick(std::span<const float>(choices));
  }
}

ScoreModifiers ModifierTensors::modifiers() const {
  return {softcap_, slopes_ ? slopes_->data() : nullptr, bias_, sinks_ ? sinks_->data() : nullptr,
          row_temperatures_};
}

}  // namespace heed::proof

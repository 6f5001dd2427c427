// Random modifiers of scores for a description.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "heed/score_modifiers.h"
#include "tests/proof/geometry.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/typed_tensors.h"

namespace heed::proof {

/// What biases of a description share.
enum class Biases {
  none,
  all,      ///< nothing: [sequence, head, query, key]
  by_key,   ///< [head, key]
  by_pair,  ///< [query, key]
  by_row,   ///< [sequence, head, query]: one for all keys
};

/// What has a temperature of its own: 0, infinity and others among them.
enum class Temperatures { of_call, by_head, by_row };

struct ModifierSpec {
  float softcap = 0;
  bool alibi = false, sinks = false;
  Biases biases = Biases::none;
  DType bias_type = DType::f32;
  Temperatures temperatures = Temperatures::of_call;
};

/// "softcap 5 alibi sinks bf16 biases by key ", or nothing where there are none.
std::string to_string(const ModifierSpec& spec);

/// The tensors of modifiers, with guard pages around them. Some sinks and biases are −∞.
class ModifierTensors {
 public:
  ModifierTensors(const Geometry& geometry, const ModifierSpec& spec, std::uint64_t seed);

  ScoreModifiers modifiers() const;

 private:
  void fill_temperatures(const Geometry& geometry, Temperatures temperatures, Random& random);

  float softcap_;
  std::optional<GuardedBuffer> slopes_, sinks_, temperatures_;
  std::optional<TypedBuffer> biases_;
  ScoreBias bias_;
  RowTemperatures row_temperatures_;
};

}  // namespace heed::proof

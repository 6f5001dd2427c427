// A description together with random tensors that fit it, each with guard pages around it and NaN
// wherever the description says that nothing lies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/proof/geometry.h"
#include "tests/proof/guarded_buffer.h"
#include "tests/proof/inputs.h"
#include "tests/proof/masks.h"
#include "tests/proof/modifiers.h"
#include "tests/proof/typed_tensors.h"

namespace heed::proof {

/// How a batch says its lengths.
enum class Form { dense, padded, ragged };

/// How its tensors lie in memory.
enum class Storage {
  bshd,         ///< the default: no layout is given
  bhsd,         ///< heads outside tokens
  interleaved,  ///< q, k and v of a token side by side, as one projection writes them
  spaced,       ///< gaps of odd sizes between heads, tokens and sequences
  pages,        ///< tokens a multiple of 4096 bytes apart
};

/// What elements of int8 and int4 have a scale in common.
enum class Scaling {
  token,     ///< a token's vector: the default, no layout is given
  group,     ///< 16 neighbouring elements of it, where they divide it, else each one
  sequence,  ///< all vectors of a head in a sequence or in a page
  head,      ///< all vectors of a head
  channel,   ///< each element of all vectors of a head
  tensor,    ///< all elements
};

struct CaseSpec {
  AttentionConfig config;
  Form form = Form::dense;
  Storage storage = Storage::bshd;
  std::vector<std::int32_t> queries, keys;  ///< lengths, one per sequence; all equal where dense
  Distribution distribution = Distribution::normal;
  std::uint64_t seed = 1;
  Scaling scaling = Scaling::token;
  bool zero_points = false;
  ModifierSpec modifiers;
  std::vector<std::int32_t> visible_prefixes = {};  ///< as Batch has them
  MaskSpec mask = {};
};

/// Of vectors of so many heads and dimensions; nothing for the default.
std::optional<ScaleLayout> scale_layout(Scaling scaling, std::int64_t tokens, std::int64_t heads,
                                        std::int64_t dims);

/// One line that says everything needed to build the case again.
std::string to_string(const CaseSpec& spec);

class Case {
 public:
  explicit Case(const CaseSpec& spec,
                GuardedBuffer::Touching touching = GuardedBuffer::Touching::end);

  const CaseSpec& spec() const { return spec_; }
  const AttentionConfig& config() const { return spec_.config; }
  /// Refers to arrays in this object.
  Batch batch() const;
  const Geometry& geometry() const { return geometry_; }

  /// The inputs, of the types of the configuration; outputs are null.
  AttentionTensors inputs() const;
  /// The floats that the inputs are the nearest elements to, whatever their types; who changes them
  /// calls narrow().
  float* q() { return buffer(q_).data() + q_.start; }
  float* k() { return buffer(k_).data() + k_.start; }
  float* v() { return buffer(v_).data() + v_.start; }

  /// Makes inputs of other types than f32 of the floats.
  void narrow();

  /// Elements that outputs need.
  std::size_t out_size() const;
  std::size_t lse_size() const;

 private:
  struct Place {
    std::size_t buffer = 0;
    std::int64_t start = 0;
  };
  GuardedBuffer& buffer(const Place& place) { return buffers_[place.buffer]; }
  const float* at(const Place& place) const { return buffers_[place.buffer].data() + place.start; }
  bool shares_one_buffer() const;
  void place_tensors(GuardedBuffer::Touching touching);
  void fill();

  CaseSpec spec_;
  std::vector<std::int32_t> query_offsets_, key_offsets_;
  MaskTensors mask_;
  Geometry geometry_;
  std::vector<GuardedBuffer> buffers_;
  /// Where q, k or v is not of f32.
  struct Typed {
    TypedBuffer q;
    TypedSide k, v;
  };
  std::optional<Typed> typed_;
  ModifierTensors modifiers_;
  Place q_, k_, v_;
};

}  // namespace heed::proof

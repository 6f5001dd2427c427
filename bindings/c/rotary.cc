// Rotary position embedding, and the norm of what turns.
#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

namespace heed::c {

RotaryScaling to_cpp(const Path& path, const heed_rotary_scaling* given) {
  const heed_rotary_scaling c = read(path, given);
  return {
      .kind = static_cast<RotaryScalingKind>(c.kind),
      .factor = c.factor,
      .original_positions = c.original_positions,
      .low_freq_factor = c.low_freq_factor,
      .high_freq_factor = c.high_freq_factor,
      .beta_fast = c.beta_fast,
      .beta_slow = c.beta_slow,
      .truncate = c.truncate != 0,
      .mscale = c.mscale,
      .mscale_all_dim = c.mscale_all_dim,
      .attention_factor = c.attention_factor,
      .short_factors =
          elements(path.member("short_factors"), c.short_factors, c.short_factors_count),
      .long_factors = elements(path.member("long_factors"), c.long_factors, c.long_factors_count)};
}

RotaryConfig to_cpp(const Path& path, const heed_rotary_config* given) {
  const heed_rotary_config c = read(path, given);
  return {.rotary_dim = c.rotary_dim,
          .pairs = static_cast<RotaryPairs>(c.pairs),
          .base = c.base,
          .position_scale = c.position_scale,
          .positions = c.positions,
          .scaling = or_defaults(path.member("scaling"), c.scaling),
          .frequencies = elements(path.member("frequencies"), c.frequencies, c.frequencies_count),
          .factors = elements(path.member("factors"), c.factors, c.factors_count)};
}

RotaryTensors to_cpp(const Path& path, const heed_rotary_tensors* given) {
  const heed_rotary_tensors c = read(path, given);
  return {.x = to_cpp(c.x),
          .y = to_cpp(c.y),
          .heads = c.heads,
          .head_dim = c.head_dim,
          .x_layout = optional(path, c.x_layout),
          .y_layout = optional(path, c.y_layout),
          .positions = elements(path.member("positions"), c.positions, c.positions_count)};
}

RmsNorm to_cpp(const Path& path, const heed_rms_norm* given) {
  const heed_rms_norm c = read(path, given);
  return {.weight = c.weight, .weight_offset = c.weight_offset, .epsilon = c.epsilon};
}

HeadTensors to_cpp(const Path& path, const heed_head_tensors* given) {
  const heed_head_tensors c = read(path, given);
  return {.x = {c.x, static_cast<DType>(c.x_type)},
          .y = {c.y, static_cast<DType>(c.y_type)},
          .tokens = c.tokens,
          .heads = c.heads,
          .head_dim = c.head_dim,
          .x_layout = optional(path, c.x_layout),
          .y_layout = optional(path, c.y_layout)};
}

}  // namespace heed::c

using heed::c::call;
using heed::c::needed;
using heed::c::to_cpp;

heed_status heed_rotary_create(const heed_rotary_config* config, heed_rotary** rotary) {
  return call([&] {
    return heed::c::create("rotary", rotary, [&](heed_rotary& made) {
      return heed::Rotary::create(to_cpp("config", config), made.value);
    });
  });
}

void heed_rotary_destroy(heed_rotary* rotary) { delete rotary; }

heed_status heed_get_rotary_config(const heed_rotary* rotary, heed_rotary_config* config) {
  return call([&] {
    const heed::RotaryConfig& known = needed("rotary", rotary).value.config();
    auto c = heed::c::defaults<heed_rotary_config>();
    c.rotary_dim = known.rotary_dim;
    c.pairs = static_cast<heed_rotary_pairs>(known.pairs);
    c.base = known.base;
    c.position_scale = known.position_scale;
    c.positions = known.positions;
    heed::c::write("config", c, config);
  });
}

heed_status heed_rotary_frequencies(const heed_rotary* rotary, const double** frequencies,
                                    size_t* frequencies_count) {
  return call([&] {
    const std::span<const double> list = needed("rotary", rotary).value.frequencies();
    const double*& first = needed("frequencies", frequencies);
    needed("frequencies_count", frequencies_count) = list.size();
    first = list.data();
  });
}

heed_status heed_rotary_attention_factor(const heed_rotary* rotary, double* factor) {
  return call([&] {
    const heed::Rotary& known = needed("rotary", rotary).value;
    needed("factor", factor) = known.attention_factor();
  });
}

heed_status heed_rotate(const heed_rotary* rotary, const heed_rotary_tensors* tensors,
                        const heed_run_options* options) {
  return call([&] {
    return heed::rotate(needed("rotary", rotary).value, to_cpp("tensors", tensors),
                        heed::c::or_defaults("options", options));
  });
}

heed_status heed_normalise_heads(const heed_rms_norm* norm, const heed_head_tensors* tensors,
                                 const heed_run_options* options) {
  return call([&] {
    return heed::normalise_heads(to_cpp("norm", norm), to_cpp("tensors", tensors),
                                 heed::c::or_defaults("options", options));
  });
}

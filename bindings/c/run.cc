// Running plans, in one piece or in partial states, and what the weights tell.
#include <array>
#include <span>

#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

namespace heed::c {

AttentionWeights to_cpp(const Path& path, const heed_attention_weights* given) {
  const heed_attention_weights c = read(path, given);
  AttentionWeights weights{.weights = to_cpp(c.weights),
                           .entropy = c.entropy,
                           .top_weights = c.top_weights,
                           .top_keys = c.top_keys,
                           .top = c.top,
                           .mass = c.mass};
  if (c.layout != nullptr) {
    weights.layout = {c.layout->sequence_stride, c.layout->head_stride, c.layout->query_stride};
  }
  if (c.mass_layout != nullptr) {
    weights.mass_layout = {c.mass_layout->sequence_stride, c.mass_layout->head_stride};
  }
  return weights;
}

StateShape to_cpp(const heed_state_shape& c) noexcept {
  return {c.partitions, c.rows, c.value_head_dim};
}

PartialStates to_cpp(const heed_partial_states& c) noexcept {
  return {c.m, c.l, c.o, c.partitions};
}

ConstPartialStates to_cpp(const heed_const_partial_states& c) noexcept {
  return {c.m, c.l, c.o, c.partitions};
}

namespace {

/// All states of a merge, without an allocation.
class Shards {
 public:
  Shards(const heed_const_partial_states* shards, std::size_t count)
      : count_(elements("shards", shards, count).size()) {
    if (count > kMaxShards) refuse("shards has ", count, " entries; it may have ", kMaxShards);
    for (std::size_t i = 0; i < count; ++i) shards_[i] = c::to_cpp(shards[i]);
  }
  std::span<const ConstPartialStates> all() const { return std::span(shards_).first(count_); }

 private:
  std::array<ConstPartialStates, kMaxShards> shards_;
  std::size_t count_;
};

}  // namespace
}  // namespace heed::c

using heed::c::call;
using heed::c::needed;
using heed::c::or_defaults;
using heed::c::to_cpp;
using heed::c::value_of;

heed_status heed_workspace_create(heed_workspace** workspace) {
  return call([&] { return heed::c::create("workspace", workspace); });
}

void heed_workspace_destroy(heed_workspace* workspace) { delete workspace; }

heed_status heed_workspace_reserve(heed_workspace* workspace, const heed_plan* plan) {
  return call(
      [&] { return needed("workspace", workspace).value.reserve(needed("plan", plan).value); });
}

heed_status heed_workspace_reserve_weights(heed_workspace* workspace, const heed_plan* plan,
                                           const heed_attention_weights* weights) {
  return call([&] {
    return needed("workspace", workspace)
        .value.reserve(needed("plan", plan).value, to_cpp("weights", weights));
  });
}

heed_status heed_workspace_bytes(const heed_workspace* workspace, size_t* bytes) {
  return call([&] { needed("bytes", bytes) = needed("workspace", workspace).value.bytes(); });
}

heed_status heed_alibi_slopes(float* slopes, size_t count) {
  return call([&] { heed::alibi_slopes(heed::c::elements("slopes", slopes, count)); });
}

heed_status heed_run(const heed_plan* plan, const heed_attention_tensors* tensors,
                     heed_workspace* workspace, heed_executor* executor) {
  return call([&] {
    return heed::run(needed("plan", plan).value, to_cpp("tensors", tensors),
                     needed("workspace", workspace).value, value_of(executor));
  });
}

heed_status heed_run_share(const heed_plan* plan, const heed_attention_tensors* tensors,
                           heed_workspace* workspace, int ith, int nth) {
  return call([&] {
    return heed::run_share(needed("plan", plan).value, to_cpp("tensors", tensors),
                           needed("workspace", workspace).value, ith, nth);
  });
}

heed_status heed_get_attention_weights(const heed_plan* plan, const heed_attention_tensors* tensors,
                                       const heed_attention_weights* weights,
                                       heed_workspace* workspace, heed_executor* executor) {
  return call([&] {
    return heed::attention_weights(needed("plan", plan).value, to_cpp("tensors", tensors),
                                   to_cpp("weights", weights), needed("workspace", workspace).value,
                                   value_of(executor));
  });
}

heed_status heed_get_state_shape(const heed_plan* plan, heed_state_shape* shape) {
  return call([&] {
    const heed::StateShape known = heed::state_shape(needed("plan", plan).value);
    needed("shape", shape) = {known.partitions, known.rows, known.value_head_dim};
  });
}

heed_status heed_state_shape_floats(const heed_state_shape* shape, size_t* floats) {
  return call([&] { needed("floats", floats) = to_cpp(needed("shape", shape)).floats(); });
}

heed_status heed_partial_states_in(float* memory, const heed_state_shape* shape,
                                   heed_partial_states* states) {
  return call([&] {
    const auto placed =
        heed::PartialStates::in(&needed("memory", memory), to_cpp(needed("shape", shape)));
    needed("states", states) = {placed.m, placed.l, placed.o, placed.partitions};
  });
}

heed_status heed_run_partial(const heed_plan* plan, const heed_attention_tensors* tensors,
                             const heed_partial_states* states, heed_workspace* workspace,
                             heed_executor* executor) {
  return call([&] {
    return heed::run_partial(needed("plan", plan).value, to_cpp("tensors", tensors),
                             to_cpp(needed("states", states)), needed("workspace", workspace).value,
                             value_of(executor));
  });
}

heed_status heed_run_partial_share(const heed_plan* plan, const heed_attention_tensors* tensors,
                                   const heed_partial_states* states, heed_workspace* workspace,
                                   int ith, int nth) {
  return call([&] {
    return heed::run_partial_share(needed("plan", plan).value, to_cpp("tensors", tensors),
                                   to_cpp(needed("states", states)),
                                   needed("workspace", workspace).value, ith, nth);
  });
}

heed_status heed_merge(const heed_plan* plan, const heed_const_partial_states* shards, size_t count,
                       heed_output_data out, float* lse, const heed_score_modifiers* modifiers,
                       heed_executor* executor) {
  return call([&] {
    return heed::merge(needed("plan", plan).value, heed::c::Shards(shards, count).all(),
                       to_cpp(out), lse, or_defaults("modifiers", modifiers), value_of(executor));
  });
}

heed_status heed_merge_into(const heed_plan* plan, const heed_partial_states* total,
                            const heed_const_partial_states* states,
                            const heed_score_modifiers* modifiers, heed_executor* executor) {
  return call([&] {
    return heed::merge_into(needed("plan", plan).value, to_cpp(needed("total", total)),
                            to_cpp(needed("states", states)), or_defaults("modifiers", modifiers),
                            value_of(executor));
  });
}

heed_status heed_clear(const heed_plan* plan, const heed_partial_states* states) {
  return call(
      [&] { return heed::clear(needed("plan", plan).value, to_cpp(needed("states", states))); });
}

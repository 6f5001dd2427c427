// Drawing tokens from logits.
#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

namespace heed::c {

Logits to_cpp(const Path& path, const heed_logits* given) {
  const heed_logits c = read(path, given);
  return {to_cpp(c.data), c.rows, c.length, c.stride};
}

SamplingRule to_cpp(const Path& path, const heed_sampling_rule* given) {
  const heed_sampling_rule c = read(path, given);
  return {.temperature = c.temperature, .top_k = c.top_k, .top_p = c.top_p, .min_p = c.min_p};
}

std::vector<Draw> to_cpp(std::span<const heed_draw> draws) {
  std::vector<Draw> values;
  values.reserve(draws.size());
  for (const heed_draw& draw : draws) values.push_back({draw.seed, draw.counter});
  return values;
}

Samples to_cpp(const Path& path, const heed_samples* given) {
  const heed_samples c = read(path, given);
  return {c.tokens, c.probabilities};
}

}  // namespace heed::c

using heed::c::call;
using heed::c::needed;
using heed::c::to_cpp;

heed_status heed_sampling_workspace_create(heed_sampling_workspace** workspace) {
  return call([&] { return heed::c::create("workspace", workspace); });
}

void heed_sampling_workspace_destroy(heed_sampling_workspace* workspace) { delete workspace; }

heed_status heed_sampling_workspace_reserve(heed_sampling_workspace* workspace, int64_t length,
                                            int workers) {
  return call([&] { return needed("workspace", workspace).value.reserve(length, workers); });
}

heed_status heed_sampling_workspace_bytes(const heed_sampling_workspace* workspace, size_t* bytes) {
  return call([&] { needed("bytes", bytes) = needed("workspace", workspace).value.bytes(); });
}

heed_status heed_sample(const heed_logits* logits, const heed_sampling_rule* rules,
                        size_t rules_count, const heed_draw* draws, size_t draws_count,
                        const heed_samples* samples, const heed_run_options* options,
                        heed_sampling_workspace* workspace) {
  return call([&] {
    return heed::sample(to_cpp("logits", logits), heed::c::array("rules", rules, rules_count),
                        to_cpp(heed::c::elements("draws", draws, draws_count)),
                        to_cpp("samples", samples), heed::c::or_defaults("options", options),
                        workspace == nullptr ? nullptr : &workspace->value);
  });
}

#include "heed/layer.h"
#include "runtime/base/message.h"
#include "runtime/layer/products.h"
#include "runtime/layer/step.h"

namespace heed {
namespace {

using detail::check_linear;
using detail::invalid;
using detail::multiply;
using detail::StepData;

/// The step's attention is that of a layer with these maps.
bool fits(const LayerConfig& config, const Linear& q, const Linear& k, const Linear& v) {
  const AttentionConfig& a = config.attention;
  return config.dim == q.inputs && a.query_heads * a.head_dim == q.outputs &&
         a.kv_heads * a.head_dim == k.outputs && a.kv_heads * a.value_head_dim == v.outputs;
}

Status check_tensors(const StepData& step, const KvPages& pages, const float* x, const float* y) {
  if (x == nullptr) return invalid("x must not be null");
  if (y == nullptr) return invalid("y must not be null");
  if (pages.k == nullptr) return invalid("pages.k must not be null");
  if (pages.v == nullptr) return invalid("pages.v must not be null");
  if (pages.k.type() == step.now.k_type && pages.v.type() == step.now.v_type) return {};
  return invalid("pages must be of the types of the cache that the step was prepared with");
}

/// Whether a norm of so many dimensions can be used: a layer without tokens says what is wrong.
Status check_norm(const char* name, const std::optional<RmsNorm>& norm, std::int64_t dims) {
  if (!norm) return {};
  const Status status = normalise_heads(*norm, {.head_dim = dims}, {.workers = 1});
  return status.ok() ? status : detail::failure(status.code(), name, ": ", status.message());
}

Status normalise(const std::optional<RmsNorm>& norm, std::int64_t heads, const StepData& step,
                 std::vector<float>& x) {
  if (!norm) return {};
  return normalise_heads(*norm,
                         {.x = x.data(),
                          .y = x.data(),
                          .tokens = step.now.rows(),
                          .heads = heads,
                          .head_dim = step.config.attention.head_dim},
                         step.options);
}

Status rotate_queries(StepData& step) {
  if (step.config.rotary == nullptr) return {};
  return rotate(*step.config.rotary,
                {.x = step.scratch.q.data(),
                 .y = step.scratch.q.data(),
                 .heads = step.config.attention.query_heads,
                 .head_dim = step.config.attention.head_dim,
                 .positions = step.now.positions},
                step.options);
}

Status append_keys_and_values(StepData& step, const KvPages& pages) {
  NewTokens tokens{.k = step.scratch.k.data(), .v = step.scratch.v.data(), .slots = step.now.slots};
  tokens.rotary = step.config.rotary;
  if (tokens.rotary != nullptr) tokens.positions = step.now.positions;
  return append(step.now.layout, pages, tokens, step.options);
}

Status attend(StepData& step, const KvPages& pages) {
  AttentionTensors tensors{
      .q = step.scratch.q.data(), .k = pages.k, .v = pages.v, .out = step.scratch.context.data()};
  tensors.k_scales = pages.k_scales;
  tensors.v_scales = pages.v_scales;
  tensors.tables = {.pages = step.now.page_numbers, .indptr = step.now.page_offsets};
  return run(step.now.plan, tensors, step.workspace, step.options.executor);
}

}  // namespace

Status MultiHeadAttention::create(const LayerConfig& config, const LayerWeights& weights,
                                  MultiHeadAttention& layer) noexcept {
  return detail::guarded([&]() -> Status {
    LayerConfig complete = config;
    HEED_RETURN_IF_ERROR(detail::complete_config(complete));
    const AttentionConfig& a = complete.attention;
    const std::int64_t dim = complete.dim;
    const LayerWeights& w = weights;
    MultiHeadAttention made;
    made.q_ = {w.wq, w.bq, a.query_heads * a.head_dim, dim};
    made.k_ = {w.wk, w.bk, a.kv_heads * a.head_dim, dim};
    made.v_ = {w.wv, w.bv, a.kv_heads * a.value_head_dim, dim};
    made.o_ = {w.wo, w.bo, dim, a.query_heads * a.value_head_dim};
    HEED_RETURN_IF_ERROR(check_linear("wq", made.q_));
    HEED_RETURN_IF_ERROR(check_linear("wk", made.k_));
    HEED_RETURN_IF_ERROR(check_linear("wv", made.v_));
    HEED_RETURN_IF_ERROR(check_linear("wo", made.o_));
    HEED_RETURN_IF_ERROR(check_norm("q_norm", w.q_norm, a.head_dim));
    HEED_RETURN_IF_ERROR(check_norm("k_norm", w.k_norm, a.head_dim));
    made.q_norm_ = w.q_norm;
    made.k_norm_ = w.k_norm;
    layer = made;
    return {};
  });
}

Status MultiHeadAttention::forward(AttentionStep& step, const KvPages& pages, const float* x,
                                   float* y) const noexcept {
  return detail::guarded([&]() -> Status {
    if (q_.weight == nullptr) return invalid("the layer must have been created");
    if (step.data() == nullptr) return invalid("the step must have been created");
    StepData& s = *step.data();
    const std::int64_t tokens = step.tokens();
    if (!fits(s.config, q_, k_, v_)) {
      return invalid("the step must have been created with the configuration of the layer");
    }
    if (tokens == 0) return {};
    HEED_RETURN_IF_ERROR(check_tensors(s, pages, x, y));
    HEED_RETURN_IF_ERROR(multiply(q_, tokens, x, s.scratch.q.data(), s.options));
    HEED_RETURN_IF_ERROR(multiply(k_, tokens, x, s.scratch.k.data(), s.options));
    HEED_RETURN_IF_ERROR(multiply(v_, tokens, x, s.scratch.v.data(), s.options));
    const AttentionConfig& a = s.config.attention;
    HEED_RETURN_IF_ERROR(normalise(q_norm_, a.query_heads, s, s.scratch.q));
    HEED_RETURN_IF_ERROR(normalise(k_norm_, a.kv_heads, s, s.scratch.k));
    HEED_RETURN_IF_ERROR(rotate_queries(s));
    HEED_RETURN_IF_ERROR(append_keys_and_values(s, pages));
    HEED_RETURN_IF_ERROR(attend(s, pages));
    return multiply(o_, tokens, s.scratch.context.data(), y, s.options);
  });
}

}  // namespace heed

#include "heed/rotary.h"

#include <cmath>
#include <limits>
#include <utility>

#include "runtime/base/check_executor.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/cache/rotary_frequencies.h"
#include "runtime/cache/token_vectors.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace {

using detail::guarded;
using detail::invalid;
using detail::Region;
using kernels::TokenVectors;

Status check_config(const RotaryConfig& c) {
  HEED_RETURN_IF_ERROR(detail::check_frequencies(c));
  if (c.pairs != RotaryPairs::adjacent && c.pairs != RotaryPairs::halves) {
    return invalid("pairs (", static_cast<int>(c.pairs), ") must be adjacent or halves");
  }
  if (!std::isfinite(c.position_scale)) {
    return invalid("position_scale (", c.position_scale, ") must be finite");
  }
  return detail::check_range("positions", c.positions, 1, detail::kMaxCount);
}

/// Whether all angles, and what cosines and sines become, are numbers.
Status check_numbers(const RotaryConfig& c, std::span<const double> frequencies, double factor) {
  const double last = static_cast<double>(c.positions - 1) * c.position_scale;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    if (std::isfinite(frequencies[i]) && std::isfinite(last * frequencies[i])) continue;
    return invalid("position_scale (", c.position_scale, ") and the frequency of pair ", i, " (",
                   frequencies[i], ") give angles beyond the range of double");
  }
  if (factor <= static_cast<double>(std::numeric_limits<float>::max())) return {};
  return invalid("attention_factor (", factor, ") must be in the range of float");
}

/// For each position the cosines of all pairs, then their sines, times the attention factor.
std::vector<float> rotations(const RotaryConfig& c, std::span<const double> frequencies,
                             double factor) {
  // Kernels may read a vector past the last row.
  constexpr std::size_t past_end = kernels::kAlignment / sizeof(float);
  std::vector<float> table(static_cast<std::size_t>(c.positions * c.rotary_dim) + past_end);
  auto to = table.begin();
  for (std::int64_t p = 0; p < c.positions; ++p) {
    const double position = static_cast<double>(p) * c.position_scale;
    for (const double f : frequencies) *to++ = static_cast<float>(factor * std::cos(position * f));
    for (const double f : frequencies) *to++ = static_cast<float>(factor * std::sin(position * f));
  }
  return table;
}

/// Whether y is x, or shares no element with it; and none with the positions.
Status check_places(const Region& x, const Region& y, bool same_type,
                    std::span<const std::int64_t> positions) {
  const Region numbers({"positions"}, positions);
  const Region in_place[] = {numbers}, apart[] = {x, numbers};
  if (same_type && x.same_place(y)) return detail::check_regions({&y, 1}, in_place);
  return detail::check_regions({&y, 1}, apart);
}

Status describe(const Rotary& rotary, const RotaryTensors& t, TokenVectors& v) {
  HEED_RETURN_IF_ERROR(detail::check_range("heads", t.heads, 1, detail::kMaxCount));
  HEED_RETURN_IF_ERROR(detail::check_range("head_dim", t.head_dim, 1, kMaxHeadDim));
  v.x = static_cast<const std::byte*>(t.x.data());
  v.y = static_cast<std::byte*>(t.y.data());
  v.x_type = t.x.type();
  v.y_type = t.y.type();
  v.tokens = static_cast<std::int64_t>(t.positions.size());
  v.page_tokens = std::numeric_limits<std::int64_t>::max();  // all in the first page
  v.heads = static_cast<std::int32_t>(t.heads);
  v.dims = static_cast<std::int32_t>(t.head_dim);
  const detail::TokenTensor x{"x", t.x, t.x_layout, v.tokens, t.heads, t.head_dim};
  const detail::TokenTensor y{"y", t.y, t.y_layout, v.tokens, t.heads, t.head_dim};
  HEED_RETURN_IF_ERROR(detail::check_input(x, v.x_stride));
  HEED_RETURN_IF_ERROR(detail::check_output(y, v.y_stride));
  HEED_RETURN_IF_ERROR(check_places(detail::region_of(x), detail::region_of(y),
                                    t.x.type() == t.y.type(), t.positions));
  return detail::set_rotation(rotary, t.positions, v);
}

}  // namespace

Status Rotary::create(const RotaryConfig& config, Rotary& rotary) noexcept {
  return guarded([&]() -> Status {
    const detail::FloatEnvironment environment;  // before the first arithmetic: nothing may trap
    HEED_RETURN_IF_ERROR(check_config(config));
    Rotary made;
    made.frequencies_ = detail::rotary_frequencies(config);
    made.attention_factor_ = detail::rotary_attention_factor(config);
    HEED_RETURN_IF_ERROR(check_numbers(config, made.frequencies_, made.attention_factor_));
    made.table_ = rotations(config, made.frequencies_, made.attention_factor_);
    made.config_ = config;
    RotaryConfig& kept = made.config_;
    kept.frequencies = kept.factors = kept.scaling.short_factors = kept.scaling.long_factors = {};
    rotary = std::move(made);
    return {};
  });
}

Status rotate(const Rotary& rotary, const RotaryTensors& tensors,
              const RunOptions& options) noexcept {
  return guarded([&]() -> Status {
    TokenVectors vectors;
    int workers = 1;
    const kernels::KernelTable* table = nullptr;
    HEED_RETURN_IF_ERROR(describe(rotary, tensors, vectors));
    HEED_RETURN_IF_ERROR(detail::check_executor(options.executor));
    HEED_RETURN_IF_ERROR(detail::complete_workers(options.workers, workers));
    HEED_RETURN_IF_ERROR(detail::select_kernels(options.isa, table));
    return detail::parallel_for_rows(
        vectors.tokens, tensors.heads * tensors.head_dim, workers, options.executor,
        [&](std::int64_t first, std::int64_t count) {
          table->write_kv_slots(detail::rows_from(vectors, first, count));
        });
  });
}

}  // namespace heed

#include "heed/rotary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/base/check_executor.h"
#include "runtime/base/float_environment.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/cache/token_vectors.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace {

using detail::guarded;
using detail::invalid;
using detail::Region;
using kernels::TokenVectors;

/// What a position is multiplied by to give the angle of pair i. The exponent is rounded, which
/// costs |ln base| · 2⁻⁵³ of the angle, the power by up to two, and two products: the angle is
/// within |θ| · (4 + |ln base|) · 2⁻⁵³, and a cosine or sine, rounded to float, 2⁻²⁵ more.
double frequency(const RotaryConfig& c, std::int64_t i) {
  return std::pow(c.base, -2.0 * static_cast<double>(i) / static_cast<double>(c.rotary_dim));
}

Status check_angles(const RotaryConfig& c) {
  const double last = static_cast<double>(c.positions - 1) * c.position_scale;
  const double fastest = std::max(frequency(c, 0), frequency(c, c.rotary_dim / 2 - 1));
  if (std::isfinite(last * fastest)) return {};
  return invalid("base (", c.base, ") and position_scale (", c.position_scale,
                 ") give angles beyond the range of double");
}

Status check_config(const RotaryConfig& c) {
  HEED_RETURN_IF_ERROR(detail::check_range("rotary_dim", c.rotary_dim, 2, kMaxHeadDim));
  if (c.rotary_dim % 2 != 0) return invalid("rotary_dim (", c.rotary_dim, ") must be even");
  if (c.pairs != RotaryPairs::adjacent && c.pairs != RotaryPairs::halves) {
    return invalid("pairs (", static_cast<int>(c.pairs), ") must be adjacent or halves");
  }
  if (!(c.base > 0) || !std::isfinite(c.base)) {
    return invalid("base (", c.base, ") must be above 0 and finite");
  }
  if (!std::isfinite(c.position_scale)) {
    return invalid("position_scale (", c.position_scale, ") must be finite");
  }
  HEED_RETURN_IF_ERROR(detail::check_range("positions", c.positions, 1, detail::kMaxCount));
  return check_angles(c);
}

std::vector<double> frequencies(const RotaryConfig& c) {
  std::vector<double> list(static_cast<std::size_t>(c.rotary_dim / 2));
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i] = frequency(c, static_cast<std::int64_t>(i));
  }
  return list;
}

/// For each position the cosines of all pairs, then their sines.
std::vector<float> rotations(const RotaryConfig& c) {
  const std::vector<double> per_position = frequencies(c);
  // Kernels may read a vector past the last row.
  constexpr std::size_t past_end = kernels::kAlignment / sizeof(float);
  std::vector<float> table(static_cast<std::size_t>(c.positions * c.rotary_dim) + past_end);
  auto to = table.begin();
  for (std::int64_t p = 0; p < c.positions; ++p) {
    const double position = static_cast<double>(p) * c.position_scale;
    for (const double f : per_position) *to++ = static_cast<float>(std::cos(position * f));
    for (const double f : per_position) *to++ = static_cast<float>(std::sin(position * f));
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
    made.config_ = config;
    made.table_ = rotations(config);
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

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "heed/kv_cache.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/paged_layout.h"
#include "runtime/base/regions.h"
#include "runtime/base/scale_layout.h"
#include "runtime/cache/token_vectors.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace {

/// Stretches of slots that are compared: they take 16 KiB of the stack, and sorting them less than
/// a twentieth of the time that it takes to write their tokens.
constexpr std::size_t kMostStretches = 1024;

using detail::guarded;
using detail::invalid;
using detail::Region;
using kernels::TokenVectors;

/// Slots that follow each other.
struct Stretch {
  std::int64_t first, last;
};

/// Whether a slot is given twice, where the slots are few stretches: new tokens are one for each
/// page at most where they are those of a prompt, one for each sequence in a step of decoding.
Status check_distinct(std::span<const std::int64_t> slots) {
  std::array<Stretch, kMostStretches> stretches;
  std::size_t count = 0;
  bool ascending = true;
  for (const std::int64_t slot : slots) {
    if (slot < 0) continue;
    if (count > 0 && slot == stretches[count - 1].last + 1) {
      ++stretches[count - 1].last;
      continue;
    }
    if (count == kMostStretches) return {};
    ascending = ascending && (count == 0 || slot > stretches[count - 1].last);
    stretches[count++] = {slot, slot};
  }
  if (ascending) return {};
  const auto all = std::span(stretches).first(count);
  std::ranges::sort(all, {}, &Stretch::first);
  const auto overlap = [](const Stretch& a, const Stretch& b) { return b.first <= a.last; };
  const auto twice = std::ranges::adjacent_find(all, overlap);
  if (twice == all.end()) return {};
  return invalid("slots: ", (twice + 1)->first, " is there twice; a slot takes one token");
}

Status check_slots(const PagedLayout& layout, std::span<const std::int64_t> slots) {
  const std::int64_t end = layout.pages * layout.page_tokens;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] < end) continue;
    return invalid("slots[", i, "] (", slots[i], ") must be below ", end, ": there are ",
                   layout.pages, " pages of ", layout.page_tokens, " tokens");
  }
  return check_distinct(slots);
}

/// The keys or the values, and their places.
struct Side {
  detail::TokenTensor tokens;
  const char* pool_name;
  OutputData pool;
  const PageStrides& strides;
  const char* scales_name;
  MutableScales scales;
  const std::optional<ScaleLayout>& scale_layout;
};

detail::ScaledVectors scaled_vectors(const PagedLayout& layout, std::int64_t dims) {
  return {layout.pages, layout.page_tokens, layout.kv_heads, dims};
}

/// Whether a pool is of a known type, and of whole blocks of it.
Status check_pool(const PagedLayout& layout, const Side& side) {
  const DType type = side.pool.type();
  HEED_RETURN_IF_ERROR(detail::check_type_of(side.pool_name, type, false));
  return detail::check_blocks(side.pool_name, type,
                              detail::pool_shape(layout, side.strides, side.tokens.dims));
}

/// Checks and describes the scales of a pool of codes.
Status describe_scales(const PagedLayout& layout, bool needed, const Side& side,
                       kernels::ScaleSlots& slots) {
  const DType type = side.pool.type();
  const detail::ScaledVectors vectors = scaled_vectors(layout, side.tokens.dims);
  HEED_RETURN_IF_ERROR(
      detail::check_scale_layout(side.scales_name, side.scale_layout, type, vectors));
  HEED_RETURN_IF_ERROR(detail::check_given_scales(side.scales_name, side.scales, type, needed));
  if (!dtype_info(type).scaled) return {};
  const ScaleLayout scales = detail::complete_scales(side.scale_layout, type, vectors);
  slots.scale = side.scales.scales;
  slots.zero_point = side.scales.zero_points;
  slots.stride = {scales.token_stride, scales.head_stride};
  slots.page = scales.sequence_stride;
  slots.group = static_cast<std::int32_t>(scales.group);
  slots.written = detail::has_own_scales(scales, layout.page_tokens);
  if (!slots.written) return {};
  const detail::StridedShape shape = detail::scale_shape(scales, type, vectors);
  return detail::check_apart(side.scales_name, shape.axes, shape.dims);
}

Status describe(const PagedLayout& layout, std::span<const std::int64_t> slots, const Side& side,
                TokenVectors& v) {
  HEED_RETURN_IF_ERROR(detail::check_input(side.tokens, v.x_stride));
  if (!slots.empty() && side.pool == nullptr) return invalid(side.pool_name, " must not be null");
  HEED_RETURN_IF_ERROR(check_pool(layout, side));
  const DTypeInfo& type = dtype_info(side.pool.type());
  v.x = static_cast<const std::byte*>(side.tokens.data.data());
  v.y = static_cast<std::byte*>(side.pool.data());
  v.x_type = side.tokens.data.type();
  v.y_type = side.pool.type();
  v.y_stride = {detail::stride_bytes(side.strides.token, type),
                detail::stride_bytes(side.strides.head, type)};
  v.y_page_stride = detail::stride_bytes(side.strides.page, type);
  v.page_tokens = layout.page_tokens;
  v.slots = slots.data();
  v.tokens = side.tokens.tokens;
  v.heads = static_cast<std::int32_t>(side.tokens.heads);
  v.dims = static_cast<std::int32_t>(side.tokens.dims);
  return describe_scales(layout, !slots.empty(), side, v.y_scales);
}

/// What is written, and what is read.
struct Places {
  std::array<Region, 6> outputs, inputs;
  std::size_t written = 0, read = 0;

  void write(const Region& region) { outputs[written++] = region; }
  void read_from(const Region& region) { inputs[read++] = region; }
};

/// The pool of one side, and its scales, which are written or read.
void add_places(const PagedLayout& layout, const Side& side, const TokenVectors& v,
                Places& places) {
  const DType type = side.pool.type();
  const std::int64_t dims = side.tokens.dims;
  places.write(
      {{side.pool_name}, side.pool.data(), detail::pool_shape(layout, side.strides, dims), type});
  const detail::ScaledVectors vectors = scaled_vectors(layout, dims);
  const detail::StridedShape shape =
      detail::scale_shape(detail::complete_scales(side.scale_layout, type, vectors), type, vectors);
  const Region scales({side.scales_name, ".scales"}, side.scales.scales, shape);
  const Region zero_points({side.scales_name, ".zero_points"}, side.scales.zero_points, shape);
  for (const Region& region : {scales, zero_points}) {
    v.y_scales.written ? places.write(region) : places.read_from(region);
  }
}

/// Whether all tensors are aligned, and what is written overlaps neither itself nor what is read.
Status check_places(const PagedLayout& layout, const NewTokens& t, const Side& keys,
                    const TokenVectors& k, const Side& values, const TokenVectors& v) {
  if (t.slots.empty()) return {};
  Places places;
  add_places(layout, keys, k, places);
  add_places(layout, values, v, places);
  const Region inputs[] = {detail::region_of(keys.tokens),
                           detail::region_of(values.tokens),
                           {{"slots"}, t.slots},
                           {{"positions"}, t.positions}};
  const auto outputs = std::span(places.outputs).first(places.written);
  HEED_RETURN_IF_ERROR(detail::check_regions(outputs, inputs));
  return detail::check_regions(outputs, std::span(places.inputs).first(places.read));
}

Status describe(const PagedLayout& layout, const KvPages& pages, const NewTokens& t,
                TokenVectors& k, TokenVectors& v) {
  HEED_RETURN_IF_ERROR(detail::check_paged_layout(layout));
  HEED_RETURN_IF_ERROR(check_slots(layout, t.slots));
  const auto tokens = static_cast<std::int64_t>(t.slots.size());
  const Side keys{{"k", t.k, t.k_layout, tokens, layout.kv_heads, layout.head_dim},
                  "pages.k",
                  pages.k,
                  layout.k,
                  "pages.k_scales",
                  pages.k_scales,
                  layout.k_scales};
  const Side values{{"v", t.v, t.v_layout, tokens, layout.kv_heads, layout.value_head_dim},
                    "pages.v",
                    pages.v,
                    layout.v,
                    "pages.v_scales",
                    pages.v_scales,
                    layout.v_scales};
  HEED_RETURN_IF_ERROR(describe(layout, t.slots, keys, k));
  HEED_RETURN_IF_ERROR(describe(layout, t.slots, values, v));
  HEED_RETURN_IF_ERROR(check_places(layout, t, keys, k, values, v));
  if (t.rotary != nullptr) return detail::set_rotation(*t.rotary, t.positions, k);
  if (t.positions.empty()) return {};
  return invalid("positions has ", t.positions.size(), " entries; without rotary it must be empty");
}

}  // namespace

Status append(const PagedLayout& layout, const KvPages& pages, const NewTokens& tokens,
              const RunOptions& options) noexcept {
  return guarded([&]() -> Status {
    TokenVectors k, v;
    int workers = 1;
    const kernels::KernelTable* table = nullptr;
    HEED_RETURN_IF_ERROR(describe(layout, pages, tokens, k, v));
    HEED_RETURN_IF_ERROR(detail::check_executor(options.executor));
    HEED_RETURN_IF_ERROR(detail::complete_workers(options.workers, workers));
    HEED_RETURN_IF_ERROR(detail::select_kernels(options.isa, table));
    return detail::parallel_for_rows(
        k.tokens, layout.kv_heads * (layout.head_dim + layout.value_head_dim), workers,
        options.executor, [&](std::int64_t first, std::int64_t count) {
          table->write_kv_slots(detail::rows_from(k, first, count));
          table->write_kv_slots(detail::rows_from(v, first, count));
        });
  });
}

}  // namespace heed

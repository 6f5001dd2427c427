#include "heed/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/interface.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/paged_layout.h"
#include "runtime/base/regions.h"
#include "runtime/base/scale_layout.h"

namespace heed {
namespace {

using detail::guarded;
using detail::StridedShape;

// A huge page of x86-64, and of aarch64 with pages of 4 KiB: memory that begins and ends at one can
// be mapped by them throughout.
constexpr std::int64_t kHugePage = std::int64_t{1} << 21;

std::int64_t round_up(std::int64_t count, std::int64_t step) {
  return (count + step - 1) / step * step;
}

/// How the keys and the values of a layer lie together, in bytes.
struct LayerPlan {
  std::int64_t first_value;  ///< from the first key
  std::int64_t bytes;        ///< of both, rounded up so that the next layer is aligned
};

/// Values lie after all keys, or, where the strides leave room for them, after the keys of a
/// token's head, of a token or of a page.
LayerPlan plan_layer(const KvCacheConfig& config) {
  constexpr auto line = static_cast<std::int64_t>(kernels::kAlignment);
  const PagedLayout& layout = config.layout;
  const DTypeInfo &k_type = dtype_info(config.k_type), &v_type = dtype_info(config.v_type);
  const StridedShape k =
      detail::in_bytes(detail::pool_shape(layout, layout.k, layout.head_dim), k_type);
  const StridedShape v =
      detail::in_bytes(detail::pool_shape(layout, layout.v, layout.value_head_dim), v_type);
  const std::int64_t keys = k_type.bytes(detail::pool_elements(layout, layout.k, layout.head_dim));
  const std::int64_t values =
      v_type.bytes(detail::pool_elements(layout, layout.v, layout.value_head_dim));
  LayerPlan best{round_up(keys, line), round_up(round_up(keys, line) + values, line)};
  for (const detail::Axis& outer : k.axes) {
    std::int64_t reach = k.dims;  // of the keys within a step of this axis
    for (const detail::Axis& axis : k.axes) {
      if (axis.stride < outer.stride) reach += (axis.count - 1) * axis.stride;
    }
    if (reach % v_type.alignment != 0) continue;
    const std::int64_t bytes = round_up(std::max(keys, reach + values), line);
    if (bytes < best.bytes && detail::interleave(k, v, reach)) best = {reach, bytes};
  }
  return best;
}

/// The scales of keys or of values.
struct LayerScales {
  ScaleLayout layout;      ///< complete; of no group where the type has no scales
  std::int64_t bytes = 0;  ///< of scales, or of zero points, rounded up
};

LayerScales scales_of(const PagedLayout& layout, DType type,
                      const std::optional<ScaleLayout>& given, std::int64_t dims) {
  if (!dtype_info(type).scaled) return {};
  const ScaleLayout s = detail::complete_scales(
      given, type, {layout.pages, layout.page_tokens, layout.kv_heads, dims});
  const std::int64_t floats = (layout.pages - 1) * s.sequence_stride +
                              (layout.page_tokens - 1) * s.token_stride +
                              (layout.kv_heads - 1) * s.head_stride + dims / s.group;
  return {s, round_up(floats * static_cast<std::int64_t>(sizeof(float)),
                      static_cast<std::int64_t>(kernels::kAlignment))};
}

LayerScales key_scales(const PagedLayout& layout, DType type) {
  return scales_of(layout, type, layout.k_scales, layout.head_dim);
}

LayerScales value_scales(const PagedLayout& layout, DType type) {
  return scales_of(layout, type, layout.v_scales, layout.value_head_dim);
}

/// Whether scales and zero points are described for types that have them only.
Status check_scales(const KvCacheConfig& c) {
  const PagedLayout& l = c.layout;
  const auto check = [&](const char* name, const std::optional<ScaleLayout>& scales, DType type,
                         std::int64_t dims, const char* zero_points, bool wanted) -> Status {
    HEED_RETURN_IF_ERROR(
        detail::check_scale_layout(name, scales, type, {l.pages, l.page_tokens, l.kv_heads, dims}));
    if (!wanted || dtype_info(type).scaled) return {};
    return detail::invalid(zero_points, " are for int8 and int4; elements of ",
                           detail::name_of(type), " have none");
  };
  HEED_RETURN_IF_ERROR(
      check("layout.k_scales", l.k_scales, c.k_type, l.head_dim, "k_zero_points", c.k_zero_points));
  HEED_RETURN_IF_ERROR(check("layout.v_scales", l.v_scales, c.v_type, l.value_head_dim,
                             "v_zero_points", c.v_zero_points));
  return {};
}

/// Whether the scales of a layer fit the address space beside its `bytes` of keys and values.
Status check_scale_bytes(const KvCacheConfig& c, std::int64_t bytes) {
  const std::int64_t most = (std::numeric_limits<std::ptrdiff_t>::max() - kHugePage - bytes) / 4;
  const std::int64_t k = key_scales(c.layout, c.k_type).bytes;
  const std::int64_t v = value_scales(c.layout, c.v_type).bytes;
  if (k <= most && v <= most) return {};
  return detail::invalid("layout: the scales of a layer (", k, " and ", v,
                         " bytes) reach beyond the address space");
}

/// Whether keys and values of a layer take so few bytes that sums of both, rounded up, fit int64.
Status check_layer(const KvCacheConfig& c) {
  constexpr std::int64_t most = std::numeric_limits<std::ptrdiff_t>::max() / 2 - kHugePage;
  const PagedLayout& l = c.layout;
  const std::int64_t keys = dtype_info(c.k_type).bytes(detail::pool_elements(l, l.k, l.head_dim));
  const std::int64_t values =
      dtype_info(c.v_type).bytes(detail::pool_elements(l, l.v, l.value_head_dim));
  if (keys <= most && values <= most) return {};
  return detail::invalid("layout: a layer of ", keys, " bytes of keys and ", values,
                         " of values reaches beyond the address space");
}

Status check_size(std::int64_t layers, std::int64_t layer_bytes) {
  constexpr std::int64_t most = std::numeric_limits<std::ptrdiff_t>::max();
  if (layers <= (most - kHugePage) / layer_bytes) return {};
  return detail::invalid("layers (", layers, ") of ", layer_bytes,
                         " bytes reach beyond the address space");
}

/// Whether keys and values are of known types, and pages of whole blocks of them.
Status check_types(const KvCacheConfig& c) {
  HEED_RETURN_IF_ERROR(detail::check_type("k_type", c.k_type, false));
  HEED_RETURN_IF_ERROR(detail::check_type("v_type", c.v_type, false));
  HEED_RETURN_IF_ERROR(detail::check_blocks(
      "k", c.k_type, detail::pool_shape(c.layout, c.layout.k, c.layout.head_dim)));
  return detail::check_blocks("v", c.v_type,
                              detail::pool_shape(c.layout, c.layout.v, c.layout.value_head_dim));
}

/// Copies the first tokens of one page of a pool to another.
void copy_tokens(const PagedLayout& layout, const PageStrides& strides, std::int64_t dims,
                 const OutputData& pool, const PageCopy& copy) {
  const auto bytes = static_cast<std::size_t>(dtype_info(pool.type()).bytes(dims));
  const OutputData from = pool + copy.from * strides.page, to = pool + copy.to * strides.page;
  for (std::int64_t token = 0; token < copy.tokens; ++token) {
    for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
      const std::int64_t offset = token * strides.token + head * strides.head;
      std::memcpy((to + offset).data(), (from + offset).data(), bytes);
    }
  }
}

/// Copies the scales, or the zero points, of the first tokens of one page to another.
void copy_scales(const PagedLayout& layout, const ScaleLayout& scales, std::int64_t dims,
                 float* pool, const PageCopy& copy) {
  if (pool == nullptr || scales.sequence_stride == 0) return;  // pages share them
  const auto bytes = static_cast<std::size_t>(dims / scales.group) * sizeof(float);
  for (std::int64_t token = 0; token < copy.tokens; ++token) {
    for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
      float* const first = pool + token * scales.token_stride + head * scales.head_stride;
      std::memcpy(first + copy.to * scales.sequence_stride,
                  first + copy.from * scales.sequence_stride, bytes);
    }
  }
}

}  // namespace

Status KvCache::create(const KvCacheConfig& config, KvCache& cache) noexcept {
  return guarded([&]() -> Status {
    const PagedLayout& layout = config.layout;
    HEED_RETURN_IF_ERROR(detail::check_paged_layout(layout));
    HEED_RETURN_IF_ERROR(detail::check_range("layers", config.layers, 1, detail::kMaxCount));
    HEED_RETURN_IF_ERROR(check_types(config));
    HEED_RETURN_IF_ERROR(check_layer(config));
    HEED_RETURN_IF_ERROR(check_scales(config));
    const LayerPlan layer = plan_layer(config);
    HEED_RETURN_IF_ERROR(check_scale_bytes(config, layer.bytes));
    const std::int64_t k_scales = key_scales(layout, config.k_type).bytes;
    const std::int64_t v_scales = value_scales(layout, config.v_type).bytes;
    KvCache made;
    std::int64_t layer_bytes = layer.bytes;
    const auto place = [&](std::int64_t bytes, std::int64_t& offset) {
      if (bytes > 0) offset = std::exchange(layer_bytes, layer_bytes + bytes);
    };
    place(k_scales, made.k_scales_);
    place(config.k_zero_points ? k_scales : 0, made.k_zero_points_);
    place(v_scales, made.v_scales_);
    place(config.v_zero_points ? v_scales : 0, made.v_zero_points_);
    HEED_RETURN_IF_ERROR(check_size(config.layers, layer_bytes));
    HEED_RETURN_IF_ERROR(PagedSequences::create({layout.pages, layout.page_tokens, config.sequences,
                                                 config.sequence_tokens, config.prefixes},
                                                made));
    made.layout_ = layout;
    made.layers_ = config.layers;
    made.k_type_ = config.k_type;
    made.v_type_ = config.v_type;
    made.layer_bytes_ = layer_bytes;
    made.first_value_ = layer.first_value;
    made.bytes_ = static_cast<std::size_t>(round_up(config.layers * layer_bytes, kHugePage));
    made.memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kHugePage, made.bytes_)));
    if (made.memory_ == nullptr) {
      return detail::failure(StatusCode::out_of_memory, "out of memory: the cache takes ",
                             made.bytes_, " bytes");
    }
    // A wish: without huge pages the cache is as good, and a little slower.
    (void)madvise(made.memory_.get(), made.bytes_, MADV_HUGEPAGE);
    cache = std::move(made);
    return {};
  });
}

Status KvCache::extend(std::int32_t id, std::span<std::int64_t> slots) noexcept {
  PageCopy copy;
  Status status = PagedSequences::extend(id, slots, copy);
  if (!status.ok() || copy.tokens == 0) return status;
  const ScaleLayout k_scales = key_scales(layout_, k_type_).layout;
  const ScaleLayout v_scales = value_scales(layout_, v_type_).layout;
  for (std::int64_t i = 0; i < layers_; ++i) {
    const KvPages pages = layer(i);
    for (float* const pool : {pages.k_scales.scales, pages.k_scales.zero_points}) {
      copy_scales(layout_, k_scales, layout_.head_dim, pool, copy);
    }
    for (float* const pool : {pages.v_scales.scales, pages.v_scales.zero_points}) {
      copy_scales(layout_, v_scales, layout_.value_head_dim, pool, copy);
    }
    copy_tokens(layout_, layout_.k, layout_.head_dim, pages.k, copy);
    copy_tokens(layout_, layout_.v, layout_.value_head_dim, pages.v, copy);
  }
  return status;
}

KvPages KvCache::layer(std::int64_t index) const noexcept {
  if (memory_ == nullptr || index < 0 || index >= layers_) return {};
  std::byte* const k = memory_.get() + index * layer_bytes_;
  const auto floats = [&](std::int64_t offset) {
    return offset == 0 ? nullptr : reinterpret_cast<float*>(k + offset);
  };
  return {{k, k_type_},
          {k + first_value_, v_type_},
          {floats(k_scales_), floats(k_zero_points_)},
          {floats(v_scales_), floats(v_zero_points_)}};
}

void KvCache::Free::operator()(std::byte* memory) const noexcept { std::free(memory); }

}  // namespace heed

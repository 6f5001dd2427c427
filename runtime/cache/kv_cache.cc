#include "heed/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

#include "kernels/interface.h"
#include "runtime/base/message.h"
#include "runtime/base/paged_layout.h"
#include "runtime/base/regions.h"

namespace heed {
namespace {

using detail::guarded;
using detail::StridedShape;

// A huge page of x86-64: memory that begins and ends at one can be mapped by them throughout.
constexpr std::int64_t kHugePage = std::int64_t{1} << 21;

std::int64_t round_up(std::int64_t count, std::int64_t step) {
  return (count + step - 1) / step * step;
}

/// How the keys and the values of a layer lie together.
struct LayerPlan {
  std::int64_t first_value;  ///< from the first key, in elements
  std::int64_t elements;     ///< of both, rounded up so that the next layer is aligned
};

/// Values lie after all keys, or, where the strides leave room for them, after the keys of a
/// token's head, of a token or of a page.
LayerPlan plan_layer(const PagedLayout& layout) {
  constexpr std::int64_t line = kernels::kAlignment / sizeof(float);
  const StridedShape k = detail::pool_shape(layout, layout.k, layout.head_dim);
  const StridedShape v = detail::pool_shape(layout, layout.v, layout.value_head_dim);
  const std::int64_t keys = detail::pool_elements(layout, layout.k, layout.head_dim);
  const std::int64_t values = detail::pool_elements(layout, layout.v, layout.value_head_dim);
  LayerPlan best{round_up(keys, line), round_up(round_up(keys, line) + values, line)};
  for (const detail::Axis& outer : k.axes) {
    std::int64_t reach = layout.head_dim;  // of the keys within a step of this axis
    for (const detail::Axis& axis : k.axes) {
      if (axis.stride < outer.stride) reach += (axis.count - 1) * axis.stride;
    }
    const std::int64_t elements = round_up(std::max(keys, reach + values), line);
    if (elements < best.elements && detail::interleave(k, v, reach)) best = {reach, elements};
  }
  return best;
}

Status check_size(std::int64_t layers, std::int64_t layer_elements) {
  constexpr std::int64_t most = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(float);
  if (layers <= (most - kHugePage) / layer_elements) return {};
  return detail::invalid("layers (", layers, ") of ", layer_elements,
                         " elements reach beyond the address space");
}

/// Copies the first tokens of one page of a pool to another.
void copy_tokens(const PagedLayout& layout, const PageStrides& strides, std::int64_t dims,
                 float* pool, const PageCopy& copy) {
  const float* const from = pool + copy.from * strides.page;
  float* const to = pool + copy.to * strides.page;
  for (std::int64_t token = 0; token < copy.tokens; ++token) {
    for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
      const std::int64_t offset = token * strides.token + head * strides.head;
      std::copy_n(from + offset, dims, to + offset);
    }
  }
}

}  // namespace

Status KvCache::create(const KvCacheConfig& config, KvCache& cache) noexcept {
  return guarded([&]() -> Status {
    const PagedLayout& layout = config.layout;
    HEED_RETURN_IF_ERROR(detail::check_paged_layout(layout));
    HEED_RETURN_IF_ERROR(detail::check_range("layers", config.layers, 1, detail::kMaxCount));
    const LayerPlan layer = plan_layer(layout);
    HEED_RETURN_IF_ERROR(check_size(config.layers, layer.elements));
    KvCache made;
    HEED_RETURN_IF_ERROR(PagedSequences::create(
        {layout.pages, layout.page_tokens, config.sequences, config.sequence_tokens}, made));
    made.layout_ = layout;
    made.layers_ = config.layers;
    made.layer_elements_ = layer.elements;
    made.first_value_ = layer.first_value;
    made.bytes_ = static_cast<std::size_t>(
        round_up(config.layers * layer.elements * std::int64_t{sizeof(float)}, kHugePage));
    made.memory_.reset(static_cast<float*>(std::aligned_alloc(kHugePage, made.bytes_)));
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
  for (std::int64_t i = 0; i < layers_; ++i) {
    const KvPages pages = layer(i);
    copy_tokens(layout_, layout_.k, layout_.head_dim, pages.k, copy);
    copy_tokens(layout_, layout_.v, layout_.value_head_dim, pages.v, copy);
  }
  return status;
}

KvPages KvCache::layer(std::int64_t index) const noexcept {
  if (memory_ == nullptr || index < 0 || index >= layers_) return {};
  float* const k = memory_.get() + index * layer_elements_;
  return {k, k + first_value_};
}

void KvCache::Free::operator()(float* memory) const noexcept { std::free(memory); }

}  // namespace heed

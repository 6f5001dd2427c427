#include "runtime/sampling/sampling_workspace.h"

#include <cstdlib>
#include <new>
#include <utility>

#include "runtime/base/message.h"
#include "runtime/threads/executor.h"

namespace heed {
namespace detail {
namespace {

/// Bytes of a list, up to the next line.
std::size_t list_bytes(std::int64_t elements, std::size_t size) {
  const std::size_t bytes = static_cast<std::size_t>(elements) * size;
  return (bytes + kernels::kAlignment - 1) / kernels::kAlignment * kernels::kAlignment;
}

std::int64_t chunks_of(std::int64_t length) {
  return (length + kernels::kWeightChunk - 1) / kernels::kWeightChunk;
}

}  // namespace

Status begin_use(SamplingWorkspace& workspace) {
  if (!workspace.data()->in_use.exchange(true)) return {};
  return invalid("workspace is in use by another call");
}

void end_use(SamplingWorkspace::Header* header) noexcept { header->in_use = false; }

std::size_t block_bytes(std::int64_t length) {
  constexpr std::size_t lists = 7;  // of 4 bytes an element: all of SamplingScratch but the sums
  return sizeof(BlockHeader) + lists * list_bytes(length, sizeof(float)) +
         list_bytes(chunks_of(length), sizeof(std::uint64_t));
}

std::size_t workspace_bytes(std::int64_t length, std::int64_t blocks) {
  return sizeof(SamplingWorkspace::Header) + static_cast<std::size_t>(blocks) * block_bytes(length);
}

ScratchBlocks::ScratchBlocks(SamplingWorkspace& workspace, std::int64_t length, std::int64_t blocks)
    : first_(reinterpret_cast<std::byte*>(workspace.data() + 1)), length_(length), blocks_(blocks) {
  for (std::int64_t i = 0; i < blocks; ++i) {
    new (first_ + static_cast<std::size_t>(i) * block_bytes(length)) BlockHeader;
  }
}

kernels::SamplingScratch ScratchBlocks::take(BlockHeader*& block) const {
  for (std::int64_t i = 0;; i = (i + 1) % blocks_) {
    std::byte* place = first_ + static_cast<std::size_t>(i) * block_bytes(length_);
    block = reinterpret_cast<BlockHeader*>(place);
    if (block->taken.exchange(true, std::memory_order_acquire)) continue;
    place += sizeof(BlockHeader);
    kernels::SamplingScratch scratch;
    const auto next = [&](auto*& list, std::int64_t elements) {
      list = reinterpret_cast<std::remove_reference_t<decltype(list)>>(place);
      place += list_bytes(elements, sizeof(*list));
    };
    next(scratch.logits, length_);
    next(scratch.kept, length_);
    next(scratch.numbers, length_);
    next(scratch.keys, length_);
    next(scratch.places, length_);
    next(scratch.work_keys, length_);
    next(scratch.work_places, length_);
    next(scratch.sums, chunks_of(length_));
    return scratch;
  }
}

}  // namespace detail

SamplingWorkspace::~SamplingWorkspace() { std::free(data_); }

SamplingWorkspace::SamplingWorkspace(SamplingWorkspace&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

SamplingWorkspace& SamplingWorkspace::operator=(SamplingWorkspace&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Status SamplingWorkspace::reserve(std::int64_t length, int workers) noexcept {
  return detail::guarded([&]() -> Status {
    int blocks = 1;
    HEED_RETURN_IF_ERROR(detail::check_range("length", length, 0, kernels::kMaxSampledLogits));
    HEED_RETURN_IF_ERROR(detail::complete_workers(workers, blocks));
    const std::size_t bytes = detail::workspace_bytes(length, blocks);
    if (data_ != nullptr) {
      HEED_RETURN_IF_ERROR(detail::begin_use(*this));
      detail::end_use(data_);
    }
    if (bytes <= bytes_) return {};
    void* data = std::aligned_alloc(kernels::kAlignment, bytes);
    if (data == nullptr) {
      return detail::failure(StatusCode::out_of_memory,
                             "out of memory: the sampling workspace takes ", bytes, " bytes");
    }
    std::free(data_);
    data_ = new (data) Header;
    bytes_ = bytes;
    return {};
  });
}

}  // namespace heed

// The memory of `sample`: blocks of scratch, each of which one worker has at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "heed/sampling.h"
#include "kernels/interface.h"

namespace heed {

/// Lies at the start of every workspace; the blocks follow it.
struct alignas(kernels::kAlignment) SamplingWorkspace::Header {
  std::atomic<bool> in_use = false;
};

namespace detail {

/// Whether a block is taken; lies at its start.
struct alignas(kernels::kAlignment) BlockHeader {
  std::atomic<bool> taken = false;
};

/// Takes a workspace that has memory, or tells that it is in use.
Status begin_use(SamplingWorkspace& workspace);
void end_use(SamplingWorkspace::Header* header) noexcept;

/// Bytes of a block for rows of so many logits.
std::size_t block_bytes(std::int64_t length);

/// Bytes of a workspace with as many blocks.
std::size_t workspace_bytes(std::int64_t length, std::int64_t blocks);

/// The blocks of a workspace during a call.
class ScratchBlocks {
 public:
  /// Makes the blocks of a workspace that is large enough.
  ScratchBlocks(SamplingWorkspace& workspace, std::int64_t length, std::int64_t blocks);

  /// A block that nobody has: at most as many may be taken as there are.
  kernels::SamplingScratch take(BlockHeader*& block) const;
  static void give_back(BlockHeader* block) {
    block->taken.store(false, std::memory_order_release);
  }

 private:
  std::byte* first_;
  std::int64_t length_, blocks_;
};

}  // namespace detail
}  // namespace heed

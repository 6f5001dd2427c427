#include "tests/proof/guarded_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace heed::proof {
namespace {

/// Pages of NaN, whose first and last one nobody may touch. Those that are given back serve the
/// next buffer of their size: tests make hundreds of thousands of buffers, and mapping pages for
/// each would be half of their time. Who reads a buffer that is gone reads NaN, or dies.
class GuardedPages {
 public:
  static GuardedPages& instance() {
    static auto* const pages = new GuardedPages;  // for buffers of any life
    return *pages;
  }

  void* take(std::size_t bytes, std::size_t page) {
    {
      const std::scoped_lock lock(mutex_);
      std::vector<void*>& kept = kept_[bytes];
      if (!kept.empty()) {
        void* const pages = kept.back();
        kept.pop_back();
        kept_bytes_ -= bytes;
        return pages;
      }
    }
    void* const pages = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) std::abort();
    char* const inner = static_cast<char*>(pages) + page;
    if (bytes > 2 * page && mprotect(inner, bytes - 2 * page, PROT_READ | PROT_WRITE) != 0) {
      std::abort();
    }
    fill(pages, bytes, page);
    return pages;
  }

  void give_back(void* pages, std::size_t bytes, std::size_t page) {
    {
      const std::scoped_lock lock(mutex_);
      if (kept_bytes_ + bytes <= kMostKept) {
        fill(pages, bytes, page);
        kept_[bytes].push_back(pages);
        kept_bytes_ += bytes;
        return;
      }
    }
    munmap(pages, bytes);
  }

 private:
  static void fill(void* pages, std::size_t bytes, std::size_t page) {
    auto* const floats = reinterpret_cast<float*>(static_cast<char*>(pages) + page);
    std::fill_n(floats, (bytes - 2 * page) / sizeof(float),
                std::numeric_limits<float>::quiet_NaN());
  }

  static constexpr std::size_t kMostKept = std::size_t{64} << 20;

  std::mutex mutex_;
  std::unordered_map<std::size_t, std::vector<void*>> kept_;  ///< by their bytes
  std::size_t kept_bytes_ = 0;
};

std::size_t page_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

GuardedBuffer::GuardedBuffer(std::size_t size, Touching touching) : size_(size) {
  const std::size_t page = page_bytes();
  const std::size_t used = (size * sizeof(float) + page - 1) / page * page;
  bytes_ = used + 2 * page;
  pages_ = GuardedPages::instance().take(bytes_, page);
  auto* const start = reinterpret_cast<float*>(static_cast<char*>(pages_) + page);
  data_ = touching == Touching::end ? start + used / sizeof(float) - size : start;
}

GuardedBuffer::~GuardedBuffer() {
  if (pages_ != nullptr) GuardedPages::instance().give_back(pages_, bytes_, page_bytes());
}

GuardedBuffer::GuardedBuffer(GuardedBuffer&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      bytes_(other.bytes_),
      data_(other.data_),
      size_(other.size_) {}

GuardedBuffer& GuardedBuffer::operator=(GuardedBuffer&& other) noexcept {
  std::swap(pages_, other.pages_);
  std::swap(bytes_, other.bytes_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace heed::proof

#include "tests/proof/guarded_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <utility>

namespace heed::proof {

GuardedBuffer::GuardedBuffer(std::size_t size, Touching touching) : size_(size) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t used = (size * sizeof(float) + page - 1) / page * page;
  bytes_ = used + 2 * page;
  pages_ = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages_ == MAP_FAILED) std::abort();
  char* const start = static_cast<char*>(pages_) + page;
  if (used > 0 && mprotect(start, used, PROT_READ | PROT_WRITE) != 0) std::abort();
  const std::size_t skipped = touching == Touching::end ? used - size * sizeof(float) : 0;
  data_ = reinterpret_cast<float*>(start + skipped);
  std::fill_n(data_, size_, std::numeric_limits<float>::quiet_NaN());
}

GuardedBuffer::~GuardedBuffer() {
  if (pages_ != nullptr) munmap(pages_, bytes_);
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

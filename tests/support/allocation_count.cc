#include "tests/support/allocation_count.h"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int> allocations{0};
std::atomic<int> news{0};

/// What FailingAllocations set for a thread.
struct Failures {
  heed::tests::Failing which;
  int left;  ///< allocations until the first failure; 0: none is to fail
  bool failed;
};
thread_local Failures failures;

}  // namespace

#ifndef HEED_SANITIZED
namespace {

/// Counts one allocation, and tells whether it fails.
bool fails() {
  if (failures.left == 0) return false;
  if (failures.left > 1) {
    --failures.left;
    return false;
  }
  failures.failed = true;
  if (failures.which != heed::tests::Failing::all_from) failures.left = 0;
  return true;
}

bool malloc_fails() {
  ++allocations;
  return failures.which != heed::tests::Failing::one_of_news && fails();
}

bool new_fails() {
  ++news;
  return failures.which == heed::tests::Failing::one_of_news && fails();
}

void* out_of_memory() {
  errno = ENOMEM;
  return nullptr;
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) {
  if (malloc_fails()) return out_of_memory();
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
  if (malloc_fails()) return out_of_memory();
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
  if (malloc_fails()) return out_of_memory();
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  if (malloc_fails()) return out_of_memory();
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  if (malloc_fails()) return ENOMEM;
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr;
}
}

void* operator new(std::size_t bytes) {
  void* memory = new_fails() ? nullptr : std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  void* memory = new_fails() ? nullptr : std::aligned_alloc(step, (bytes + step - 1) / step * step);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

namespace heed::tests {

bool counts_allocations() {
#ifdef HEED_SANITIZED
  return false;
#else
  return true;
#endif
}

Count allocations_so_far() { return {allocations, news}; }

FailingAllocations::FailingAllocations(Failing which, int n) { failures = {which, n, false}; }

FailingAllocations::~FailingAllocations() { failures = {}; }

bool FailingAllocations::failed() const { return failures.failed; }

}  // namespace heed::tests

#include "tests/fuzz/fuzz.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  // Failures of assertions in code shared with the tests end the program as well, by a signal of
  // which libFuzzer knows nothing: it would not keep the input.
  char name[] = "fuzz", on_failure[] = "--gtest_break_on_failure";
  char* arguments[] = {name, on_failure, nullptr};
  int count = 2;
  testing::InitGoogleTest(&count, arguments);
  std::signal(SIGTRAP, [](int) { std::abort(); });
  static_cast<void>(argc);
  static_cast<void>(argv);
  return 0;
}

namespace heed::tests {

std::int64_t Choices::below(std::int64_t n) {
  std::uint64_t number = 0;
  for (std::int64_t range = 1; range < n && !ended(); range <<= 8) {
    number = number << 8 | bytes_[at_++];
  }
  return static_cast<std::int64_t>(number % static_cast<std::uint64_t>(n));
}

std::string file_of(std::span<const std::uint8_t> bytes) {
  static const int file = memfd_create("fuzz", 0);
  const auto size = static_cast<ssize_t>(bytes.size());
  require(file >= 0 && ftruncate(file, size) == 0, "the file in memory can be made");
  require(pwrite(file, bytes.data(), bytes.size(), 0) == size, "the file in memory can be written");
  return "/proc/self/fd/" + std::to_string(file);
}

void require(bool holds, const char* sentence) {
  if (holds) return;
  std::fprintf(stderr, "not true: %s\n", sentence);
  std::abort();
}

}  // namespace heed::tests

// Any bytes as an .npy file: an array of the shape that it says, or a sentence and no array.
#include "tests/fuzz/fuzz.h"
#include "tools/npy.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using heed::tests::require;
  heed::tools::Array array;
  const heed::Status status = heed::tools::read_npy(heed::tests::file_of({data, size}), array);
  if (status.ok()) {
    std::size_t elements = 1;
    for (const std::int64_t extent : array.shape) elements *= static_cast<std::size_t>(extent);
    require(elements == array.data.size(), "an array has the elements of its shape");
    require(elements * 2 <= size, "an array's elements, of 2 bytes or more, are in the file");
  } else {
    require(!status.message().empty(), "a refusal has a sentence");
    require(array.shape.empty() && array.data.empty(), "a refusal leaves the array alone");
  }
  return 0;
}

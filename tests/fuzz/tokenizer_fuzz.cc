// Any bytes as a tokenizer file of the model whose vocabulary the first byte counts, and texts of
// any bytes as its input: what was read encodes and decodes without fault.
#include <algorithm>
#include <string_view>

#include "tests/fuzz/fuzz.h"
#include "tools/llama/tokenizer.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using heed::tests::require;
  if (size == 0) return 0;
  const std::int64_t vocab_size = data[0];
  const std::span<const std::uint8_t> file(data + 1, size - 1);
  heed::llama::Tokenizer tokenizer;
  heed::Status status =
      heed::llama::Tokenizer::read(heed::tests::file_of(file), vocab_size, tokenizer);
  require(status.ok() || !status.message().empty(), "a refusal has a sentence");
  if (!status.ok()) return 0;
  const std::string_view text(reinterpret_cast<const char*>(file.data()),
                              std::min<std::size_t>(file.size(), 256));
  std::vector<std::int32_t> ids;
  status = tokenizer.encode(text, ids);
  require(status.ok() || !status.message().empty(), "a refusal has a sentence");
  if (!status.ok()) return 0;
  std::int32_t previous = 1;
  for (const std::int32_t id : ids) {
    require(id == 1 || (id >= 0 && id < vocab_size), "a token is one of the vocabulary");
    if (id < vocab_size && previous < vocab_size) tokenizer.decode(previous, id);
    previous = id;
  }
  return 0;
}

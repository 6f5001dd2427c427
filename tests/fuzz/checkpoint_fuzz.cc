// Any bytes as a checkpoint: weights that lie within the file, or a sentence and no memory.
#include "tests/fuzz/fuzz.h"
#include "tools/llama/checkpoint.h"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using heed::tests::require;
  heed::llama::Checkpoint c;
  const heed::Status status = heed::llama::read_checkpoint(heed::tests::file_of({data, size}), c);
  if (!status.ok()) {
    require(!status.message().empty(), "a refusal has a sentence");
    require(c.memory == nullptr, "a refusal leaves the checkpoint alone");
    return 0;
  }
  float sum = 0;
  const auto read = [&](const heed::llama::Weight& weight, std::int64_t layers) {
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      for (std::int64_t i = 0; i < weight.layer_elements; ++i) sum += weight.of(layer)[i];
    }
  };
  for (const heed::llama::Weight* const weight :
       {&c.attention_norm, &c.wq, &c.wk, &c.wv, &c.wo, &c.feed_forward_norm, &c.w1, &c.w2, &c.w3}) {
    read(*weight, c.shape.layers);
  }
  for (const heed::llama::Weight* const weight : {&c.embedding, &c.final_norm, &c.classifier}) {
    read(*weight, 1);
  }
  [[maybe_unused]] static volatile float sink = 0;
  sink = sum;
  return 0;
}

// Checkpoints: what is in them, and which files are refused.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <system_error>

#include "heed/cpu.h"
#include "tests/llama/model_file.h"
#include "tests/support/run_command.h"
#include "tools/llama/checkpoint.h"

namespace heed::tests {
namespace {

using llama::Checkpoint;
using llama::read_checkpoint;

/// A model of 164 bytes.
ModelFile tiny() {
  ModelFile model{.dim = 2, .hidden_dim = 1, .layers = 1, .heads = 1, .kv_heads = 1};
  model.vocab_size = 2;
  model.context = 1;
  return random_model(model, 1);
}

class CheckpointFile : public testing::Test {
 protected:
  void expect_refused(const std::string& bytes, const std::string& message) {
    write_bytes(path_, bytes);
    expect_refused(message);
  }
  void expect_refused(const std::string& message) {
    Checkpoint checkpoint;
    const Status status = read_checkpoint(path_, checkpoint);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), path_ + ": " + message);
    EXPECT_EQ(checkpoint.memory, nullptr);
  }
  /// The tiny model with another number in its header.
  static std::string with(std::size_t index, std::int32_t number) {
    std::string bytes = tiny().bytes();
    std::memcpy(bytes.data() + 4 * index, &number, sizeof(number));
    return bytes;
  }

  const Folder folder_;
  const std::string path_ = folder_.path("model.bin");
};

TEST_F(CheckpointFile, OtherFormatsAreCalledByTheirNames) {
  for (const std::int32_t version : {1, 2}) {
    std::string bytes = with(1, version);
    bytes.replace(0, 4, "24ka");
    expect_refused(bytes, "a llama2.c checkpoint of version " + std::to_string(version) +
                              ": only version 0 can be read, which export.py writes with "
                              "--version 0");
  }
  expect_refused(tiny().bytes().replace(0, 4, "GGUF"),
                 "not a llama2.c checkpoint: it is a GGUF file");
  expect_refused(tiny().bytes().replace(0, 4, "PK\x03\x04"),
                 "not a llama2.c checkpoint: it is a zip archive, as PyTorch writes: export.py "
                 "converts it");
}

TEST_F(CheckpointFile, PartsAreInTheirOrder) {
  for (const bool apart : {false, true}) {
    ModelFile shape{.vocab_size = 7, .classifier_apart = apart};
    const ModelFile model = random_model(shape, 2);
    write_bytes(path_, model.bytes());
    Checkpoint c;
    const Status status = read_checkpoint(path_, c);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(c.shape.kv_dim(), 8);
    EXPECT_EQ(c.shape.context, 48);
    const float* at = c.memory.get();
    const auto expect_here = [&](const llama::Weight& weight, std::int64_t layers,
                                 std::int64_t elements) {
      for (std::int64_t i = 0; i < layers; ++i, at += elements) EXPECT_EQ(weight.of(i), at);
    };
    expect_here(c.embedding, 1, 7 * 16);
    expect_here(c.attention_norm, 2, 16);
    expect_here(c.wq, 2, 16 * 16);
    expect_here(c.wk, 2, 8 * 16);
    expect_here(c.wv, 2, 8 * 16);
    expect_here(c.wo, 2, 16 * 16);
    expect_here(c.feed_forward_norm, 2, 16);
    expect_here(c.w1, 2, 24 * 16);
    expect_here(c.w2, 2, 16 * 24);
    expect_here(c.w3, 2, 24 * 16);
    expect_here(c.final_norm, 1, 16);
    expect_here(c.rotary, 1, 48 * 4);
    if (apart) expect_here(c.classifier, 1, 7 * 16);
    EXPECT_EQ(c.classifier.data == c.embedding.data, !apart);
    EXPECT_EQ(at - c.memory.get(), std::ssize(model.weights));
    EXPECT_EQ(std::memcmp(c.memory.get(), model.weights.data(), 4 * model.weights.size()), 0);
  }
}

TEST_F(CheckpointFile, TruncatedAnywhere) {
  const std::string bytes = tiny().bytes();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string here = "has " + std::to_string(size) + " ";
    expect_refused(bytes.substr(0, size),
                   size < 28 ? "not a llama2.c checkpoint: it " + here + "bytes, a header 28"
                             : "the checkpoint is truncated: it " + here + "of " +
                                   std::to_string(bytes.size()) + " bytes");
  }
}

TEST_F(CheckpointFile, NotAModel) {
  const std::string no = "not a llama2.c checkpoint: ";
  const std::string names[] = {"dim",        "hidden_dim", "n_layers", "n_heads",
                               "n_kv_heads", "vocab_size", "seq_len"};
  for (const std::size_t i : {0, 1, 2, 3, 4, 6}) {
    for (const std::int32_t number : {0, -1, std::numeric_limits<std::int32_t>::min()}) {
      expect_refused(with(i, number),
                     no + names[i] + " (" + std::to_string(number) + ") must be above 0");
    }
  }
  for (const std::int32_t number : {-1, 0, 1}) {
    expect_refused(with(5, number), no + "vocab_size (" + std::to_string(number) +
                                        ") must hold token 1, which begins texts");
  }
  expect_refused(with(3, 3), no + "n_heads (3) must divide dim (2)");
  expect_refused(with(4, 2), no + "n_kv_heads (2) must divide n_heads (1)");
  expect_refused(with(3, 2), no + "dim / n_heads (1) must be even and at most 1024");
  expect_refused(with(0, 1026), no + "dim / n_heads (1026) must be even and at most 1024");
  expect_refused(tiny().bytes() + "x", no + "it has 165 bytes, a model with its header 164");
  expect_refused(std::string(1000, 'x'), no + "dim / n_heads (1) must be even and at most 1024");
}

TEST_F(CheckpointFile, Enormous) {
  constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();
  ModelFile model{.dim = 1 << 30, .hidden_dim = most, .layers = most, .heads = 1 << 22};
  model.kv_heads = 1 << 22;
  for (const std::int32_t vocabulary : {most, most - 1}) {
    model.vocab_size = vocabulary;
    expect_refused(model.bytes(),
                   "not a llama2.c checkpoint: a model with its header reaches beyond the address "
                   "space");
  }
  ModelFile negative = model;
  negative.vocab_size = std::numeric_limits<std::int32_t>::min();
  expect_refused(negative.bytes(),
                 "not a llama2.c checkpoint: a model with its header reaches beyond the address "
                 "space");
}

TEST_F(CheckpointFile, LargerThanMemory) {
  // 4.4 TB, all holes: 2³¹ − 1 tokens of 512 dimensions.
  ModelFile model{.dim = 512, .hidden_dim = 1, .layers = 1, .heads = 1, .kv_heads = 1};
  model.vocab_size = std::numeric_limits<std::int32_t>::max();
  model.context = 1;
  const std::int64_t elements = std::int64_t{model.vocab_size} * 512 + 512 * (4 * 512 + 3 + 3 + 1);
  const std::int64_t bytes = 28 + 4 * elements;
  write_bytes(path_, model.bytes());
  std::error_code error;
  std::filesystem::resize_file(path_, static_cast<std::uintmax_t>(bytes), error);
  if (error) GTEST_SKIP() << "no sparse files here: " << error.message();
  const std::int64_t memory = cpu_info().memory_bytes;
  if (memory >= bytes) GTEST_SKIP() << "this machine has more memory than that";
  expect_refused("the model takes " + std::to_string(bytes) +
                 " bytes, the memory of this process has " + std::to_string(memory));
}

TEST_F(CheckpointFile, ThatCannotBeRead) {
  expect_refused("cannot be read: No such file or directory");
  std::filesystem::create_directory(path_);
  expect_refused("cannot be read: Is a directory");
}

}  // namespace
}  // namespace heed::tests

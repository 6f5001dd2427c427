// Queries, keys, values and outputs of a trained language model, kept next to the repository.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

/// A float32 array of shape [batch, tokens, heads, head_dim].
struct Array {
  std::array<std::int64_t, 4> shape{};
  std::vector<float> data;
};

/// Reads version 1.0 of the .npy format: magic, a 16-bit header length, a header, the data.
Array read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  const std::string bytes = content.str();
  Array array;
  if (bytes.size() < 10 || bytes.compare(0, 8, std::string("\x93NUMPY\x01\x00", 8)) != 0) {
    ADD_FAILURE() << path << " is not an .npy file of version 1.0";
    return array;
  }
  const std::size_t length =
      static_cast<unsigned char>(bytes[8]) + 256U * static_cast<unsigned char>(bytes[9]);
  const std::string header = bytes.substr(10, length);
  EXPECT_NE(header.find("'<f4'"), std::string::npos) << path << ": " << header;
  EXPECT_NE(header.find("'fortran_order': False"), std::string::npos) << path << ": " << header;
  std::istringstream shape(header.substr(header.find('(') + 1));
  char comma = 0;
  for (std::int64_t& extent : array.shape) shape >> extent >> comma;
  array.data.resize((bytes.size() - 10 - length) / sizeof(float));
  std::memcpy(array.data.data(), bytes.data() + 10 + length, array.data.size() * sizeof(float));
  const auto [batch, tokens, heads, dims] = array.shape;
  EXPECT_EQ(array.data.size(), static_cast<std::size_t>(batch * tokens * heads * dims)) << path;
  return array;
}

struct Layer {
  Array q, k, v, out;
  std::int64_t batch() const { return q.shape[0]; }
  std::int64_t tokens() const { return q.shape[1]; }
  std::int64_t heads() const { return q.shape[2]; }
  std::int64_t dims() const { return q.shape[3]; }
};

struct Result {
  std::vector<float> out, lse;
  bool operator==(const Result&) const = default;
};

Result attend(const Layer& layer, std::string_view isa, int workers) {
  AttentionConfig config;
  config.query_heads = layer.heads();
  config.kv_heads = layer.k.shape[2];
  config.head_dim = layer.dims();
  config.causal = true;
  Batch batch;
  batch.sequences = layer.batch();
  batch.query.length = layer.tokens();
  batch.key.length = layer.k.shape[1];
  PlanOptions options;
  options.isa = isa;
  options.workers = workers;
  Plan plan;
  Status status = plan_attention(config, batch, options, plan);
  EXPECT_TRUE(status.ok()) << status.message();
  Workspace workspace;
  EXPECT_TRUE(workspace.reserve(plan).ok());
  Result result;
  result.out.resize(layer.out.data.size());
  result.lse.resize(layer.out.data.size() / static_cast<std::size_t>(layer.dims()));
  status = run(plan,
               {.q = layer.q.data.data(),
                .k = layer.k.data.data(),
                .v = layer.v.data.data(),
                .out = result.out.data(),
                .lse = result.lse.data()},
               workspace);
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

/// |v| of each KV head grows along the tokens: the largest that a row of token i sees.
float largest_visible(const Layer& layer, std::int64_t token, std::int64_t head) {
  const std::int64_t kv_heads = layer.v.shape[2], dims = layer.dims();
  const std::int64_t kv_head = head * kv_heads / layer.heads();
  float largest = 0;
  for (std::int64_t j = 0; j <= token; ++j) {
    for (std::int64_t x = 0; x < dims; ++x) {
      const auto i = static_cast<std::size_t>((j * kv_heads + kv_head) * dims + x);
      largest = std::max(largest, std::abs(layer.v.data[i]));
    }
  }
  return largest;
}

/// The outputs on file are float32, too, and were summed in another order. Worst-case bounds of
/// both (proof/bounds.h) would allow 2e−5; roundings that do not conspire, √N of N = 88 of them,
/// stay within 2e−6 of the largest visible value.
void expect_reproduced(const Layer& layer, const Result& result) {
  for (std::int64_t i = 0; i < layer.tokens(); ++i) {
    for (std::int64_t h = 0; h < layer.heads(); ++h) {
      const float bound = 2e-6F * std::max(1.0F, largest_visible(layer, i, h));
      for (std::int64_t x = 0; x < layer.dims(); ++x) {
        const auto at = static_cast<std::size_t>((i * layer.heads() + h) * layer.dims() + x);
        ASSERT_NEAR(result.out[at], layer.out.data[at], bound)
            << "token " << i << ", head " << h << ", element " << x;
      }
    }
  }
}

class RealTensors : public testing::TestWithParam<const char*> {};

TEST_P(RealTensors, AreReproducedOnEveryIsaWithTheSameBits) {
  const std::string folder = std::string(HEED_SHARED_DIR) + "/data/" + GetParam() + "/";
  if (!std::ifstream(folder + "q.npy")) GTEST_SKIP() << "no tensors in " << folder;
  const Layer layer{read_npy(folder + "q.npy"), read_npy(folder + "k.npy"),
                    read_npy(folder + "v.npy"), read_npy(folder + "out.npy")};
  ASSERT_EQ(layer.batch(), 1);
  ASSERT_EQ(layer.tokens(), layer.k.shape[1]);
  ASSERT_FALSE(HasFailure());
  std::vector<Result> fused;
  for (const std::string_view isa : supported_isas()) {
    SCOPED_TRACE(isa);
    const Result one = attend(layer, isa, 1);
    expect_reproduced(layer, one);
    EXPECT_EQ(one, attend(layer, isa, 2));
    if (proof::arithmetic_of(isa) == proof::Arithmetic::fused) fused.push_back(one);
  }
  for (const Result& result : fused) EXPECT_EQ(result, fused.front());
}

INSTANTIATE_TEST_SUITE_P(Layers, RealTensors, testing::Values("dreams-layer0", "dreams-layer3"),
                         [](const auto& layer) {
                           std::string name = layer.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace heed::tests

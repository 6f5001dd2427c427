// What narrow keys and values cost in accuracy: against float64 on the floats that they were made
// from, within a bound that follows from how far each number may move.
//
// Let every logit move by E at most. A weight w_j then becomes one from w_j · e^(−2E) to
// w_j · e^(2E), since the sum of all moves by a factor from e^(−E) to e^E, too. So the weights'
// differences add up to e^(2E) − 1 at most, and with values of V at most that move by D at most
//
//   |out − exact| ≤ (e^(2E) − 1) · V + D + the bound of the f32 row (tests/proof/bounds.h),
//
// E = |scale| · Σ_x |q_x| · (how far k_x may move), the largest of the visible keys.
//
// Prints the table of docs/manual.md: the root of the mean square error, relative to that of the
// outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "heed/heed.h"
#include "tests/proof/bounds.h"
#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/reference.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"
#include "tools/npy.h"

namespace heed::tests {
namespace {

using proof::Geometry;
using proof::TypedBuffer;

/// Tensors of one sequence, [token, head, dim].
struct Data {
  std::string name;
  AttentionConfig config;
  Batch batch;
  std::vector<float> q, k, v;
};

void fill(proof::Random& random, std::vector<float>& x, double outliers) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    // Student's t distribution of 3 degrees of freedom where there are outliers, and 4 channels of
    // 64 that are ten times as large: what keys of trained models look like.
    double scale = 1;
    if (outliers > 0) {
      double squares = 0;
      for (int d = 0; d < 3; ++d) squares += std::pow(random.normal(), 2);
      scale = std::sqrt(3 / squares) * (i % 64 < 4 ? outliers : 1);
    }
    x[i] = static_cast<float>(random.normal() * scale);
  }
}

Data random_data(const std::string& name, double key_outliers) {
  Data data{name, {}, {}, {}, {}, {}};
  data.config.query_heads = 4;
  data.config.kv_heads = 2;
  data.config.head_dim = 64;
  data.config.causal = true;
  data.batch.query.length = 64;
  data.batch.key.length = 1024;
  data.q.resize(64 * 4 * 64);
  data.k.resize(1024 * 2 * 64);
  data.v.resize(data.k.size());
  proof::Random random(11);
  fill(random, data.q, 0);
  fill(random, data.k, key_outliers);
  fill(random, data.v, key_outliers > 0 ? 1 : 0);
  return data;
}

Data real_data(const std::filesystem::path& folder) {
  tools::Array q, k, v;
  for (auto [array, name] : {std::pair{&q, "q.npy"}, {&k, "k.npy"}, {&v, "v.npy"}}) {
    const Status status = tools::read_npy(folder / name, *array);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  Data data{"a trained model's", {}, {}, q.data, k.data, v.data};
  data.config.query_heads = q.shape[2];
  data.config.kv_heads = k.shape[2];
  data.config.head_dim = q.shape[3];
  data.config.causal = true;
  data.batch.query.length = q.shape[1];
  data.batch.key.length = k.shape[1];
  return data;
}

/// How far each number of a block, a vector or a single one, may move: half a unit of its last
/// place, of subnormal ones half the smallest number. int8 and int4: half a scale, and the
/// roundings of the scale, of element / scale and of the product, 2⁻²⁴ of the largest magnitude
/// each. q8_0: half a scale, and the rounding of the scale to f16 on codes up to 127. q4_0: half a
/// scale, but a whole one for numbers as large as the largest and of the other sign, whose code
/// would be 8; likewise.
double largest_move(DType type, double x, double largest_of_block) {
  const auto rounded = [&](int bits, int least) {
    return std::max(std::ldexp(std::abs(x), -bits), std::ldexp(1, least - 1));
  };
  switch (type) {
    case DType::f32:
      return 0;
    case DType::f16:
      return rounded(11, -24);
    case DType::bf16:
      return rounded(8, -133);
    case DType::int8:
      return largest_of_block * (0.5 / 127 + 0x1p-22);
    case DType::int4:
      return largest_of_block * (0.5 / 7 + 0x1p-22);
    case DType::fp8_e4m3:
      return rounded(4, -9);
    case DType::fp8_e5m2:
      return rounded(3, -16);
    case DType::q8_0:
      return largest_of_block * (0.5 / 127 + 0x1p-11) * (1 + 0x1p-10) + 127 * 0x1p-25;
    case DType::q4_0:
      return largest_of_block * (1.0 / 8 + 0x1p-11) * (1 + 0x1p-10) + 8 * 0x1p-25;
  }
  return 0;
}

/// The largest moves of all numbers of a tensor of vectors of `dims` numbers.
std::vector<double> largest_moves(DType type, const std::vector<float>& x, std::size_t dims) {
  const std::size_t size = dtype_info(type).scaled ? dims : 32;
  std::vector<double> moves(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    double largest = 0;
    const std::size_t block = i / size * size;
    for (std::size_t j = block; j < std::min(block + size, x.size()); ++j) {
      largest = std::max(largest, std::abs(static_cast<double>(x[j])));
    }
    moves[i] = largest_move(type, x[i], largest);
  }
  return moves;
}

/// Elements of a type, and the scales of their vectors where these have any.
struct Narrowed {
  TypedBuffer elements;
  std::vector<float> scales;
};

/// Vectors of `dims` numbers as heed::append writes them, as keys of a cache.
Narrowed as_type(const std::vector<float>& x, std::int64_t dims, DType type) {
  const std::int64_t vectors = std::ssize(x) / dims;
  Narrowed narrowed{{type, std::ssize(x)}, {}};
  if (dtype_info(type).scaled) narrowed.scales.resize(static_cast<std::size_t>(vectors));
  std::vector<float> values(x.size());
  std::vector<std::int64_t> slots(static_cast<std::size_t>(vectors));
  std::iota(slots.begin(), slots.end(), 0);
  const KvPages pages{narrowed.elements.data(),
                      values.data(),
                      {narrowed.scales.empty() ? nullptr : narrowed.scales.data(), nullptr},
                      {}};
  const NewTokens tokens{.k = x.data(), .v = x.data(), .slots = slots};
  const Status status = append(PagedLayout::bshd(1, vectors, 1, dims), pages, tokens);
  EXPECT_TRUE(status.ok()) << status.message();
  return narrowed;
}

std::vector<float> as_floats(const Narrowed& x, std::size_t count, std::int64_t dims) {
  std::vector<float> floats, buffer;
  for (std::size_t i = 0; i < count / static_cast<std::size_t>(dims); ++i) {
    const proof::RowScales scales{x.scales.empty() ? nullptr : &x.scales[i], nullptr, dims};
    const auto vector = proof::floats_of(x.elements.data() + static_cast<std::int64_t>(i) * dims,
                                         scales, dims, buffer);
    floats.insert(floats.end(), vector.begin(), vector.end());
  }
  return floats;
}

/// One type on one set of data.
class Measurement {
 public:
  Measurement(const Data& data, DType type)
      : data_(data),
        type_(type),
        k_(as_type(data.k, data.config.head_dim, type)),
        v_(as_type(data.v, data.config.head_dim, type)),
        wide_k_(as_floats(k_, data.k.size(), data.config.head_dim)),
        wide_v_(as_floats(v_, data.v.size(), data.config.head_dim)),
        k_moves_(largest_moves(type, data.k, static_cast<std::size_t>(data.config.head_dim))),
        v_moves_(largest_moves(type, data.v, static_cast<std::size_t>(data.config.head_dim))),
        geometry_(data.config, data.batch) {
    expect_moves(data.k, wide_k_, k_moves_);
    expect_moves(data.v, wide_v_, v_moves_);
    run_heed();
  }

  /// The relative error, all rows of which are within their bounds.
  double error() {
    double squares = 0, whole = 0;
    const AttentionTensors exact{.q = data_.q.data(), .k = data_.k.data(), .v = data_.v.data()};
    const AttentionTensors wide{.q = data_.q.data(), .k = wide_k_.data(), .v = wide_v_.data()};
    for (const proof::Row& row : geometry_.rows()) {
      const proof::ReferenceRow wanted = proof::reference_row(geometry_, exact, row);
      const proof::ReferenceRow widened = proof::reference_row(geometry_, wide, row);
      const double bound =
          bound_of(row, wanted) + proof::error_bounds(widened, data_.config.head_dim).out;
      const float* const out = out_.data() + geometry_.out(row);
      for (std::size_t x = 0; x < wanted.out.size(); ++x) {
        const double error = static_cast<double>(out[x]) - wanted.out[x];
        EXPECT_LE(std::abs(error), bound) << data_.name << ", " << dtype_info(type_).name;
        squares += error * error;
        whole += wanted.out[x] * wanted.out[x];
      }
      if (testing::Test::HasFailure()) break;
    }
    return std::sqrt(squares / whole);
  }

 private:
  void expect_moves(const std::vector<float>& from, const std::vector<float>& to,
                    const std::vector<double>& moves) const {
    for (std::size_t i = 0; i < from.size(); ++i) {
      ASSERT_LE(std::abs(static_cast<double>(to[i]) - static_cast<double>(from[i])), moves[i])
          << from[i] << " as " << dtype_info(type_).name;
    }
  }

  void run_heed() {
    AttentionConfig config = data_.config;
    config.k_type = config.v_type = type_;
    out_.resize(data_.q.size());
    Plan plan;
    Workspace workspace;
    ASSERT_TRUE(plan_attention(config, data_.batch, {}, plan).ok());
    ASSERT_TRUE(workspace.reserve(plan).ok());
    AttentionTensors tensors{
        .q = data_.q.data(), .k = k_.elements.data(), .v = v_.elements.data(), .out = out_.data()};
    if (dtype_info(type_).scaled) {
      tensors.k_scales.scales = k_.scales.data();
      tensors.v_scales.scales = v_.scales.data();
    }
    ASSERT_TRUE(run(plan, tensors, workspace).ok());
  }

  double bound_of(const proof::Row& row, const proof::ReferenceRow& wanted) const {
    const proof::KeyRange keys = geometry_.visible(row);
    const auto dims = static_cast<std::size_t>(data_.config.head_dim);
    const float* const q = data_.q.data() + geometry_.q(row);
    double logit = 0, value = 0;
    for (std::int64_t j = keys.begin; j < keys.end; ++j) {
      const double* const k = k_moves_.data() + geometry_.k(row, j);
      const double* const v = v_moves_.data() + geometry_.v(row, j);
      double sum = 0;
      for (std::size_t x = 0; x < dims; ++x) {
        sum += std::abs(static_cast<double>(q[x])) * k[x];
        value = std::max(value, v[x]);
      }
      logit = std::max(logit, sum);
    }
    logit /= std::sqrt(static_cast<double>(dims));
    return (std::exp(2 * logit) - 1) * wanted.largest_value + value;
  }

  const Data& data_;
  DType type_;
  Narrowed k_, v_;
  std::vector<float> wide_k_, wide_v_;
  std::vector<double> k_moves_, v_moves_;
  Geometry geometry_;
  std::vector<float> out_;
};

void measure(const Data& data) {
  for (const DTypeInfo& type : kDTypes) {
    if (data.config.head_dim % type.block_elements != 0) continue;
    std::printf("%-20s %-9s %.1e\n", data.name.c_str(), std::string(type.name).c_str(),
                Measurement(data, type.type).error());
  }
}

TEST(TypeAccuracy, OfNormalKeysAndValues) { measure(random_data("normal", 0)); }

TEST(TypeAccuracy, OfHeavyTailsAndOutlierChannels) { measure(random_data("outliers", 10)); }

TEST(TypeAccuracy, OfATrainedModel) {
  const std::filesystem::path folder =
      std::filesystem::path(HEED_SHARED_DIR) / "data/dreams-layer3";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "there is no " << folder;
  measure(real_data(folder));
}

}  // namespace
}  // namespace heed::tests

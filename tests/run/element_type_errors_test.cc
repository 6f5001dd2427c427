// What is refused of element types: descriptions, and tensors of other types than the plan's.
#include <string>
#include <vector>

#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::TypedBuffer;

/// A description that is refused with this sentence.
void expect_refused(const AttentionConfig& config, const Batch& batch, const std::string& message) {
  Plan plan;
  const Status status = plan_attention(config, batch, {}, plan);
  EXPECT_EQ(status.code(), StatusCode::invalid_argument);
  EXPECT_EQ(status.message(), message);
}

Batch one_by_one() {
  Batch batch;
  batch.query.length = batch.key.length = 2;
  return batch;
}

TEST(ElementTypes, DescriptionsThatAreRefused) {
  AttentionConfig config;
  config.head_dim = 48;
  config.q_type = DType::q8_0;
  expect_refused(config, one_by_one(), "q_type (q8_0) must be one of f32, f16, bf16");
  config.q_type = DType::f32;
  config.out_type = DType::fp8_e4m3;
  expect_refused(config, one_by_one(), "out_type (fp8_e4m3) must be one of f32, f16, bf16");
  config.out_type = DType::f32;
  config.k_type = static_cast<DType>(99);
  expect_refused(
      config, one_by_one(),
      "k_type (99) must be one of f32, f16, bf16, int8, int4, fp8_e4m3, fp8_e5m2, q8_0, q4_0");
  config.k_type = DType::q8_0;
  expect_refused(config, one_by_one(),
                 "the head dimension of k (48) must be a multiple of 32, the elements of a block "
                 "of q8_0");
  config.head_dim = 63;
  config.products = Products::bf16;
  config.k_type = DType::bf16;
  expect_refused(config, one_by_one(),
                 "products of bf16 need q, k and v of bf16; they are f32, bf16 and f32");
  config.q_type = config.v_type = DType::bf16;
  expect_refused(config, one_by_one(), "products of bf16 need an even head_dim (63)");
  config.products = static_cast<Products>(7);
  expect_refused(config, one_by_one(), "products (7) must be automatic, f32 or bf16");
  config.products = Products::automatic;
  config.q_type = DType::f32;
  config.k_type = DType::q8_0;
  config.head_dim = 64;
  config.v_type = DType::q4_0;
  Batch batch = one_by_one();
  batch.v = Layout{0, 72, 64};
  expect_refused(config, batch,
                 "the token_stride of v (72) must be a multiple of 32, the elements of a "
                 "block of q4_0");
}

TEST(ElementTypes, TensorsOfOtherTypesAreRefused) {
  Case c(with_types(mixed_spec(), {DType::f16, DType::bf16, DType::q8_0, DType::bf16}));
  Plan plan;
  Workspace workspace;
  ASSERT_TRUE(plan_attention(c.config(), c.batch(), {}, plan).ok());
  ASSERT_TRUE(workspace.reserve(plan).ok());
  const TypedBuffer out(DType::bf16, static_cast<std::int64_t>(c.out_size()));
  AttentionTensors good = c.inputs();
  good.out = out.data();
  const auto expect = [&](auto change, const std::string& message) {
    AttentionTensors tensors = good;
    change(tensors);
    const Status status = run(plan, tensors, workspace);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
  };
  using T = AttentionTensors;
  const InputData floats = c.k();
  expect([&](T& t) { t.q = floats; }, "q is of f32; the plan was made for f16");
  expect([&](T& t) { t.k = {t.k.data(), DType::f16}; }, "k is of f16; the plan was made for bf16");
  expect(
      [&](T& t) {
        t.v = {t.v.data(), static_cast<DType>(77)};
      },
      "v is of no type that heed knows; the plan was made for q8_0");
  expect(
      [&](T& t) {
        t.out = {t.out.data(), DType::f32};
      },
      "out is of f32; the plan was made for bf16");
  expect(
      [&](T& t) {
        t.k = {static_cast<const std::byte*>(t.k.data()) + 1, DType::bf16};
      },
      "k must begin at a multiple of 2 bytes, as its elements do");
  expect(
      [&](T& t) {
        t.out = {const_cast<void*>(t.k.data()), DType::bf16};
      },
      "out must not overlap k");
  EXPECT_TRUE(run(plan, good, workspace).ok());
  // run_partial does not use outputs.
  std::vector<float> memory(state_shape(plan).floats());
  good.out = {out.data().data(), DType::f32};
  EXPECT_TRUE(
      run_partial(plan, good, PartialStates::in(memory.data(), state_shape(plan)), workspace).ok());
}

}  // namespace
}  // namespace heed::tests

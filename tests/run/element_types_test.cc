// Every element type against the canonical row of the floats that it widens to, bit for bit: in
// prefill and decode, in one piece and in pages, with scales of every kind.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/inputs.h"
#include "tests/proof/oracle.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"
#include "tests/support/typed_run.h"

namespace heed::tests {
namespace {

using proof::Case;
using proof::CaseSpec;
using proof::Distribution;
using proof::Form;
using proof::Storage;
using proof::TypedBuffer;

constexpr std::array<DType, 3> kComputing = {DType::f32, DType::f16, DType::bf16};

std::vector<Types> every_pair() {
  std::vector<Types> list;
  for (const DTypeInfo& k : kDTypes) {
    list.push_back({DType::f32, k.type, DType::f32, DType::f32});
    list.push_back({DType::f32, DType::f32, k.type, DType::f32});
    list.push_back({DType::bf16, k.type, k.type, DType::f16});
  }
  list.push_back({DType::f16, DType::q8_0, DType::q4_0, DType::bf16});
  for (const DType q : kComputing) {
    for (const DType out : kComputing) list.push_back({q, DType::f32, DType::bf16, out});
  }
  return list;
}

void check(const CaseSpec& floats, const Types& types) {
  const CaseSpec spec = with_types(floats, types);
  SCOPED_TRACE(to_string(spec));
  const Case c(spec);
  for (const std::string_view isa : supported_isas()) {
    expect_oracle(typed_run(c), on(isa, 2, spec.seed % 2 == 0 ? 16 : 0));
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(ElementTypes, RowsAreThoseOfTheirFloats) {
  const std::vector<Types> all = every_pair();
  for (std::size_t i = 0; i < all.size(); i += thorough() ? 1 : 5) {
    check(mixed_spec(), all[i]);
    if (HasFailure()) return;
  }
}

TEST(ElementTypes, RowsInPages) {
  constexpr std::array kPools = {Pool::bshd, Pool::bhsd, Pool::together};
  std::size_t count = 0;
  for (const DTypeInfo& info : kDTypes) {
    for (const std::int64_t page_tokens : {1, 16, 100}) {
      CaseSpec spec = spec_of({1, 5, 30}, {270, 40, 30});
      spec.seed = ++count;
      const Case c(with_types(spec, {DType::f32, info.type, info.type, DType::f32}));
      const PagedCase paged(c, page_tokens, kPools[(count + count / 3) % kPools.size()]);
      for (const std::string_view isa : supported_isas()) {
        SCOPED_TRACE("pages of " + std::to_string(page_tokens));
        expect_oracle({c.config(), paged.batch(), paged.tensors(count % 2 == 0)}, on(isa));
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ElementTypes, HeadDimensionsAndStorages) {
  for (const DTypeInfo& info : kDTypes) {
    const bool blocks = info.block_elements > 1;
    for (const std::int64_t dims : {1, 3, 16, 40, 63, 128, 1024}) {
      for (const Storage storage :
           {Storage::bshd, Storage::bhsd, Storage::spaced, Storage::interleaved}) {
        if (blocks && storage == Storage::spaced) continue;
        CaseSpec spec = spec_of({3, 20}, {33, 40});
        const auto whole = [&](std::int64_t count) {
          return (count + info.block_elements - 1) / info.block_elements * info.block_elements;
        };
        spec.config.head_dim = whole(dims);
        spec.config.value_head_dim = whole((dims * 7 + 5) % 70 + 1);
        spec.storage = storage;
        spec.seed = static_cast<std::uint64_t>(dims);
        const DType near = info.computes ? info.type : DType::f16;
        check(spec, {near, info.type, info.type, near});
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ElementTypes, TemperaturesMasksAndMagnitudes) {
  for (const DTypeInfo& info : kDTypes) {
    for (const float temperature : {0.0F, 0.5F}) {
      for (const Distribution distribution :
           {Distribution::sharp, Distribution::tiny, Distribution::huge}) {
        CaseSpec spec = spec_of({1, 30}, {300, 60});
        spec.config.temperature = temperature;
        spec.config.window_left = 40;
        spec.distribution = distribution;
        check(spec, {DType::f16, info.type, info.type, DType::bf16});
        if (HasFailure()) return;
      }
    }
  }
}

// Every way in which elements can share scales, with and without zero points, for both kernels, in
// one piece and in pages of a block, of less than one, and of one token.
TEST(ElementTypes, ScalesOfEveryKind) {
  using proof::Scaling;
  std::uint64_t seed = 0;
  for (const DType type : {DType::int8, DType::int4}) {
    for (const Scaling scaling : {Scaling::token, Scaling::group, Scaling::sequence, Scaling::head,
                                  Scaling::channel, Scaling::tensor}) {
      for (const bool zero_points : {false, true}) {
        for (const std::int64_t dims : {64, 40}) {
          CaseSpec spec = spec_of({1, 5, 30}, {300, 40, 60});
          spec.config.head_dim = dims;
          spec.config.value_head_dim = 104 - dims;
          if (scaling == Scaling::sequence) spec.form = Form::padded;
          spec.scaling = scaling;
          spec.zero_points = zero_points;
          spec.seed = ++seed;
          spec = with_types(spec, {DType::f32, type, type, DType::f32});
          SCOPED_TRACE(to_string(spec));
          const Case c(spec);
          constexpr std::int64_t kPages[] = {1, 16, 100, 5};
          const PagedCase paged(c, kPages[seed % 4], seed % 3 == 0 ? Pool::bhsd : Pool::bshd);
          for (const std::string_view isa : supported_isas()) {
            expect_oracle(typed_run(c), on(isa, 2));
            expect_oracle({c.config(), paged.batch(), paged.tensors(false)}, on(isa));
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

/// One token against so many keys that workers share them.
CaseSpec long_row(DType kv_type, DType out_type) {
  CaseSpec spec = spec_of({1}, {3000});
  spec.config.value_head_dim = 64;
  return with_types(spec, {DType::f16, kv_type, kv_type, out_type});
}

TEST(ElementTypes, RowsThatWorkersShareAreRoundedOnce) {
  for (const DType out : kComputing) {
    const Case c(long_row(DType::fp8_e5m2, out));
    for (const std::string_view isa : supported_isas()) {
      Plan plan;
      ASSERT_TRUE(plan_attention(c.config(), c.batch(), on(isa, 8), plan).ok());
      ASSERT_EQ(plan.describe().find("splits: 0"), std::string::npos) << plan.describe();
      expect_oracle(typed_run(c), on(isa, 8));
      if (HasFailure()) return;
    }
  }
}

TEST(ElementTypes, MergedStatesAreRoundedOnce) {
  for (const DType out_type : kComputing) {
    const Case c(long_row(DType::q8_0, out_type));
    const std::int64_t dims = c.config().value_head_dim;
    for (const std::string_view isa : supported_isas()) {
      Plan plan;
      Workspace workspace;
      ASSERT_TRUE(plan_attention(c.config(), c.batch(), on(isa), plan).ok());
      ASSERT_TRUE(workspace.reserve(plan).ok());
      std::vector<float> memory(state_shape(plan).floats());
      const PartialStates states = PartialStates::in(memory.data(), state_shape(plan));
      ASSERT_TRUE(run_partial(plan, c.inputs(), states, workspace).ok());
      const TypedBuffer out(out_type, static_cast<std::int64_t>(c.out_size()));
      const std::array<ConstPartialStates, 1> shards = {states};
      ASSERT_TRUE(merge(plan, shards, out.data()).ok());
      for (const proof::Row& row : c.geometry().rows()) {
        const auto oracle =
            proof::oracle_row(c.geometry(), c.inputs(), row, proof::arithmetic_of(isa));
        const TypedBuffer rounded(out_type, dims);
        proof::narrow(oracle.out, rounded.data());
        std::vector<float> a, b;
        ASSERT_TRUE(
            std::ranges::equal(proof::floats_of(out.data() + c.geometry().out(row), dims, a),
                               proof::floats_of(rounded.data(), dims, b), same_bits))
            << isa << ", " << to_string(row);
      }
      const OutputData other{out.data().data(), out_type == DType::f32 ? DType::f16 : DType::f32};
      EXPECT_EQ(merge(plan, shards, other).code(), StatusCode::invalid_argument);
    }
  }
}

// Latent attention of DeepSeek's models (MLA): many heads on one KV head of 576 dimensions, of
// which the first 512 are its values, too.
TEST(ElementTypes, ValuesThatAreThePartOfKeys) {
  for (const DType type : {DType::f32, DType::bf16, DType::fp8_e4m3, DType::q8_0}) {
    for (const std::int32_t queries : {1, 2}) {
      CaseSpec spec = spec_of({queries}, {70});
      spec.config.query_heads = 16;
      spec.config.kv_heads = 1;
      spec.config.head_dim = 576;
      spec.config.value_head_dim = 512;
      const Case c(with_types(spec, {DType::f32, type, type, DType::f32}));
      TypedRun latent = typed_run(c);
      latent.batch.k = latent.batch.v = c.geometry().k_layout();
      latent.inputs.v = latent.inputs.k;
      for (const std::string_view isa : supported_isas()) {
        expect_oracle(latent, on(isa, 2));
        if (HasFailure()) return;
      }
    }
  }
}

// The distance from a single key to the next one may be any number: nobody may compute with it.
TEST(ElementTypes, StrideOfASingleKey) {
  constexpr std::int64_t kDims = 64, kFar = std::int64_t{1} << 62;
  for (const DTypeInfo& type : kDTypes) {
    AttentionConfig config;
    config.query_heads = 3;
    config.head_dim = kDims;
    config.k_type = config.v_type = type.type;
    Batch batch;
    batch.query.length = batch.key.length = 1;
    batch.k = batch.v = Layout{kFar, kFar, kDims};
    const std::vector<float> q(3 * kDims, 0.5F);
    const TypedBuffer k(type.type, kDims), v(type.type, kDims);
    std::ranges::fill(k.bytes(), std::byte{0x21});  // finite numbers of every type
    std::ranges::fill(v.bytes(), std::byte{0x12});
    const float scale = 0.1F;
    AttentionTensors tensors{.q = q.data(), .k = k.data(), .v = v.data()};
    if (type.scaled) {
      batch.k_scales = batch.v_scales = ScaleLayout{0, kFar, kFar, 0};
      tensors.k_scales = tensors.v_scales = {&scale, nullptr};
    }
    for (const std::string_view isa : supported_isas()) {
      SCOPED_TRACE(type.name);
      expect_oracle({config, batch, tensors}, on(isa));
      if (!type.scaled) continue;
      AttentionTensors offset = tensors;  // with zero points decode makes vectors of scales
      offset.k_scales.zero_points = offset.v_scales.zero_points = &scale;
      expect_oracle({config, batch, offset}, on(isa));
      if (HasFailure()) return;
    }
  }
}

// Those of keys that are not there, too.
TEST(ElementTypes, StridesOfNoKeys) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() - 1;
  AttentionConfig config;
  config.head_dim = 64;
  config.k_type = config.v_type = DType::int8;
  Batch batch;
  batch.sequences = 3;
  batch.query.length = 1;
  batch.k = batch.v = Layout{kMost, kMost, kMost};
  batch.k_scales = batch.v_scales = ScaleLayout{0, kMost, kMost, kMost};
  const std::vector<float> q(3 * 64, 0.5F);
  for (const std::string_view isa : supported_isas()) {
    expect_oracle({config, batch, {.q = q.data()}}, on(isa));
    if (HasFailure()) return;
  }
  // Heads that are read together, where there is something to read.
  AttentionConfig heads;
  heads.query_heads = heads.kv_heads = 8;
  heads.head_dim = 64;
  Batch none;
  none.sequences = 1;
  none.query.length = 1;
  none.k = none.v = Layout{0, std::int64_t{1} << 62, (std::int64_t{1} << 61) - 1};
  const std::vector<float> queries(8 * 64, 0.5F);
  for (const std::string_view isa : supported_isas()) {
    expect_oracle({heads, none, {.q = queries.data()}}, on(isa));
    if (HasFailure()) return;
  }
}

// Scratch is not cleared between runs: NaN that one leaves there must not reach the next.
TEST(ElementTypes, NothingIsLeftOfTheRunBefore) {
  const Types halves{DType::f32, DType::f16, DType::f16, DType::f32};
  CaseSpec wide = with_types(spec_of({2}, {40}), halves), narrow = wide;
  narrow.config.head_dim = narrow.config.value_head_dim = 24;
  Case spoilt(wide);
  for (const proof::Row& row : spoilt.geometry().rows()) {
    std::fill_n(spoilt.q() + spoilt.geometry().q(row), wide.config.head_dim,
                std::numeric_limits<float>::quiet_NaN());
  }
  spoilt.narrow();
  const Case c(narrow);
  for (const std::string_view isa : supported_isas()) {
    Workspace workspace;
    const auto run_in_workspace = [&](const Case& of) {
      std::vector<float> out(of.out_size());
      Plan plan;
      EXPECT_TRUE(plan_attention(of.config(), of.batch(), on(isa), plan).ok());
      EXPECT_TRUE(workspace.reserve(plan).ok());
      AttentionTensors tensors = of.inputs();
      tensors.out = out.data();
      EXPECT_TRUE(run(plan, tensors, workspace).ok());
      return out;
    };
    const std::vector<float> alone = run_in_workspace(c);
    EXPECT_TRUE(std::isnan(run_in_workspace(spoilt)[0]));
    EXPECT_EQ(run_in_workspace(c), alone) << isa;
  }
}

}  // namespace
}  // namespace heed::tests

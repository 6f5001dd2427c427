// Every element type against the canonical row of the floats that it widens to, bit for bit: in
// prefill and decode, in one piece and in pages; every code of every type; and what is refused.
#include <algorithm>
#include <array>
#include <bit>
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

/// Heads of two blocks, that both kernels and all forms of masks meet.
CaseSpec spec_of(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys) {
  CaseSpec spec;
  spec.config.query_heads = 4;
  spec.config.kv_heads = 2;
  spec.config.head_dim = 64;
  spec.config.value_head_dim = 96;
  spec.config.causal = true;
  spec.form = Form::ragged;
  spec.queries = std::move(queries);
  spec.keys = std::move(keys);
  return spec;
}

/// One token and a few (decode), and enough for several blocks (prefill), against several
/// partitions.
CaseSpec mixed() { return spec_of({1, 2, 50, 0}, {300, 17, 260, 5}); }

struct Types {
  DType q = DType::f32, k = DType::f32, v = DType::f32, out = DType::f32;
};

CaseSpec with_types(CaseSpec spec, const Types& types) {
  spec.config.q_type = types.q, spec.config.k_type = types.k;
  spec.config.v_type = types.v, spec.config.out_type = types.out;
  return spec;
}

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
    check(mixed(), all[i]);
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
    for (const Scaling scaling :
         {Scaling::token, Scaling::group, Scaling::head, Scaling::channel, Scaling::tensor}) {
      for (const bool zero_points : {false, true}) {
        for (const std::int64_t dims : {64, 40}) {
          CaseSpec spec = spec_of({1, 5, 30}, {300, 40, 60});
          spec.config.head_dim = dims;
          spec.config.value_head_dim = 104 - dims;
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

/// A case of bf16 products that decode and prefill see, with keys at odd places and in pages of an
/// odd number of tokens.
CaseSpec in_pairs(std::uint64_t seed) {
  CaseSpec spec = spec_of({1, 3, 47}, {275, 38, 121});
  constexpr std::int64_t kDims[] = {64, 2, 34, 80};
  spec.config.head_dim = kDims[seed % 4];
  spec.config.value_head_dim = seed % 3 == 0 ? 33 : 64;
  spec.config.causal = seed % 2 == 0;
  spec.config.window_left = seed % 5 == 0 ? 20 : kUnlimited;
  spec.seed = seed;
  return with_types(spec, {DType::bf16, DType::bf16, DType::bf16, DType::f32});
}

void expect_pairs(const Case& c, std::int64_t page_tokens) {
  SCOPED_TRACE(to_string(c.spec()) + ", pages of " + std::to_string(page_tokens));
  const PagedCase paged(c, page_tokens, Pool::bshd);
  for (const std::string_view isa : supported_isas()) {
    expect_oracle(typed_run(c), on(isa, 2, c.spec().seed % 2 == 0 ? 16 : 0));
    expect_oracle({c.config(), paged.batch(), paged.tensors(false)}, on(isa));
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Bf16Products, RowsAreThoseOfTheOracle) {
  constexpr std::int64_t kPages[] = {1, 5, 16, 17, 100};
  for (std::uint64_t seed = 1; seed <= (thorough() ? 20U : 6U); ++seed) {
    expect_pairs(Case(in_pairs(seed)), kPages[seed % 5]);
    if (HasFailure()) return;
  }
}

TEST(Bf16Products, TemperaturesScalesAndMagnitudes) {
  std::uint64_t seed = 30;
  for (const float temperature : {0.0F, 0.5F, std::numeric_limits<float>::infinity()}) {
    for (const Distribution distribution :
         {Distribution::sharp, Distribution::tiny, Distribution::huge}) {
      CaseSpec spec = in_pairs(++seed);
      spec.config.temperature = temperature;
      if (seed % 2 == 0) spec.config.scale = -0.3F;
      spec.distribution = distribution;
      expect_pairs(Case(spec), 16);
      if (HasFailure()) return;
    }
  }
}

// What is not finite reaches the rows that see it, and no other: also not those that see the other
// key of its pair.
TEST(Bf16Products, NotFinite) {
  for (const float spoiler :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN(), 1e-39F}) {
    for (std::uint64_t seed = 50; seed < (thorough() ? 54U : 52U); ++seed) {
      CaseSpec spec = in_pairs(seed);
      spec.config.causal = true;
      Case c(spec);
      const proof::Row row{2, 0, 0};
      const auto key = static_cast<std::int64_t>(40 + seed);
      c.k()[c.geometry().k(row, key)] = spoiler;
      c.v()[c.geometry().v(row, key + 7)] = spoiler;
      c.narrow();
      expect_pairs(c, 16);
      if (HasFailure()) return;
    }
  }
}

TEST(Bf16Products, AreAskedFor) {
  CaseSpec spec = in_pairs(60);
  Plan plan;
  const auto path = [&] {
    const Case c(spec);
    EXPECT_TRUE(plan_attention(c.config(), c.batch(), {}, plan).ok());
    return plan.describe().find("path: products of bf16") != std::string::npos;
  };
  EXPECT_TRUE(path());
  spec.config.products = Products::bf16;
  EXPECT_TRUE(path());
  spec.config.products = Products::f32;
  EXPECT_FALSE(path());
  const Case floats(spec);
  for (const std::string_view isa : supported_isas()) expect_oracle(typed_run(floats), on(isa));
  spec.config.products = Products::automatic;
  spec.config.head_dim = 63;
  EXPECT_FALSE(path());
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

/// Attention to a single key with a logit of 0 gives its value.
std::vector<float> through_one_key(const InputData& values, std::int64_t count, DType out_type,
                                   std::string_view isa) {
  constexpr std::int64_t kDims = 64;
  const std::int64_t rows = count / kDims;
  AttentionConfig config;
  config.head_dim = 1;
  config.value_head_dim = kDims;
  config.v_type = values.type();
  config.out_type = out_type;
  Batch batch;
  batch.sequences = rows;
  batch.query.length = batch.key.length = 1;
  Plan plan;
  Workspace workspace;
  EXPECT_TRUE(plan_attention(config, batch, on(isa), plan).ok());
  EXPECT_TRUE(workspace.reserve(plan).ok());
  const std::vector<float> zeros(static_cast<std::size_t>(rows), 0.0F);
  const TypedBuffer out(out_type, count);
  AttentionTensors tensors;
  tensors.q = tensors.k = zeros.data();
  tensors.v = values;
  tensors.out = out.data();
  EXPECT_TRUE(run(plan, tensors, workspace).ok());
  std::vector<float> buffer;
  const std::span<const float> floats = proof::floats_of(out.data(), count, buffer);
  return {floats.begin(), floats.end()};
}

/// −0 becomes +0 on the way.
float through(float x) { return x + 0.0F; }

template <class Element, std::size_t Codes>
void expect_every_code() {
  using Bits = decltype(Element::bits);
  std::vector<Element> codes(Codes);
  for (std::size_t i = 0; i < Codes; ++i) codes[i].bits = static_cast<Bits>(i);
  const InputData data = codes.data();
  std::vector<float> buffer;
  const auto expected = proof::floats_of(data, static_cast<std::int64_t>(Codes), buffer);
  for (const std::string_view isa : supported_isas()) {
    const std::vector<float> actual =
        through_one_key(data, static_cast<std::int64_t>(Codes), DType::f32, isa);
    for (std::size_t i = 0; i < Codes; ++i) {
      ASSERT_TRUE(same_bits(actual[i], through(expected[i])))
          << isa << ", " << dtype_info(data.type()).name << " code " << i << ": " << actual[i]
          << " and not " << expected[i];
    }
  }
}

TEST(ElementTypes, EveryCode) {
  expect_every_code<Float16, 65536>();
  expect_every_code<BFloat16, 65536>();
  expect_every_code<Float8E4M3, 256>();
  expect_every_code<Float8E5M2, 256>();
}

/// Elements of a type with every code: of blocks every scale that is a multiple of 32, with
/// codes of all values.
TypedBuffer every_code(DType type, std::int64_t elements) {
  TypedBuffer buffer(type, elements);
  const std::span<std::byte> bytes = buffer.bytes();
  const DTypeInfo& info = dtype_info(type);
  if (info.block_elements < 32) {
    // Two's complement of their number: all codes of 16 bits, those of 8 bits again and again.
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::size_t code = i / static_cast<std::size_t>(info.block_bytes);
      bytes[i] =
          static_cast<std::byte>(code >> (8 * (i % static_cast<std::size_t>(info.block_bytes))));
    }
    return buffer;
  }
  const auto block_bytes = static_cast<std::size_t>(info.block_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t block = i / block_bytes, at = i % block_bytes;
    const auto scale = static_cast<std::uint16_t>(block * 32 + block % 32);
    bytes[i] = at == 0   ? static_cast<std::byte>(scale & 0xFF)
               : at == 1 ? static_cast<std::byte>(scale >> 8)
                         : static_cast<std::byte>(block * 31 + at * 7);
  }
  return buffer;
}

// As keys, which decode transposes while they are packed. What is not finite spoils the rows of its
// sequence, so these are short; each has a whole block of keys, and one more.
TEST(ElementTypes, EveryCodeOfKeys) {
  constexpr std::int64_t kKeys = 33, kSequences = 64, kDims = 32;
  for (const DTypeInfo& type : kDTypes) {
    if (type.type == DType::f32) continue;
    AttentionConfig config;
    config.query_heads = 3;
    config.head_dim = kDims;
    config.k_type = type.type;
    config.scale = 0.125F;
    Batch batch;
    batch.sequences = kSequences;
    batch.query.length = 1;
    batch.key.length = kKeys;
    const TypedBuffer k = every_code(type.type, kSequences * kKeys * kDims);
    std::vector<float> v(static_cast<std::size_t>(kSequences * kKeys * kDims));
    std::vector<float> q(static_cast<std::size_t>(kSequences * 3 * kDims));
    proof::Random random(5);
    for (float& x : v) x = static_cast<float>(random.normal());
    for (float& x : q) x = static_cast<float>(random.normal());
    AttentionTensors tensors{.q = q.data(), .k = k.data(), .v = v.data()};
    const std::vector<float> scales(kSequences * kKeys, 0.1F);
    if (type.scaled) tensors.k_scales.scales = scales.data();
    for (const std::string_view isa : supported_isas()) {
      SCOPED_TRACE(type.name);
      expect_oracle({config, batch, tensors}, on(isa));
      if (HasFailure()) return;
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
    const TypedBuffer k = every_code(type.type, kDims), v = every_code(type.type, kDims);
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

/// Every float that is a 16-bit code of the type, or lies half way to the next one, or beside that.
std::vector<float> floats_around(DType type) {
  std::vector<float> floats;
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const auto bits = static_cast<std::uint16_t>(code);
    const Float16 half{bits};
    const BFloat16 brain{bits};
    std::vector<float> buffer;
    const InputData data = type == DType::f16 ? InputData(&half) : InputData(&brain);
    const float x = proof::floats_of(data, 1, buffer)[0];
    const float infinity = std::numeric_limits<float>::infinity();
    const float ulp =
        std::isfinite(x) ? std::abs(x) * (type == DType::f16 ? 0x1p-11F : 0x1p-8F) : 0;
    for (const float y : {x, x + ulp, x + ulp / 2}) {
      for (const float z : {y, std::nextafter(y, infinity), std::nextafter(y, -infinity)}) {
        floats.push_back(z);
      }
    }
  }
  floats.resize(floats.size() / 64 * 64);
  return floats;
}

TEST(ElementTypes, OutputsAreRoundedToTheNearest) {
  for (const DType type : {DType::f16, DType::bf16}) {
    const std::vector<float> floats = floats_around(type);
    const TypedBuffer rounded(type, std::ssize(floats));
    std::vector<float> zeroed = floats, buffer;
    for (float& x : zeroed) x = through(x);
    proof::narrow(zeroed, rounded.data());
    const auto count = static_cast<std::int64_t>(floats.size());
    const auto expected = proof::floats_of(rounded.data(), count, buffer);
    for (const std::string_view isa : supported_isas()) {
      const std::vector<float> actual = through_one_key(floats.data(), count, type, isa);
      for (std::size_t i = 0; i < floats.size(); ++i) {
        ASSERT_TRUE(same_bits(actual[i], expected[i]))
            << isa << ": " << floats[i] << " became " << actual[i] << " and not " << expected[i];
      }
    }
  }
}

// Scales of blocks may be anything, NaN and infinite ones too; codes as well, −128 included.
TEST(ElementTypes, EveryScaleAndCodeOfBlocks) {
  std::vector<BlockQ8> wide(2048);
  std::vector<BlockQ4> narrow(2048);
  for (std::size_t i = 0; i < wide.size(); ++i) {
    wide[i].scale.bits = narrow[i].scale.bits = static_cast<std::uint16_t>(i * 32 + i % 32);
    for (std::size_t j = 0; j < 32; ++j) {
      wide[i].codes[j] = static_cast<std::int8_t>((i * 32 + j) % 256 - 128);
      if (j < 16) narrow[i].codes[j] = static_cast<std::uint8_t>(i * 16 + j);
    }
  }
  for (const InputData& data : {InputData(wide.data()), InputData(narrow.data())}) {
    std::vector<float> buffer;
    const auto expected = proof::floats_of(data, 65536, buffer);
    for (const std::string_view isa : supported_isas()) {
      const std::vector<float> actual = through_one_key(data, 65536, DType::f32, isa);
      for (std::size_t i = 0; i < 65536; ++i) {
        ASSERT_TRUE(same_bits(actual[i], through(expected[i])))
            << isa << ", element " << i << ": " << actual[i] << " and not " << expected[i];
      }
    }
  }
}

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
  Case c(with_types(mixed(), {DType::f16, DType::bf16, DType::q8_0, DType::bf16}));
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

#include "tests/support/typed_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/oracle.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

using proof::Geometry;
using proof::Row;
using proof::TypedBuffer;

std::int64_t output_extent(const Geometry& g, const Layout& layout, std::int64_t dims) {
  return proof::extent(g.queries(), layout, g.sequences(), g.config().query_heads, dims);
}

void expect_row(const Geometry& geometry, const AttentionTensors& tensors, const Row& row,
                proof::Arithmetic arithmetic) {
  const std::int64_t dims = geometry.value_head_dim();
  const proof::OracleRow oracle = proof::oracle_row(geometry, tensors, row, arithmetic);
  const TypedBuffer rounded(tensors.out.type(), dims);
  proof::narrow(oracle.out, rounded.data());
  std::vector<float> expected, actual;
  const std::span<const float> want = proof::floats_of(rounded.data(), dims, expected);
  const std::span<const float> have =
      proof::floats_of(tensors.out + geometry.out(row), dims, actual);
  // A key whose weight is below 2⁻¹⁰⁰ of the largest one may count or not (docs/canonical-row.md).
  float largest = 0;
  for (const float y : want) largest = std::max(largest, std::abs(y));
  for (std::size_t x = 0; x < want.size(); ++x) {
    const bool same =
        same_bits(have[x], want[x]) || std::abs(have[x] - want[x]) <= 0x1p-100F * largest;
    ASSERT_TRUE(same) << to_string(row) << ", element " << x << ": " << have[x]
                      << " where the oracle has " << want[x];
  }
  const float lse = tensors.lse[geometry.lse(row)];
  ASSERT_TRUE(within_one_ulp(lse, oracle.lse))
      << "lse of " << to_string(row) << ": " << lse << " where the oracle has " << oracle.lse;
}

}  // namespace

proof::CaseSpec spec_of(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys) {
  proof::CaseSpec spec;
  spec.config.query_heads = 4;
  spec.config.kv_heads = 2;
  spec.config.head_dim = 64;
  spec.config.value_head_dim = 96;
  spec.config.causal = true;
  spec.form = proof::Form::ragged;
  spec.queries = std::move(queries);
  spec.keys = std::move(keys);
  return spec;
}

proof::CaseSpec mixed_spec() { return spec_of({1, 2, 50, 0}, {300, 17, 260, 5}); }

proof::CaseSpec with_types(proof::CaseSpec spec, const Types& types) {
  spec.config.q_type = types.q, spec.config.k_type = types.k;
  spec.config.v_type = types.v, spec.config.out_type = types.out;
  return spec;
}

TypedRun typed_run(const proof::Case& c) { return {c.config(), c.batch(), c.inputs()}; }

void expect_oracle(const TypedRun& typed, const PlanOptions& options) {
  SCOPED_TRACE(std::string(options.isa));
  Plan plan;
  Status status = plan_attention(typed.config, typed.batch, options, plan);
  ASSERT_TRUE(status.ok()) << status.message();
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  const Geometry geometry(typed.config, typed.batch, typed.inputs.tables);
  const std::int64_t dims = geometry.value_head_dim();
  const TypedBuffer out(typed.config.out_type,
                        output_extent(geometry, geometry.out_layout(), dims));
  const TypedBuffer lse(DType::f32, output_extent(geometry, geometry.lse_layout(), 1));
  AttentionTensors tensors = typed.inputs;
  tensors.out = out.data();
  tensors.lse = lse.data().as<float>();
  status = run(plan, tensors, workspace);
  ASSERT_TRUE(status.ok()) << status.message();

  const auto row_bytes = static_cast<std::size_t>(dtype_info(out.data().type()).bytes(dims));
  for (const Row& row : geometry.rows()) {
    expect_row(geometry, tensors, row, proof::arithmetic_of(plan.isa()));
    if (testing::Test::HasFatalFailure()) return;
    std::memset((out.data() + geometry.out(row)).data(), 0xFF, row_bytes);
  }
  EXPECT_TRUE(std::ranges::all_of(out.bytes(), [](std::byte b) { return b == std::byte{0xFF}; }))
      << "out was written outside its rows";
}

void expect_oracle_on_all(const proof::CaseSpec& spec, int workers) {
  SCOPED_TRACE(to_string(spec));
  const proof::Case c(spec);
  for (const std::string_view isa : c.geometry().pairs() ? supported_isas() : f32_isas()) {
    SCOPED_TRACE(isa);
    expect_oracle(typed_run(c), on(isa, workers));
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace heed::tests

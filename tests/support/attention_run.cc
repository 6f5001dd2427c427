#include "tests/support/attention_run.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace heed::tests {
namespace {

constexpr std::uint32_t kUnwrittenBits = 0x7FC5A5A5U;

bool unwritten(float x) { return std::bit_cast<std::uint32_t>(x) == kUnwrittenBits; }

/// Fails where [offset, offset + dims) of a row is not written, and then marks it as unwritten.
void take_written(std::vector<float>& buffer, std::int64_t offset, std::int64_t dims,
                  const proof::Row& row, const char* name) {
  for (std::int64_t x = 0; x < dims; ++x) {
    float& element = buffer[static_cast<std::size_t>(offset + x)];
    ASSERT_FALSE(unwritten(element)) << name << " not written: " << to_string(row) << ", " << x;
    element = std::bit_cast<float>(kUnwrittenBits);
  }
}

}  // namespace

bool thorough() {
  if (const char* const asked = std::getenv("HEED_TEST_THOROUGH")) return *asked == '1';
// Builds with sanitizers are without NDEBUG.
#if defined(NDEBUG) && !defined(HEED_EMULATED)
  return true;
#else
  return false;
#endif
}

std::vector<std::string_view> supported_isas() {
  std::vector<std::string_view> names;
  for (const IsaInfo& isa : isas()) {
    if (isa.supported) names.push_back(isa.name);
  }
  return names;
}

std::vector<std::string_view> f32_isas() {
  std::vector<std::string_view> names = supported_isas();
  std::erase(names, "avx512_bf16");
  return names;
}

PlanOptions on(std::string_view isa, int workers, int tile_keys) {
  PlanOptions options;
  options.isa = isa;
  options.workers = workers;
  options.tile_keys = tile_keys;
  return options;
}

proof::CaseSpec small_case(std::int32_t queries, std::int32_t keys) {
  proof::CaseSpec spec;
  spec.config.query_heads = 4;
  spec.config.kv_heads = 2;
  spec.config.head_dim = 20;
  spec.config.value_head_dim = 12;
  spec.queries = {queries};
  spec.keys = {keys};
  return spec;
}

AttentionTensors Outputs::with(AttentionTensors inputs) {
  inputs.out = out.data();
  inputs.lse = lse.data();
  return inputs;
}

Outputs fresh_outputs(const proof::Case& c) {
  Outputs outputs{proof::GuardedBuffer(c.out_size()), proof::GuardedBuffer(c.lse_size())};
  std::ranges::fill(outputs.out.span(), std::bit_cast<float>(kUnwrittenBits));
  std::ranges::fill(outputs.lse.span(), std::bit_cast<float>(kUnwrittenBits));
  return outputs;
}

Plan plan_case(const proof::Case& c, const PlanOptions& options) {
  Plan plan;
  const Status status = plan_attention(c.config(), c.batch(), options, plan);
  EXPECT_TRUE(status.ok()) << status.message();
  // ISAs of the same arithmetic have the same bits: nothing else would tell that another one ran.
  EXPECT_TRUE(options.isa.empty() || plan.isa() == options.isa) << plan.isa();
  return plan;
}

void fill_with_nan(Workspace& workspace) {
  constexpr std::size_t state_of_runs = 512;
  if (workspace.bytes() <= state_of_runs) return;
  auto* const floats =
      reinterpret_cast<float*>(static_cast<std::byte*>(workspace.data()) + state_of_runs);
  std::fill_n(floats, (workspace.bytes() - state_of_runs) / sizeof(float),
              std::numeric_limits<float>::quiet_NaN());
}

Outputs run_plan(const proof::Case& c, const Plan& plan, Executor* executor) {
  Outputs outputs = fresh_outputs(c);
  Workspace workspace;
  Status status = workspace.reserve(plan);
  EXPECT_TRUE(status.ok()) << status.message();
  fill_with_nan(workspace);
  status = run(plan, outputs.with(c.inputs()), workspace, executor);
  EXPECT_TRUE(status.ok()) << status.message();
  expect_exactly_rows_written(c.geometry(), outputs);
  return outputs;
}

Outputs run_case(const proof::Case& c, const PlanOptions& options) {
  return run_plan(c, plan_case(c, options));
}

void expect_exactly_rows_written(const proof::Geometry& geometry, const Outputs& outputs) {
  std::vector<float> out(outputs.out.span().begin(), outputs.out.span().end());
  std::vector<float> lse(outputs.lse.span().begin(), outputs.lse.span().end());
  for (const proof::Row& row : geometry.rows()) {
    take_written(out, geometry.out(row), geometry.value_head_dim(), row, "out");
    take_written(lse, geometry.lse(row), 1, row, "lse");
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_TRUE(std::ranges::all_of(out, unwritten)) << "out was written outside its rows";
  EXPECT_TRUE(std::ranges::all_of(lse, unwritten)) << "lse was written outside its rows";
}

std::span<const float> out_of(const proof::Geometry& geometry, const Outputs& outputs,
                              const proof::Row& row) {
  return {outputs.out.data() + geometry.out(row),
          static_cast<std::size_t>(geometry.value_head_dim())};
}

bool same_bits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

bool within_one_ulp(float a, float b) {
  if (same_bits(a, b)) return true;
  const float infinity = std::numeric_limits<float>::infinity();
  return std::nextafter(a, infinity) == b || std::nextafter(a, -infinity) == b;
}

void expect_same_row(const proof::Geometry& geometry_a, const Outputs& a, const proof::Row& row_a,
                     const proof::Geometry& geometry_b, const Outputs& b, const proof::Row& row_b) {
  const float* const out_a = a.out.data() + geometry_a.out(row_a);
  const float* const out_b = b.out.data() + geometry_b.out(row_b);
  for (std::int64_t x = 0; x < geometry_a.value_head_dim(); ++x) {
    ASSERT_TRUE(same_bits(out_a[x], out_b[x])) << "out of " << to_string(row_a) << ", element " << x
                                               << ": " << out_a[x] << " against " << out_b[x];
  }
  const float lse_a = a.lse.data()[geometry_a.lse(row_a)];
  const float lse_b = b.lse.data()[geometry_b.lse(row_b)];
  ASSERT_TRUE(same_bits(lse_a, lse_b))
      << "lse of " << to_string(row_a) << ": " << lse_a << " against " << lse_b;
}

void expect_same_rows(const proof::Geometry& geometry_a, const Outputs& a,
                      const proof::Geometry& geometry_b, const Outputs& b) {
  for (const proof::Row& row : geometry_a.rows()) {
    expect_same_row(geometry_a, a, row, geometry_b, b, row);
    if (testing::Test::HasFatalFailure()) return;
  }
}

void expect_oracle_rows(const proof::Geometry& geometry, const AttentionTensors& inputs,
                        const Outputs& outputs, std::span<const proof::Row> rows,
                        proof::Arithmetic arithmetic) {
  for (const proof::Row& row : rows) {
    const proof::OracleRow expected = proof::oracle_row(geometry, inputs, row, arithmetic);
    const float* const out = outputs.out.data() + geometry.out(row);
    for (std::size_t x = 0; x < expected.out.size(); ++x) {
      ASSERT_TRUE(same_bits(out[x], expected.out[x]))
          << "out of " << to_string(row) << ", element " << x << ": " << out[x]
          << " where the oracle has " << expected.out[x];
    }
    const float lse = outputs.lse.data()[geometry.lse(row)];
    ASSERT_TRUE(within_one_ulp(lse, expected.lse))
        << "lse of " << to_string(row) << ": " << lse << " where the oracle has " << expected.lse;
  }
}

std::string to_string(const proof::Row& row) {
  return "sequence " + std::to_string(row.sequence) + " token " + std::to_string(row.token) +
         " head " + std::to_string(row.head);
}

}  // namespace heed::tests

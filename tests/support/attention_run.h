// What the attention tests share: running a case, and comparing what comes out.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heed/heed.h"
#include "tests/proof/case.h"
#include "tests/proof/oracle.h"

namespace heed::tests {

/// False in builds with sanitizers, without optimisation or for an emulator, where sweeps are
/// thinned out. HEED_TEST_THOROUGH decides it where it is set: 1 asks for all.
bool thorough();

/// Names of the ISAs that this machine can run, best first, the toy one included.
std::vector<std::string_view> supported_isas();

/// Those of them that have kernels of their own for f32: avx512_bf16 calls those of avx512.
std::vector<std::string_view> f32_isas();

/// Options that name an ISA (empty: the best).
PlanOptions on(std::string_view isa, int workers = 1, int tile_keys = 0);

/// One sequence, two query heads for each of two KV heads, dimensions that are no whole vectors.
proof::CaseSpec small_case(std::int32_t queries, std::int32_t keys);

/// The output tensors of one run, with guard pages around them. What a run has not written holds a
/// NaN of its own.
struct Outputs {
  proof::GuardedBuffer out, lse;
  AttentionTensors with(AttentionTensors inputs);
};

Outputs fresh_outputs(const proof::Case& c);

/// The case, planned. A failure to plan fails the test and leaves the plan empty.
Plan plan_case(const proof::Case& c, const PlanOptions& options);

/// Fills a workspace with NaN, but for the bytes that begin it, which hold the state of runs: what
/// a kernel reads before it has written it then reaches results.
void fill_with_nan(Workspace& workspace);

/// Runs a plan of the case with a new workspace, in `executor` or the caller's arena, and checks
/// that exactly the elements of the case's rows were written.
Outputs run_plan(const proof::Case& c, const Plan& plan, Executor* executor = nullptr);

/// plan_case, then run_plan.
Outputs run_case(const proof::Case& c, const PlanOptions& options);

/// Fails the test where elements of the case's rows were not written, or others were.
void expect_exactly_rows_written(const proof::Geometry& geometry, const Outputs& outputs);

/// One row of the output.
std::span<const float> out_of(const proof::Geometry& geometry, const Outputs& outputs,
                              const proof::Row& row);

/// The same bits; any NaN equals any other.
bool same_bits(float a, float b);

/// The same bits, or those of a neighbour.
bool within_one_ulp(float a, float b);

/// Fails the test at the first row whose output or LSE differ. Layouts may differ, lengths may not.
void expect_same_rows(const proof::Geometry& geometry_a, const Outputs& a,
                      const proof::Geometry& geometry_b, const Outputs& b);
void expect_same_row(const proof::Geometry& geometry_a, const Outputs& a, const proof::Row& row_a,
                     const proof::Geometry& geometry_b, const Outputs& b, const proof::Row& row_b);

/// Fails the test at the first of `rows` that differs from its oracle in a bit of the output or by
/// more than one ULP of the LSE, whose logarithm is the kernel's own.
void expect_oracle_rows(const proof::Geometry& geometry, const AttentionTensors& inputs,
                        const Outputs& outputs, std::span<const proof::Row> rows,
                        proof::Arithmetic arithmetic);

std::string to_string(const proof::Row& row);

}  // namespace heed::tests

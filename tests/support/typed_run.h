// Runs with tensors of any element types, against the oracle.
#pragma once

#include <cstdint>
#include <vector>

#include "heed/heed.h"
#include "tests/proof/case.h"

namespace heed::tests {

/// Sequences of so many queries and keys: heads of two blocks, that both kernels and all forms of
/// masks meet.
proof::CaseSpec spec_of(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys);

/// One token and a few (decode), and enough for several blocks (prefill), against several
/// partitions.
proof::CaseSpec mixed_spec();

struct Types {
  DType q = DType::f32, k = DType::f32, v = DType::f32, out = DType::f32;
};

proof::CaseSpec with_types(proof::CaseSpec spec, const Types& types);

/// A description and its inputs, of the types of its configuration.
struct TypedRun {
  AttentionConfig config;
  Batch batch;
  AttentionTensors inputs;  ///< outputs are null
};

TypedRun typed_run(const proof::Case& c);

/// Runs it, and fails the test where a row is not its oracle's in every bit, rounded to the type of
/// the outputs, where its log-sum-exp is more than one ULP away, or where anything but rows was
/// written.
void expect_oracle(const TypedRun& typed, const PlanOptions& options);

/// The same of a case on every ISA that has kernels of its own for its products.
void expect_oracle_on_all(const proof::CaseSpec& spec, int workers = 3);

}  // namespace heed::tests

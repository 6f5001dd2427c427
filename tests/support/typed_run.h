// Runs with tensors of any element types, against the oracle.
#pragma once

#include "heed/heed.h"
#include "tests/proof/case.h"

namespace heed::tests {

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

}  // namespace heed::tests

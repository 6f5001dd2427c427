// The tensors of a case in other element types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "heed/heed.h"
#include "tests/proof/case.h"
#include "tests/proof/typed_tensors.h"
#include "tests/support/attention_run.h"
#include "tests/support/paged_case.h"

namespace heed::tests {

using proof::TypedBuffer;

struct Types {
  DType q = DType::f32, k = DType::f32, v = DType::f32, out = DType::f32;
};

std::string to_string(const Types& types);

/// A case whose tensors have these types, with the nearest elements to those of the case. It lies
/// as the case does, in one piece or, as a PagedCase does, in pages.
class TypedCase {
 public:
  enum class Values { apart, of_keys };

  /// Values of keys are the first elements of these.
  TypedCase(const proof::Case& c, const Types& types, Values values = Values::apart);
  TypedCase(const proof::Case& c, const PagedCase& paged, const Types& types);

  AttentionConfig config() const;
  Batch batch() const;
  proof::Geometry geometry() const { return {config(), batch(), inputs().tables}; }
  /// Outputs are null.
  AttentionTensors inputs() const;
  const Types& types() const { return types_; }
  std::size_t out_size() const { return case_.out_size(); }
  std::size_t lse_size() const { return case_.lse_size(); }

 private:
  void fill_pages();

  const proof::Case& case_;
  const PagedCase* paged_ = nullptr;
  Types types_;
  Values values_ = Values::apart;
  TypedBuffer q_, k_, v_;
};

/// Runs the case, and fails the test at the first row that is not its oracle's in every bit,
/// rounded to the type of the outputs.
void expect_oracle(const TypedCase& c, const PlanOptions& options);

}  // namespace heed::tests

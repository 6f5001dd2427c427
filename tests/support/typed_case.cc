#include "tests/support/typed_case.h"

#include <span>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/oracle.h"

namespace heed::tests {
namespace {

using proof::Geometry;
using proof::Row;

std::size_t size(std::int64_t elements) { return static_cast<std::size_t>(elements); }

/// The pool of keys or of values, all NaN.
TypedBuffer pool_of(const PagedLayout& layout, const PageStrides& s, std::int64_t dims,
                    DType type) {
  return {type, (layout.pages - 1) * s.page + (layout.page_tokens - 1) * s.token +
                    (layout.kv_heads - 1) * s.head + dims};
}

void narrow(const InputData& from, std::int64_t offset, std::int64_t dims, const OutputData& to) {
  proof::narrow({from.as<float>() + offset, size(dims)}, to + offset);
}

}  // namespace

std::string to_string(const Types& types) {
  const auto name = [](DType type) { return std::string(dtype_info(type).name); };
  return "q " + name(types.q) + " k " + name(types.k) + " v " + name(types.v) + " out " +
         name(types.out);
}

TypedCase::TypedCase(const proof::Case& c, const Types& types, Values values)
    : case_(c),
      types_(types),
      values_(values),
      q_(proof::narrow_queries(c.geometry(), c.inputs().q, types.q)),
      k_(proof::narrow_keys(c.geometry(), c.inputs().k, types.k)),
      v_(proof::narrow_values(c.geometry(), c.inputs().v, types.v)) {}

TypedCase::TypedCase(const proof::Case& c, const PagedCase& paged, const Types& types)
    : case_(c),
      paged_(&paged),
      types_(types),
      q_(proof::narrow_queries(c.geometry(), c.inputs().q, types.q)),
      k_(pool_of(paged.layout(), paged.layout().k, paged.layout().head_dim, types.k)),
      v_(pool_of(paged.layout(), paged.layout().v, paged.layout().value_head_dim, types.v)) {
  fill_pages();
}

AttentionConfig TypedCase::config() const {
  AttentionConfig config = case_.config();
  config.q_type = types_.q, config.k_type = types_.k;
  config.v_type = types_.v, config.out_type = types_.out;
  return config;
}

Batch TypedCase::batch() const {
  Batch batch = paged_ == nullptr ? case_.batch() : paged_->batch();
  if (values_ == Values::of_keys) batch.k = batch.v = case_.geometry().k_layout();
  return batch;
}

AttentionTensors TypedCase::inputs() const {
  AttentionTensors tensors;
  if (paged_ != nullptr) tensors.tables = paged_->tensors(false).tables;
  tensors.q = q_.data();
  tensors.k = k_.data();
  tensors.v = values_ == Values::of_keys ? k_.data() : v_.data();
  return tensors;
}

void TypedCase::fill_pages() {
  const PagedLayout& layout = paged_->layout();
  const AttentionTensors floats = paged_->tensors(false);
  const auto at = [](const PageStrides& s, std::int64_t page, std::int64_t token,
                     std::int64_t head) { return page * s.page + token * s.token + head * s.head; };
  for (std::int64_t page = 0; page < layout.pages; ++page) {
    for (std::int64_t token = 0; token < layout.page_tokens; ++token) {
      for (std::int64_t head = 0; head < layout.kv_heads; ++head) {
        narrow(floats.k, at(layout.k, page, token, head), layout.head_dim, k_.data());
        narrow(floats.v, at(layout.v, page, token, head), layout.value_head_dim, v_.data());
      }
    }
  }
}

void expect_oracle(const TypedCase& c, const PlanOptions& options) {
  SCOPED_TRACE(to_string(c.types()) + " on " + std::string(options.isa));
  Plan plan;
  Status status = plan_attention(c.config(), c.batch(), options, plan);
  ASSERT_TRUE(status.ok()) << status.message();
  Workspace workspace;
  ASSERT_TRUE(workspace.reserve(plan).ok());
  const TypedBuffer out(c.types().out, static_cast<std::int64_t>(c.out_size()));
  proof::GuardedBuffer lse(c.lse_size());
  AttentionTensors tensors = c.inputs();
  tensors.out = out.data();
  tensors.lse = lse.data();
  status = run(plan, tensors, workspace);
  ASSERT_TRUE(status.ok()) << status.message();

  const Geometry geometry = c.geometry();
  const auto dims = geometry.value_head_dim();
  std::vector<float> expected, actual;
  for (const Row& row : geometry.rows()) {
    const proof::OracleRow oracle =
        proof::oracle_row(geometry, tensors, row, proof::arithmetic_of(plan.isa()));
    const TypedBuffer rounded(c.types().out, dims);
    proof::narrow(oracle.out, rounded.data());
    const std::span<const float> want = proof::floats_of(rounded.data(), dims, expected);
    const std::span<const float> have =
        proof::floats_of(out.data() + geometry.out(row), dims, actual);
    for (std::size_t x = 0; x < want.size(); ++x) {
      ASSERT_TRUE(same_bits(have[x], want[x])) << to_string(row) << ", element " << x << ": "
                                               << have[x] << " where the oracle has " << want[x];
    }
  }
}

}  // namespace heed::tests

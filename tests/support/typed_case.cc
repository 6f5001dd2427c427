#include "tests/support/typed_case.h"

#include <cstring>
#include <span>
#include <vector>

#include "tests/proof/elements.h"
#include "tests/proof/oracle.h"

namespace heed::tests {
namespace {

using proof::Geometry;
using proof::Row;

std::size_t floats_for(DType type, std::size_t elements) {
  const auto bytes = dtype_info(type).bytes(static_cast<std::int64_t>(elements));
  return (static_cast<std::size_t>(bytes) + sizeof(float) - 1) / sizeof(float);
}

std::size_t size(std::int64_t elements) { return static_cast<std::size_t>(elements); }

std::size_t pool_elements(const PagedLayout& layout, const PageStrides& s, std::int64_t dims) {
  return size((layout.pages - 1) * s.page + (layout.page_tokens - 1) * s.token +
              (layout.kv_heads - 1) * s.head + dims);
}

std::size_t key_elements(const proof::Case& c, const PagedCase* paged, bool values) {
  const Geometry& g = c.geometry();
  const std::int64_t dims = values ? g.value_head_dim() : c.config().head_dim;
  if (paged != nullptr) {
    const PagedLayout& layout = paged->layout();
    return pool_elements(layout, values ? layout.v : layout.k, dims);
  }
  return size(proof::extent(g.keys(), values ? g.v_layout() : g.k_layout(), g.sequences(),
                            c.config().kv_heads, dims));
}

std::size_t query_elements(const proof::Case& c) {
  const Geometry& g = c.geometry();
  return size(proof::extent(g.queries(), g.q_layout(), g.sequences(), c.config().query_heads,
                            c.config().head_dim));
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

TypedBuffer::TypedBuffer(DType type, std::size_t elements) : memory_(floats_for(type, elements)) {
  const auto bytes = size(dtype_info(type).bytes(static_cast<std::int64_t>(elements)));
  auto* const memory = reinterpret_cast<std::byte*>(memory_.data());
  const std::size_t room = memory_.size() * sizeof(float);
  if (room > 0) std::memset(memory, 0xFF, room);
  data_ = {memory + (room - bytes), type};
}

TypedCase::TypedCase(const proof::Case& c, const Types& types, Values values)
    : case_(c),
      types_(types),
      values_(values),
      q_(types.q, query_elements(c)),
      k_(types.k, key_elements(c, nullptr, false)),
      v_(types.v, key_elements(c, nullptr, true)) {
  fill_queries();
  fill_dense();
}

TypedCase::TypedCase(const proof::Case& c, const PagedCase& paged, const Types& types)
    : case_(c),
      paged_(&paged),
      types_(types),
      q_(types.q, query_elements(c)),
      k_(types.k, key_elements(c, &paged, false)),
      v_(types.v, key_elements(c, &paged, true)) {
  fill_queries();
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

void TypedCase::fill_queries() {
  const Geometry& g = case_.geometry();
  for (const Row& row : g.rows()) {
    narrow(case_.inputs().q, g.q(row), case_.config().head_dim, q_.data());
  }
}

void TypedCase::fill_dense() {
  const Geometry& g = case_.geometry();
  const AttentionTensors dense = case_.inputs();
  for (std::int64_t b = 0; b < g.sequences(); ++b) {
    for (std::int64_t j = 0; j < g.keys().length(b); ++j) {
      for (std::int64_t head = 0; head < case_.config().query_heads; head += g.group()) {
        const Row row{b, 0, head};
        narrow(dense.k, g.k(row, j), case_.config().head_dim, k_.data());
        narrow(dense.v, g.v(row, j), g.value_head_dim(), v_.data());
      }
    }
  }
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
  const TypedBuffer out(c.types().out, c.out_size());
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
    const TypedBuffer rounded(c.types().out, size(dims));
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

// Workloads of the bench, from lines that describe them, and their tensors.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

#include "bench/attention_case.h"
#include "bench/memory.h"
#include "bench/workloads.h"

namespace heed::tests {

/// The workloads of such lines, which must be right.
inline std::vector<bench::Workload> parse(const std::string& text) {
  std::vector<bench::Workload> workloads;
  const Status status = bench::parse_workloads("lines", text, workloads);
  EXPECT_TRUE(status.ok()) << status.message();
  return workloads;
}

inline bench::Workload parse_one(const std::string& line) {
  std::vector<bench::Workload> workloads = parse(line);
  EXPECT_EQ(workloads.size(), 1U);
  return workloads.empty() ? bench::Workload{} : workloads.front();
}

inline bench::AttentionWorkload attention(const std::string& line) {
  return std::get<bench::AttentionWorkload>(parse_one(line).what);
}

/// The tensors of a workload, as the bench makes them.
struct Tensors {
  explicit Tensors(const bench::AttentionCase& c) {
    EXPECT_TRUE(bench::Pool::create(c.query_floats(), bench::Pages::usual, query).ok());
    EXPECT_TRUE(bench::Pool::create(c.kv_copy_floats(), bench::Pages::usual, keys_and_values).ok());
    EXPECT_TRUE(bench::Pool::create(c.query_floats(), bench::Pages::usual, out).ok());
    all.q = query.inputs(c.query_inputs()).data();
    all.k = keys_and_values.inputs(c.kv_inputs()).data();
    all.v = all.k + c.value_offset();
    all.out = out.scratch().data();
    all.tables = c.tables();
  }

  bench::Pool query, keys_and_values, out;
  AttentionTensors all;
};

}  // namespace heed::tests

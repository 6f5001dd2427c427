// The reports of a run: a table for people, JSON for programs.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "bench/bench.h"
#include "bench/memory.h"

namespace heed::bench {

/// Writes a table to standard output, row by row, and what is under way to standard error where
/// that is a terminal. Fails where standard output does not take it.
class Table {
 public:
  explicit Table(std::size_t name_width) : name_width_(name_width) {}

  /// `note` is a line of its own, or empty.
  Status head(const Setting& setting, const StreamSize& stream, std::string_view note) const;
  void progress(std::size_t step, std::size_t steps, std::string_view name, int threads) const;
  Status row(const Result& result) const;
  /// A second table: of workloads beside others that have been measured, too, the time of a visible
  /// score by that of the other's. Nothing where there are none.
  Status costs(std::span<const Result> results) const;

 private:
  std::size_t name_width_;
};

/// {"host": {…}, "results": […]}; null stands for a figure that a kind of workload does not have.
std::string to_json(const Setting& setting, const StreamSize& stream,
                    std::span<const Result> results);

}  // namespace heed::bench

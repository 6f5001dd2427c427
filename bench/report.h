// The reports of a run: a table for people, the same in Markdown, CSV and JSON for programs, and a
// page for browsers.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench.h"
#include "bench/memory.h"
#include "bench/provenance.h"

namespace heed::bench {

enum class Format { table, markdown, csv, json, html };

inline constexpr std::string_view kFormatNames[] = {"table", "md", "csv", "json", "html"};

/// What JSON files of heed bench call themselves, and the version of what is in them.
inline constexpr std::string_view kSchema = "heed-bench";
inline constexpr int kSchemaVersion = 1;

/// Writes to standard output, row by row, and what is under way to standard error where that is a
/// terminal. Fails where standard output does not take it.
class Report {
 public:
  Report(Format format, const Setting& setting, const StreamSize& stream,
         std::span<const Workload> workloads);

  /// `note` is a line of its own, or empty.
  Status head(std::string_view note) const;
  void progress(std::size_t step, std::size_t steps, std::string_view name, int threads) const;
  Status row(const Result& result) const;
  /// What all results say together: in tables the costs of visible scores beside others, and which
  /// figures were disturbed; JSON and the page as a whole.
  Status end(std::span<const Result> results) const;

  /// {"schema": …, "heed": {…}, "host": {…}, "setting": {…}, "results": […]}; null stands for a
  /// figure that a kind of workload does not have, or that the system does not tell.
  std::string json(std::span<const Result> results) const;

 private:
  bool in_rows() const { return format_ != Format::json && format_ != Format::html; }
  std::string line(const std::vector<std::string>& cells) const;
  Status costs(std::span<const Result> results) const;
  Status disturbances(std::span<const Result> results) const;

  const Format format_;
  const Setting& setting_;
  const StreamSize stream_;
  std::size_t name_width_;
  const std::string date_ = utc_now();
};

}  // namespace heed::bench

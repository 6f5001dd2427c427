// Two files of heed bench, workload by workload: which of them is faster, and how sure that is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "heed/status.h"

namespace heed::bench {

/// The times of one workload on one number of threads.
struct Samples {
  std::string name, shape;
  int threads = 0;
  /// Of each run, in ms, by slices: runs of one slice saw the same moment.
  std::vector<std::vector<double>> slices;
};

/// A JSON file of heed bench.
struct BenchFile {
  std::string path;
  std::string about;  ///< which heed, when, and on which machine
  bool warm = false;
  std::vector<Samples> results;
};

/// Reads the text of such a file. Fails with a sentence that begins with the path where it is none,
/// or of another version of the schema.
Status parse_bench_file(const std::string& path, std::string_view text, BenchFile& file);

enum class Verdict { faster, slower, undecided };

inline constexpr std::string_view kVerdictNames[] = {"faster", "slower", "undecided"};

/// B beside A.
struct Comparison {
  std::string name;
  int threads = 0;
  double a_ms = 0, b_ms = 0;  ///< medians
  double ratio = 0;           ///< a_ms / b_ms: above 1 where B is faster
  double low = 0, high = 0;   ///< where the ratio lies with 95% confidence
  Verdict verdict = Verdict::undecided;
};

/// Compares each result of A with that of B. The interval is the middle 95% of the ratios of 2000
/// pairs of samples that are drawn, with replacement, from those of A and of B: whole slices, of
/// which as many as there are, or single runs where there are fewer than 4 slices. Draws are the
/// same every time. B is faster (slower) where the whole interval lies above (below) 1, and the
/// ratio further from it than `margin`, a part of 1.
///
/// Fails with a sentence where one file lacks a result that the other has, where results of one
/// name are of different shapes, and where one file was measured warm and the other was not.
Status compare_files(const BenchFile& a, const BenchFile& b, double margin,
                     std::vector<Comparison>& comparisons);

}  // namespace heed::bench

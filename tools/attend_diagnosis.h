// What heed attend says of the weights: files of them, figures of heads, and pictures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/attention.h"
#include "heed/status.h"
#include "tools/attend_modifiers.h"
#include "tools/output_files.h"

namespace heed::tools {

/// The options, as given; empty where one is not.
struct DiagnosisOptions {
  std::string weights, weights_type, json, heatmap, head;
  bool diagnose = false;

  bool any() const { return diagnose || !weights.empty() || !heatmap.empty(); }
};

/// What the weights of a head say, over all rows that see a key.
struct HeadFigures {
  std::int64_t rows = 0;
  double entropy = 0;         ///< mean, in nats
  double of_maximum = 0;      ///< mean of the entropy's part of the logarithm of the visible keys
  double largest = 0;         ///< mean of the largest weights
  double one_hot = 0;         ///< part of the rows whose largest weight is at least 0.9
  double over_confident = 0;  ///< the same of 0.99, of rows that see more than one key
  std::int64_t top_key = -1;  ///< the key with the most mass
  double top_share = 0;       ///< its part of all mass

  /// "one-hot", "sharp", "mixed" or "diffuse".
  const char* verdict() const;
};

class Diagnosis {
 public:
  /// Checks what the options ask for, before any work.
  Status parse(const DiagnosisOptions& options, const ScoreExtents& extents);

  /// Computes what is asked for, of the tensors of a run. `visible` is the log-sum-exp of a run in
  /// which all visible keys weigh the same: the logarithms of their numbers.
  Status compute(const Plan& plan, const AttentionTensors& tensors,
                 const std::vector<float>& visible, Executor* executor);

  /// Appends the files; they refer to this object.
  Status add_files(std::vector<OutputFile>& files);
  /// Prints the table, where it is asked for.
  void print() const;

 private:
  HeadFigures figures_of(std::int64_t head, const std::vector<float>& visible) const;

  DiagnosisOptions options_;
  ScoreExtents extents_;
  DType type_ = DType::f32;
  std::int64_t head_ = 0;  ///< of the picture
  std::vector<std::byte> weights_;
  std::vector<float> entropy_, largest_, mass_, picture_;
  std::vector<std::int32_t> keys_;
  std::vector<HeadFigures> heads_;
};

}  // namespace heed::tools

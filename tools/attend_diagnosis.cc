#include "tools/attend_diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "heed/attention_weights.h"
#include "heed/convert.h"
#include "heed/tensor_data.h"
#include "tools/arguments.h"
#include "tools/heat_map.h"
#include "tools/npy_header.h"
#include "tools/status.h"

namespace heed::tools {
namespace {

using Json = nlohmann::ordered_json;

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

/// A number for JSON, which has no infinity and no NaN.
Json number(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

}  // namespace

const char* HeadFigures::verdict() const {
  if (rows == 0) return "sees nothing";
  if (!std::isfinite(entropy)) return "not a number";
  if (largest >= 0.9) return "one-hot";
  if (of_maximum >= 0.8) return "diffuse";
  return of_maximum < 0.3 ? "sharp" : "mixed";
}

Status Diagnosis::parse(const DiagnosisOptions& options, const ScoreExtents& extents) {
  options_ = options;
  extents_ = extents;
  if (!options.json.empty() && !options.diagnose) {
    return bad_value("--json", options.json, "left out without --diagnose, whose figures it takes");
  }
  if (!options.weights_type.empty()) {
    if (options.weights.empty()) {
      return bad_value("--weights-type", options.weights_type, "left out without --weights");
    }
    HEED_RETURN_IF_ERROR(parse_dtype("--weights-type", options.weights_type, type_));
    if (!dtype_info(type_).computes) {
      return bad_value("--weights-type", options.weights_type, "f32, f16 or bf16");
    }
  }
  if (!options.head.empty()) {
    if (options.heatmap.empty()) {
      return bad_value("--head", options.head, "left out without --heatmap");
    }
    HEED_RETURN_IF_ERROR(parse_integer("--head", options.head, 0, extents.heads - 1, head_));
  }
  return options.heatmap.empty() ? Status() : check_plotter("--heatmap");
}

Status Diagnosis::compute(const Plan& plan, const AttentionTensors& tensors,
                          const std::vector<float>& visible, Executor* executor) {
  const std::int64_t rows = extents_.batch * extents_.heads * extents_.queries;
  AttentionWeights asked;
  if (!options_.weights.empty() || !options_.heatmap.empty()) {
    weights_.resize(size(dtype_info(type_).bytes(rows * extents_.keys)));
    asked.weights = {weights_.data(), type_};
  }
  entropy_.resize(size(rows));
  largest_.resize(size(rows));
  keys_.resize(size(rows));
  mass_.resize(size(extents_.batch * extents_.heads * extents_.keys));
  if (options_.diagnose) {
    asked.entropy = entropy_.data();
    asked.top_weights = largest_.data();
    asked.top_keys = keys_.data();
    asked.mass = mass_.data();
  }
  Workspace workspace;
  HEED_RETURN_IF_ERROR(workspace.reserve(plan, asked));
  HEED_RETURN_IF_ERROR(attention_weights(plan, tensors, asked, workspace, executor));
  for (std::int64_t h = 0; options_.diagnose && h < extents_.heads; ++h) {
    heads_.push_back(figures_of(h, visible));
  }
  if (options_.heatmap.empty() || extents_.batch == 0) return {};
  const std::int64_t count = extents_.queries * extents_.keys;
  picture_.resize(size(count));
  return convert(InputData(weights_.data(), type_) + head_ * count, picture_.data(), count, {});
}

HeadFigures Diagnosis::figures_of(std::int64_t head, const std::vector<float>& visible) const {
  HeadFigures f;
  std::vector<double> mass(size(extents_.keys));
  double all = 0, several = 0;
  for (std::int64_t b = 0; b < extents_.batch; ++b) {
    const std::int64_t first = (b * extents_.heads + head);
    for (std::int64_t i = 0; i < extents_.queries; ++i) {
      const std::size_t row = size(first * extents_.queries + i);
      if (visible[row] == -std::numeric_limits<float>::infinity()) continue;
      const double most = visible[row], largest = largest_[row];
      f.rows += 1;
      f.entropy += entropy_[row];
      f.of_maximum += most > 0 ? entropy_[row] / most : 0;
      f.largest += largest;
      f.one_hot += largest >= 0.9 ? 1 : 0;
      several += most > 0 ? 1 : 0;
      f.over_confident += most > 0 && largest >= 0.99 ? 1 : 0;
    }
    for (std::int64_t j = 0; j < extents_.keys; ++j) {
      const double own = mass_[size(first * extents_.keys + j)];
      mass[size(j)] += own;
      all += own;
    }
  }
  if (f.rows == 0) return f;
  const auto rows = static_cast<double>(f.rows);
  f.entropy /= rows, f.of_maximum /= rows, f.largest /= rows, f.one_hot /= rows;
  f.over_confident /= std::max(several, 1.0);
  const auto top = std::ranges::max_element(mass);
  f.top_key = top - mass.begin();
  f.top_share = all > 0 ? *top / all : 0;
  return f;
}

Status Diagnosis::add_files(std::vector<OutputFile>& files) {
  if (!options_.weights.empty()) {
    const std::array shape = {extents_.batch, extents_.heads, extents_.queries, extents_.keys};
    files.push_back({options_.weights, npy_prologue(shape, type_), weights_});
  }
  if (!options_.json.empty()) {
    Json heads = Json::array();
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      const HeadFigures& f = heads_[h];
      heads.push_back({{"head", h},
                       {"rows", f.rows},
                       {"entropy", number(f.entropy)},
                       {"entropy_of_maximum", number(f.of_maximum)},
                       {"largest_weight", number(f.largest)},
                       {"one_hot_rows", number(f.one_hot)},
                       {"over_confident_rows", number(f.over_confident)},
                       {"top_key", f.top_key},
                       {"top_key_mass", number(f.top_share)},
                       {"verdict", f.verdict()}});
    }
    files.push_back({options_.json, Json{{"heads", heads}}.dump(1) + "\n", {}});
  }
  if (options_.heatmap.empty()) return {};
  HeatMap map{fmt::format("weights of head {}", head_), picture_, extents_.queries, extents_.keys};
  std::string png;
  HEED_RETURN_IF_ERROR(draw("--heatmap", map, png));
  files.push_back({options_.heatmap, png, {}});
  return {};
}

void Diagnosis::print() const {
  if (!options_.diagnose) return;
  fmt::print(
      "head  entropy  of maximum  largest  one-hot rows  over-confident  top key (mass)  "
      "verdict\n");
  for (std::size_t h = 0; h < heads_.size(); ++h) {
    const HeadFigures& f = heads_[h];
    fmt::print("{:4}  {:7.3f}  {:9.1f}%  {:7.3f}  {:11.1f}%  {:13.1f}%  {:>14}  {}\n", h, f.entropy,
               100 * f.of_maximum, f.largest, 100 * f.one_hot, 100 * f.over_confident,
               fmt::format("{} ({:.0f}%)", f.top_key, 100 * f.top_share), f.verdict());
  }
  fmt::print(
      "Means over the rows that see a key. entropy: in nats, and as part of that of equal "
      "weights;\n"
      "one-hot: the largest weight is at least 0.9; over-confident: at least 0.99 with other keys "
      "in "
      "sight.\n");
}

}  // namespace heed::tools

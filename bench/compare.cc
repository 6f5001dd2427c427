#include "bench/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "bench/columns.h"
#include "bench/report.h"
#include "bench/timing.h"
#include "tests/proof/inputs.h"

namespace heed::bench {
namespace {

using Slices = std::vector<std::vector<double>>;

constexpr int kDraws = 2000;
constexpr double kConfidence = 0.95;
constexpr std::size_t kEnoughSlices = 4;

Status fault(const std::string& path, const std::string& sentence) {
  return {StatusCode::invalid_argument, fmt::format("{}: {}", path, sentence)};
}

/// The text of a field; empty where that is missing or no text.
std::string text_of(const Json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

/// Throws what JSON throws where a field is missing or of another type.
Samples read_samples(const Json& result) {
  Samples samples{result.at("name"), result.at("shape"), result.at("threads"), {}};
  const auto times = result.at("samples_ms").get<std::vector<double>>();
  auto next = times.begin();
  const auto usable = [](double time) { return std::isfinite(time) && time > 0; };
  bool fit = std::ranges::all_of(times, usable);
  for (const Json& slice : result.at("slices")) {
    const auto runs = slice.at("runs").get<std::ptrdiff_t>();
    fit = fit && runs >= 1 && runs <= times.end() - next;
    if (!fit) break;
    samples.slices.emplace_back(next, next + runs);
    next += runs;
  }
  if (!fit || next != times.end()) samples.slices.clear();
  return samples;
}

void read_fields(const Json& json, BenchFile& file) {
  const Json& heed = json.at("heed");
  std::string which = heed.at("version");
  if (!heed.at("commit").is_null()) {
    which.append(" ").append(heed.at("commit").get<std::string>(), 0, 9);
  }
  file.about = fmt::format("heed {}, {}, {}", which, json.at("host").at("model").get<std::string>(),
                           json.at("date").get<std::string>());
  file.warm = json.at("setting").at("warm");
  for (const Json& result : json.at("results")) file.results.push_back(read_samples(result));
}

std::string where(const Samples& samples) {
  return fmt::format("{} on {} thread{}", samples.name, samples.threads,
                     samples.threads == 1 ? "" : "s");
}

const Samples* find(const BenchFile& file, const Samples& wanted) {
  const auto found = std::ranges::find_if(file.results, [&](const Samples& samples) {
    return samples.name == wanted.name && samples.threads == wanted.threads;
  });
  return found == file.results.end() ? nullptr : &*found;
}

Status check_same(const BenchFile& a, const BenchFile& b) {
  if (a.warm != b.warm) {
    return fault(b.path,
                 fmt::format("was measured {} --warm, and {} {} it", b.warm ? "with" : "without",
                             a.path, a.warm ? "with" : "without"));
  }
  for (const Samples& mine : a.results) {
    const Samples* const other = find(b, mine);
    if (other == nullptr) return fault(b.path, fmt::format("lacks {}", where(mine)));
    if (other->shape != mine.shape) {
      return fault(b.path, fmt::format("{} is {}, and in {} it is {}", mine.name, other->shape,
                                       a.path, mine.shape));
    }
  }
  for (const Samples& other : b.results) {
    if (find(a, other) == nullptr) return fault(a.path, fmt::format("lacks {}", where(other)));
  }
  return {};
}

double median_of(const Slices& slices) {
  std::vector<double> all;
  for (const auto& slice : slices) all.insert(all.end(), slice.begin(), slice.end());
  return median(std::move(all));
}

/// The times of all runs, sorted, and the cluster that each belongs to: its slice where there are
/// enough of them, else itself.
class Clusters {
 public:
  explicit Clusters(const Slices& slices) {
    const bool enough = slices.size() >= kEnoughSlices;
    for (const auto& slice : slices) {
      if (enough) sizes_.push_back(0);
      for (const double time : slice) {
        if (!enough) sizes_.push_back(0);
        ++sizes_.back();
        times_.emplace_back(time, sizes_.size() - 1);
      }
    }
    std::ranges::sort(times_);
  }

  /// The median of the times of as many clusters as there are, drawn with replacement.
  double drawn_median(proof::Random& random) const {
    std::vector<std::size_t> drawn(sizes_.size());
    std::size_t all = 0, passed = 0;
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      const auto cluster = static_cast<std::size_t>(random.below(std::ssize(sizes_)));
      ++drawn[cluster];
      all += sizes_[cluster];
    }
    for (const auto& [time, cluster] : times_) {
      passed += drawn[cluster];
      if (2 * passed >= all) return time;
    }
    return times_.back().first;
  }

 private:
  std::vector<std::pair<double, std::size_t>> times_;
  std::vector<std::size_t> sizes_;
};

Comparison compare(const Samples& a, const Samples& b, double margin) {
  Comparison result{a.name, a.threads, median_of(a.slices), median_of(b.slices)};
  result.ratio = result.a_ms / result.b_ms;
  const Clusters of_a(a.slices), of_b(b.slices);
  proof::Random random(1);
  std::vector<double> ratios;
  for (int draw = 0; draw < kDraws; ++draw) {
    const double drawn = of_a.drawn_median(random);
    ratios.push_back(drawn / of_b.drawn_median(random));
  }
  std::ranges::sort(ratios);
  const auto outside = static_cast<std::size_t>((1 - kConfidence) / 2 * kDraws);
  result.low = ratios[outside];
  result.high = ratios[kDraws - 1 - outside];
  if (result.low > 1 && result.ratio > 1 + margin) result.verdict = Verdict::faster;
  if (result.high < 1 && result.ratio < 1 - margin) result.verdict = Verdict::slower;
  return result;
}

}  // namespace

Status parse_bench_file(const std::string& path, std::string_view text, BenchFile& file) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || text_of(json, "schema") != kSchema) {
    return fault(path, "must be a JSON file of heed bench");
  }
  const Json version = json.value("schema_version", Json());
  if (!version.is_number_integer() || version.get<std::int64_t>() != kSchemaVersion) {
    return fault(path, fmt::format("is of version {} of the schema; this heed reads version {}",
                                   version.dump(), kSchemaVersion));
  }
  BenchFile read;
  read.path = path;
  try {
    read_fields(json, read);
  } catch (const Json::exception& error) {
    return fault(path, fmt::format("is damaged: {}", error.what()));
  }
  for (const Samples& samples : read.results) {
    if (samples.slices.empty()) {
      return fault(path, fmt::format("is damaged: the samples of {} are no times of its slices",
                                     where(samples)));
    }
    if (find(read, samples) != &samples) {
      return fault(path, fmt::format("is damaged: it has {} twice", where(samples)));
    }
  }
  file = std::move(read);
  return {};
}

Status compare_files(const BenchFile& a, const BenchFile& b, double margin,
                     std::vector<Comparison>& comparisons) {
  if (Status status = check_same(a, b); !status) return status;
  for (const Samples& samples : a.results) {
    comparisons.push_back(compare(samples, *find(b, samples), margin));
  }
  return {};
}

}  // namespace heed::bench

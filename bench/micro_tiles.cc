// Tile sizes: every combination of tile_keys and item_rows beside what heed chooses, on one thread.
//
//   heed_micro_tiles [ISA [SECONDS]]      the chosen ISA unless named; 5 seconds for each shape
//
// Per shape, a table of how much longer than the best each combination takes.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "heed/heed.h"
#include "tests/proof/inputs.h"

namespace heed::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<int, 5> kTileKeys = {16, 32, 64, 128, 256};
constexpr std::array<int, 8> kItemRows = {48, 96, 144, 192, 240, 288, 336, 384};

constexpr std::int64_t kTokens = 2048;
constexpr std::int64_t kHeads = 2;  ///< computed; the first of as many as fill kTokenFloats
/// Of all heads of a token, where they lie side by side: 4096 bytes.
constexpr std::int64_t kTokenFloats = 1024;

struct Shape {
  const char* name;
  std::int64_t head_dim;
  bool by_head;  ///< [head, token, head_dim], else [token, head, head_dim]
  bool causal;
};

constexpr Shape kShapes[] = {
    {"head_dim 64, bshd", 64, false, false},
    {"head_dim 64, bhsd", 64, true, false},
    {"head_dim 64, bshd, causal", 64, false, true},
    {"head_dim 128, bshd", 128, false, false},
    {"head_dim 128, bhsd", 128, true, false},
    {"head_dim 128, bshd, causal", 128, false, true},
};

/// A plan with the best time of its runs so far.
struct Candidate {
  Plan plan;
  double best_ms = std::numeric_limits<double>::infinity();
};

/// One shape with its tensors.
class Sweep {
 public:
  Sweep(const Shape& shape, std::string_view isa) : shape_(shape), isa_(isa) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) inputs_.push_back(normal(seed));
    out_.resize(inputs_.front().size());
  }

  /// Plans all candidates, and runs them in turn until `seconds` are over.
  Status measure(double seconds);
  void print() const;

 private:
  static std::vector<float> normal(std::uint64_t seed) {
    std::vector<float> x(static_cast<std::size_t>(kTokens * kTokenFloats));
    proof::Random random(seed);
    proof::fill_vector(random, proof::Distribution::normal, x);
    return x;
  }

  Status add(int tile_keys, int item_rows);
  Status time(Candidate& candidate);
  const Candidate& best() const {
    return *std::min_element(candidates_.begin(), candidates_.end(),
                             [](const auto& a, const auto& b) { return a.best_ms < b.best_ms; });
  }
  double percent_above_best(const Candidate& candidate) const {
    return 100 * (candidate.best_ms / best().best_ms - 1);
  }

  const Shape shape_;
  const std::string_view isa_;
  std::vector<std::vector<float>> inputs_;
  std::vector<float> out_;
  std::vector<Candidate> candidates_;  ///< what heed chooses, then the table row by row
  Workspace workspace_;
};

Status Sweep::add(int tile_keys, int item_rows) {
  AttentionConfig config;
  config.query_heads = config.kv_heads = kHeads;
  config.head_dim = shape_.head_dim;
  config.causal = shape_.causal;
  Batch batch;
  batch.query.length = batch.key.length = kTokens;
  const Layout layout = shape_.by_head ? Layout::bhsd(kTokens, kHeads, shape_.head_dim)
                                       : Layout{0, kTokenFloats, shape_.head_dim};
  batch.q = batch.k = batch.v = batch.out = layout;
  const PlanOptions options{
      .isa = isa_, .workers = 1, .tile_keys = tile_keys, .item_rows = item_rows};
  Candidate& candidate = candidates_.emplace_back();
  if (Status status = plan_attention(config, batch, options, candidate.plan); !status) {
    return status;
  }
  return workspace_.reserve(candidate.plan);
}

Status Sweep::time(Candidate& candidate) {
  const Clock::time_point start = Clock::now();
  Status status = run(
      candidate.plan,
      {.q = inputs_[0].data(), .k = inputs_[1].data(), .v = inputs_[2].data(), .out = out_.data()},
      workspace_);
  const std::chrono::duration<double, std::milli> taken = Clock::now() - start;
  candidate.best_ms = std::min(candidate.best_ms, taken.count());
  return status;
}

Status Sweep::measure(double seconds) {
  if (Status status = add(0, 0); !status) return status;
  for (const int tile_keys : kTileKeys) {
    for (const int item_rows : kItemRows) {
      if (Status status = add(tile_keys, item_rows); !status) return status;
    }
  }
  const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                   std::chrono::duration<double>(seconds));
  do {
    for (Candidate& candidate : candidates_) {
      if (Status status = time(candidate); !status) return status;
    }
  } while (Clock::now() < end);
  return {};
}

void Sweep::print() const {
  const Candidate& chosen = candidates_.front();
  const std::string text = chosen.plan.describe();
  const std::size_t line = text.find("tiles: ");
  std::printf("%s, on %s: %.3f ms, %.1f%% above the best\n%s\n", shape_.name,
              std::string(chosen.plan.isa()).c_str(), chosen.best_ms, percent_above_best(chosen),
              text.substr(line, text.find('\n', line) - line).c_str());
  std::printf("%9s", "keys\\rows");
  for (const int item_rows : kItemRows) std::printf("%8d", item_rows);
  std::size_t i = 1;
  for (const int tile_keys : kTileKeys) {
    std::printf("\n%9d", tile_keys);
    for (std::size_t column = 0; column < kItemRows.size(); ++column) {
      std::printf("%7.1f%%", percent_above_best(candidates_[i++]));
    }
  }
  std::printf("\n\n");
}

int sweep_all(std::string_view isa, double seconds) {
  for (const Shape& shape : kShapes) {
    Sweep sweep(shape, isa);
    if (const Status status = sweep.measure(seconds); !status) {
      std::fprintf(stderr, "heed_micro_tiles: %s\n", status.message().c_str());
      return 2;
    }
    sweep.print();
  }
  return 0;
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  const double seconds = argc > 2 ? std::atof(argv[2]) : 5;
  if (argc > 3 || !(seconds > 0)) {
    std::fprintf(stderr, "usage: heed_micro_tiles [ISA [SECONDS]]\n");
    return 2;
  }
  return heed::bench::sweep_all(argc > 1 ? argv[1] : "", seconds);
}

// Attention that is not fused: Q·Kᵀ by OpenBLAS, heed's softmax over the rows of scores, P·V by
// OpenBLAS, for each head. Threads share each product and its softmax, or the heads are spread over
// threads that call OpenBLAS each for itself; the better way counts.
#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>
#include <vector>

#include "bench/accuracy.h"
#include "bench/attention_case.h"
#include "bench/memory.h"
#include "bench/peers/peer.h"
#include "heed/softmax.h"

namespace heed::bench::peers {
namespace {

// Rows of one product. The scores of a block (2 MiB with 2048 keys) then stay in the cache from
// product to product, a causal mask leaves out what no row of a block sees, and the product is
// still tall enough to run at full speed.
constexpr std::int64_t kBlockRows = 256;

/// Rows of queries that share their keys: positions of a head, or, of a single position, the heads
/// of a group.
struct Block {
  proof::Row first;
  std::int64_t rows = 0;
  bool heads = false;

  proof::Row row(std::int64_t i) const {
    return heads ? proof::Row{first.sequence, first.token, first.head + i}
                 : proof::Row{first.sequence, first.token + i, first.head};
  }
};

/// Threads that wait between calls of run.
class Team {
 public:
  explicit Team(int threads) : together_(threads) {
    for (int ith = 1; ith < threads; ++ith) {
      others_.emplace_back([this, ith] { serve(ith); });
    }
  }
  ~Team() {
    work_ = nullptr;
    together_.arrive_and_wait();
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// Calls work(ith) on each of them; ith = 0 is the caller.
  void run(const std::function<void(int ith)>& work) {
    work_ = &work;
    together_.arrive_and_wait();
    work(0);
    together_.arrive_and_wait();
  }

 private:
  void serve(int ith) {
    for (together_.arrive_and_wait(); work_ != nullptr; together_.arrive_and_wait()) {
      (*work_)(ith);
      together_.arrive_and_wait();
    }
  }

  std::barrier<> together_;
  const std::function<void(int)>* work_ = nullptr;
  std::vector<std::jthread> others_;
};

class Unfused {
 public:
  explicit Unfused(const Task& task)
      : threads_(task.threads),
        team_(task.threads),
        case_(task.workload),
        geometry_(case_.geometry()) {}

  Status prepare();
  /// Block after block, each on all threads.
  Status share_products();
  /// Each block on one thread.
  Status spread_heads();
  double max_error() const { return check_attention(geometry_, tensors_).max_error; }

 private:
  void cut();
  Status attend(const Block& block, float* scores, int workers);
  void hide(const Block& block, std::int64_t keys, float* scores) const;
  float* scores_of(int ith) { return scores_.scratch().data() + ith * scores_floats(); }
  std::int64_t scores_floats() const {
    return std::max(kBlockRows, geometry_.group()) * case_.batch().key.length;
  }

  int threads_;
  Team team_;
  AttentionCase case_;
  proof::Geometry geometry_;
  std::vector<Block> blocks_;
  Pool query_, keys_and_values_, out_, scores_;
  AttentionTensors tensors_;
};

Status Unfused::prepare() {
  const auto scores = static_cast<std::size_t>(threads_ * scores_floats());
  const auto create = [](std::size_t floats, Pool& pool) {
    return Pool::create(floats, Pages::usual, pool);
  };
  if (Status status = create(case_.query_floats(), query_); !status) return status;
  if (Status status = create(case_.kv_copy_floats(), keys_and_values_); !status) return status;
  if (Status status = create(case_.query_floats(), out_); !status) return status;
  if (Status status = create(scores, scores_); !status) return status;
  tensors_.q = query_.inputs(case_.query_inputs()).data();
  tensors_.k = keys_and_values_.inputs(case_.kv_inputs()).data();
  tensors_.v = tensors_.k + case_.value_offset();
  tensors_.out = out_.scratch().data();
  cut();
  return {};
}

void Unfused::cut() {
  const std::int64_t positions = case_.batch().query.length;
  const bool heads = positions == 1;
  const std::int64_t heads_of_block = heads ? geometry_.group() : 1;
  for (std::int64_t sequence = 0; sequence < case_.batch().sequences; ++sequence) {
    for (std::int64_t head = 0; head < case_.config().query_heads; head += heads_of_block) {
      for (std::int64_t token = 0; token < positions; token += kBlockRows) {
        const std::int64_t rows = heads ? heads_of_block : std::min(kBlockRows, positions - token);
        blocks_.push_back({{sequence, token, head}, rows, heads});
      }
    }
  }
}

Status Unfused::share_products() {
  openblas_set_num_threads(threads_);
  for (const Block& block : blocks_) {
    if (Status status = attend(block, scores_of(0), threads_); !status) return status;
  }
  return {};
}

Status Unfused::spread_heads() {
  openblas_set_num_threads(1);
  std::vector<Status> statuses(static_cast<std::size_t>(threads_));
  std::atomic<std::size_t> next = 0;
  team_.run([&](int ith) {
    Status& status = statuses[static_cast<std::size_t>(ith)];
    for (std::size_t i = next++; i < blocks_.size() && status.ok(); i = next++) {
      status = attend(blocks_[i], scores_of(ith), 1);
    }
  });
  const auto failed = std::ranges::find_if(statuses, [](const Status& each) { return !each.ok(); });
  return failed == statuses.end() ? Status() : *failed;
}

Status Unfused::attend(const Block& block, float* scores, int workers) {
  const proof::Row first = block.row(0), second = block.row(1);
  const std::int64_t keys = geometry_.visible(block.row(block.rows - 1)).end;
  const auto rows_int = static_cast<blasint>(block.rows), keys_int = static_cast<blasint>(keys);
  const auto head_dim = static_cast<blasint>(case_.config().head_dim);
  const auto q_stride = static_cast<blasint>(geometry_.q(second) - geometry_.q(first));
  const auto out_stride = static_cast<blasint>(geometry_.out(second) - geometry_.out(first));
  const auto k_stride = static_cast<blasint>(geometry_.k_layout().token_stride);
  const auto v_stride = static_cast<blasint>(geometry_.v_layout().token_stride);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));

  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows_int, keys_int, head_dim, scale,
              tensors_.q.as<float>() + geometry_.q(first), q_stride,
              tensors_.k.as<float>() + geometry_.k(first, 0), k_stride, 0, scores, keys_int);
  hide(block, keys, scores);
  Status status = softmax({scores, block.rows, keys, keys}, {scores, block.rows, keys, keys},
                          {.workers = workers});
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows_int, head_dim, keys_int, 1, scores,
              keys_int, tensors_.v.as<float>() + geometry_.v(first, 0), v_stride, 0,
              tensors_.out.as<float>() + geometry_.out(first), out_stride);
  return status;
}

/// Masks the keys that only later rows of the block see.
void Unfused::hide(const Block& block, std::int64_t keys, float* scores) const {
  if (!case_.config().causal) return;
  for (std::int64_t i = 0; i < block.rows; ++i) {
    float* const row = scores + i * keys;
    std::fill(row + geometry_.visible(block.row(i)).end, row + keys,
              -std::numeric_limits<float>::infinity());
  }
}

/// Measures one way to use threads, and keeps it where it is the faster one.
Status measure_way(const Task& task, Status (Unfused::*way)(), const char* operation,
                   Unfused& unfused, Figure& figure) {
  Timing timing;
  const auto once = [&](std::int64_t) { return (unfused.*way)(); };
  if (Status status = repeat(task.seconds, once, timing); !status) return status;
  if (const double error = unfused.max_error(); !(error <= figure.max_error)) {
    figure.max_error = error;
  }
  if (figure.timing.runs != 0 && figure.timing.min_ms <= timing.min_ms) return {};
  figure.timing = timing;
  figure.operation = operation;
  return {};
}

Status measure(const Task& task, Figure& figure) {
  figure.kernels = openblas_get_corename();
  Unfused unfused(task);
  if (Status status = unfused.prepare(); !status) return status;
  const char* const spread = "sgemm, softmax, sgemm: heads in parallel";
  const char* const shared = "sgemm, softmax, sgemm: one head after the other";
  // First the one that leaves OpenBLAS no waiting threads of its own, which spin.
  Status status = measure_way(task, &Unfused::spread_heads, spread, unfused, figure);
  if (!status.ok() || task.threads == 1) return status;
  return measure_way(task, &Unfused::share_products, shared, unfused, figure);
}

}  // namespace
}  // namespace heed::bench::peers

int main(int argc, char** argv) {
  // What kernels OpenBLAS chooses, for a script that may ask it for others.
  if (argc == 2 && std::strcmp(argv[1], "kernels") == 0) {
    std::puts(openblas_get_corename());
    return 0;
  }
  return heed::bench::peers::run_peer(argc, argv, "openblas", heed::bench::peers::measure);
}

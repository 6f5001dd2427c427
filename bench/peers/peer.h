// What the programs of peers have in common: each measures one workload on so many threads, and
// prints one line of JSON.
#pragma once

#include <string>

#include "bench/timing.h"
#include "bench/workloads.h"
#include "heed/dtype.h"
#include "heed/status.h"

namespace heed::bench::peers {

/// What the command line asks for: NAME THREADS SECONDS [FOLDER [KV_TYPE]].
struct Task {
  AttentionWorkload workload;  ///< dense
  int threads = 1;
  double seconds = 0;
  std::string folder;          ///< where the peer's libraries lie
  DType kv_type = DType::f32;  ///< of keys and values
};

struct Figure {
  std::string operation;  ///< what was timed, in the peer's words
  std::string kernels;    ///< those that the peer chose for this CPU
  Timing timing;
  double max_error = 0;  ///< the largest distance from float64 on sampled rows
};

/// The body of main: measures the task and prints its figure, or why there is none.
int run_peer(int argc, char** argv, const char* peer, Status (*measure)(const Task&, Figure&));

}  // namespace heed::bench::peers

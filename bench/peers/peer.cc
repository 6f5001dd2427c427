#include "bench/peers/peer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "heed/tensor_data.h"

namespace heed::bench::peers {
namespace {

// Results are of order one: what lies further off is another operator, and its time says nothing.
// With narrow keys and values peers round queries, and sums of values, to such a type, too; and
// ggml adds biases in f16.
constexpr double kTolerance = 1e-3, kNarrowTolerance = 5e-2;

Status fault(const std::string& sentence) { return {StatusCode::invalid_argument, sentence}; }

Status find_workload(const std::string& name, AttentionWorkload& found) {
  std::vector<Workload> all;
  if (Status status = parse_built_in(all); !status) return status;
  for (const Workload& workload : all) {
    const auto* attention = std::get_if<AttentionWorkload>(&workload.what);
    if (workload.name != name || attention == nullptr || attention->paged()) continue;
    found = *attention;
    return {};
  }
  return fault("workload (\"" + name +
               "\") must be the name of one with attention and without pages");
}

Status parse(int argc, char** argv, Task& task) {
  if (argc < 4 || argc > 6) {
    return fault("the arguments are NAME THREADS SECONDS [FOLDER [KV_TYPE]]");
  }
  task.threads = std::atoi(argv[2]);
  task.seconds = std::atof(argv[3]);
  if (task.threads < 1) return fault("THREADS must be at least 1");
  if (!(task.seconds > 0)) return fault("SECONDS must be above 0");
  if (argc >= 5) task.folder = argv[4];
  if (argc == 6) {
    const auto* const type = std::ranges::find(kDTypes, argv[5], &DTypeInfo::name);
    if (type == std::end(kDTypes)) return fault("KV_TYPE must be a type of heed's");
    task.kv_type = type->type;
  }
  return find_workload(argv[1], task.workload);
}

Status measure_task(int argc, char** argv, Status (*measure)(const Task&, Figure&),
                    Figure& figure) {
  Task task;
  if (Status status = parse(argc, argv, task); !status) return status;
  if (Status status = measure(task, figure); !status) return status;
  const bool exact =
      task.kv_type == DType::f32 && task.workload.modifiers.biases == proof::Biases::none;
  if (figure.max_error <= (exact ? kTolerance : kNarrowTolerance)) return {};  // NaN is not
  return {StatusCode::internal,
          "its result lies " + std::to_string(figure.max_error) + " from float64"};
}

}  // namespace

int run_peer(int argc, char** argv, const char* peer, Status (*measure)(const Task&, Figure&)) {
  try {
    nlohmann::ordered_json line = {{"peer", peer}};
    Figure figure;
    const Status status = measure_task(argc, argv, measure, figure);
    if (status.ok()) {
      line.update({{"operation", figure.operation},
                   {"kernels", figure.kernels},
                   {"min_ms", figure.timing.min_ms},
                   {"median_ms", figure.timing.median_ms},
                   {"runs", figure.timing.runs},
                   {"max_error", figure.max_error}});
    } else {
      line["error"] = status.message();
    }
    std::printf("%s\n", line.dump().c_str());
    return status.ok() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace heed::bench::peers

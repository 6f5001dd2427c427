// What the plug-in does with a graph: nodes that heed can compute become custom operations while
// ggml's own threads compute the graph, and are put back afterwards.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "bindings/ggml/host.h"
#include "bindings/ggml/log.h"
#include "bindings/ggml/mask.h"
#include "bindings/ggml/node.h"
#include "ggml-backend-impl.h"
#include "heed/attention.h"

namespace heed::plugin {

/// Computes a graph as ggml does.
using Compute = ggml_status (*)(ggml_backend_t, ggml_cgraph*);

/// The attention of one backend, whose graphs are computed one after the other.
class Takeover {
 public:
  explicit Takeover(const Host& host) : host_(host) {}
  ~Takeover() { tally_.print(); }
  Takeover(const Takeover&) = delete;
  Takeover& operator=(const Takeover&) = delete;

  /// Computes the graph on `backend` with `next`. GGML_STATUS_FAILED where heed refused a node
  /// while it was computed, which stderr explains.
  ggml_status compute(ggml_backend_t backend, ggml_cgraph* graph, Compute next) noexcept;

 private:
  /// A plan, and what comes of the mask, for all nodes of a shape.
  struct Planned {
    NodeShape shape;
    NodeMask mask;
    Plan plan;
    std::string refusal;  ///< why there is no plan; empty: there is one
  };
  /// A node that heed computes in this graph, and what it was before.
  struct Task {
    Takeover* owner;
    const Planned* planned;
    AttentionTensors tensors;
    ggml_tensor* node;
    ggml_op op;
    std::int32_t op_params[GGML_MAX_OP_PARAMS / sizeof(std::int32_t)];
  };

  void take(ggml_cgraph* graph);
  void take_node(ggml_tensor& node);
  Planned& planned_for(const NodeShape& shape);
  void plan(Planned& planned);
  void put_back() noexcept;
  void fail(const Status& status) noexcept;
  static void run_share_of(ggml_tensor* node, int ith, int nth, void* task) noexcept;

  const Host& host_;
  Tally tally_;
  Workspace workspace_;
  std::vector<std::unique_ptr<Planned>> plans_;  ///< the first used_ are those of this graph
  std::size_t used_ = 0;
  std::vector<std::unique_ptr<Task>> tasks_;
  std::atomic<int> threads_ = 0;  ///< that computed the last graph; 0: none was computed
  std::atomic<bool> failed_ = false;
};

}  // namespace heed::plugin

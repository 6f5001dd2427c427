// What becomes of the attention in a graph while it is computed: operations of heed's, with the
// bits that heed gives for the same tensors, and what the graph was before when it is done,
// whatever happens.
#include "bindings/ggml/takeover.h"

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "ggml-impl.h"
#include "heed/attention.h"
#include "tests/support/allocation_count.h"

namespace {

using heed::plugin::Takeover;
using heed::tests::Failing;
using heed::tests::FailingAllocations;

int checks_failed = 0;
void check(bool fine, const char* what) {
  if (fine) return;
  ++checks_failed;
  std::printf("not so: %s\n", what);
}

const heed::plugin::Host& host() {
  static const heed::plugin::Host found = [] {
    heed::plugin::Host made{};
    check(find_host(reinterpret_cast<const void*>(&ggml_backend_dev_by_type), made).empty(),
          "ggml is found");
    return made;
  }();
  return found;
}

/// What stderr gets from `action`.
std::string said(const std::function<void()>& action) {
  std::FILE* const log = std::tmpfile();
  const int before = dup(STDERR_FILENO);
  dup2(fileno(log), STDERR_FILENO);
  action();
  dup2(before, STDERR_FILENO);
  close(before);
  std::string text(4096, '\0');
  std::rewind(log);
  text.resize(std::fread(text.data(), 1, text.size(), log));
  std::fclose(log);
  return text;
}

struct Shape {
  std::int64_t queries, keys, heads, kv_heads, head_dim, value_head_dim, sequences;
  float scale;
  enum class Mask { none, causal, biases } mask;
};

constexpr Shape kPrompt{7, 300, 4, 2, 24, 16, 2, 0.25F, Shape::Mask::causal};
constexpr Shape kToken{1, 900, 8, 2, 32, 32, 1, 0.125F, Shape::Mask::none};
constexpr Shape kBiased{5, 70, 4, 4, 16, 16, 1, 0.5F, Shape::Mask::biases};

/// A graph of attention of given shapes, with tensors of its own.
class Graph {
 public:
  explicit Graph(const std::vector<Shape>& shapes)
      : context_(ggml_init({.mem_size = 8 << 20, .mem_buffer = nullptr, .no_alloc = false}),
                 ggml_free),
        graph_(ggml_new_graph(context_.get())) {
    for (const Shape& shape : shapes) {
      nodes_.push_back(attend(shape));
      ggml_build_forward_expand(graph_, nodes_.back());
      shapes_.push_back(shape);
    }
  }

  ggml_cgraph* get() { return graph_; }
  ggml_tensor& node(std::size_t i) { return *nodes_[i]; }

  std::vector<float> result(std::size_t i) const {
    const auto* const data = static_cast<const float*>(nodes_[i]->data);
    return {data, data + ggml_nelements(nodes_[i])};
  }

  /// What heed gives for a node's tensors, described by hand.
  std::vector<float> expected(std::size_t i) const {
    const Shape& s = shapes_[i];
    const heed::AttentionConfig config{.query_heads = s.heads,
                                       .kv_heads = s.kv_heads,
                                       .head_dim = s.head_dim,
                                       .value_head_dim = s.value_head_dim,
                                       .causal = s.mask == Shape::Mask::causal,
                                       .scale = s.scale};
    heed::Batch batch{
        .sequences = s.sequences, .query = {.length = s.queries}, .key = {.length = s.keys}};
    batch.q = rows(s.queries, s.heads, s.head_dim);
    batch.k = rows(s.keys, s.kv_heads, s.head_dim);
    batch.v = rows(s.keys, s.kv_heads, s.value_head_dim);
    std::vector<float> out(static_cast<std::size_t>(ggml_nelements(nodes_[i])));
    heed::Plan plan;
    heed::Workspace workspace;
    heed::Status status = plan_attention(config, batch, {.workers = 1}, plan);
    if (status.ok()) status = workspace.reserve(plan);
    const auto data = [&](int source) {
      return static_cast<const float*>(nodes_[i]->src[source]->data);
    };
    heed::AttentionTensors tensors{data(0), data(1), data(2), out.data()};
    if (s.mask == Shape::Mask::biases) {
      tensors.modifiers.bias = {.data = {nodes_[i]->src[3]->data, heed::DType::f16},
                                .query_stride = s.keys};
    }
    if (status.ok()) status = run(plan, tensors, workspace);
    check(status.ok(), "heed computes it");
    return out;
  }

 private:
  /// [head_dim, tokens, heads, sequences], as ggml has queries, keys and values.
  static heed::Layout rows(std::int64_t tokens, std::int64_t heads, std::int64_t dim) {
    return {
        .sequence_stride = heads * tokens * dim, .token_stride = dim, .head_stride = tokens * dim};
  }

  ggml_tensor* filled(std::int64_t dim, std::int64_t tokens, std::int64_t heads,
                      std::int64_t sequences) {
    ggml_tensor* const made =
        ggml_new_tensor_4d(context_.get(), GGML_TYPE_F32, dim, tokens, heads, sequences);
    auto* const data = static_cast<float*>(made->data);
    const float step = 0.1F + 0.37F * static_cast<float>(++filled_);
    for (std::int64_t i = 0; i < ggml_nelements(made); ++i) {
      data[i] = std::sin(step * static_cast<float>(i));
    }
    return made;
  }

  ggml_tensor* masked(const Shape& s) {
    ggml_tensor* const mask =
        ggml_new_tensor_4d(context_.get(), GGML_TYPE_F16, s.keys, s.queries, 1, 1);
    auto* const data = static_cast<ggml_fp16_t*>(mask->data);
    for (std::int64_t i = 0; i < s.queries; ++i) {
      for (std::int64_t j = 0; j < s.keys; ++j) {
        const float hidden = j > i + s.keys - s.queries ? -INFINITY : 0.0F;
        const float bias = 0.25F * static_cast<float>((3 * i + j) % 7);
        data[i * s.keys + j] = ggml_fp32_to_fp16(s.mask == Shape::Mask::causal ? hidden : bias);
      }
    }
    return mask;
  }

  ggml_tensor* attend(const Shape& s) {
    ggml_tensor* const q = filled(s.head_dim, s.queries, s.heads, s.sequences);
    ggml_tensor* const k = filled(s.head_dim, s.keys, s.kv_heads, s.sequences);
    ggml_tensor* const v = filled(s.value_head_dim, s.keys, s.kv_heads, s.sequences);
    ggml_tensor* const mask = s.mask == Shape::Mask::none ? nullptr : masked(s);
    return ggml_flash_attn_ext(context_.get(), q, k, v, mask, s.scale, 0, 0);
  }

  std::unique_ptr<ggml_context, decltype(&ggml_free)> context_;
  ggml_cgraph* graph_;
  std::vector<Shape> shapes_;
  std::vector<ggml_tensor*> nodes_;
  int filled_ = 0;
};

/// A backend that computes custom operations only, share after share, the last one first.
int threads = 1;
ggml_status answer = GGML_STATUS_SUCCESS;
int customs = 0;              ///< operations of the last graph
bool last_share_idle = true;  ///< whether the last share of its last operation found nothing to do

std::uint64_t checksum(const ggml_tensor& tensor) {
  const auto* const data = static_cast<const unsigned char*>(tensor.data);
  return std::accumulate(data, data + ggml_nbytes(&tensor), std::uint64_t{0});
}

ggml_status compute_customs(ggml_backend_t, ggml_cgraph* graph) {
  customs = 0;
  for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
    ggml_tensor* const node = ggml_graph_node(graph, i);
    if (node->op != GGML_OP_CUSTOM) continue;
    ++customs;
    ggml_custom_op_params params;
    std::memcpy(&params, node->op_params, sizeof params);
    check(params.n_tasks == GGML_N_TASKS_MAX, "all threads are asked for");
    for (int ith = threads - 1; ith >= 0; --ith) {
      const std::uint64_t before = checksum(*node);
      params.fun(node, ith, threads, params.userdata);
      if (ith == threads - 1) last_share_idle = checksum(*node) == before;
    }
  }
  return answer;
}

/// All that is known of a graph's nodes.
std::vector<std::string> nodes_of(ggml_cgraph* graph) {
  std::vector<std::string> nodes(static_cast<std::size_t>(ggml_graph_n_nodes(graph)));
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const ggml_tensor* const node = ggml_graph_node(graph, static_cast<int>(i));
    nodes[i].assign(reinterpret_cast<const char*>(node), sizeof *node);
  }
  return nodes;
}

ggml_status compute(Takeover& takeover, Graph& graph) {
  const std::vector<std::string> before = nodes_of(graph.get());
  const ggml_status status = takeover.compute(nullptr, graph.get(), compute_customs);
  check(nodes_of(graph.get()) == before, "nodes are what they were");
  return status;
}

bool comes_out(const Graph& graph, std::size_t i) {
  const std::vector<float> found = graph.result(i), expected = graph.expected(i);
  return std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0;
}

void clear(Graph& graph, std::size_t i) {
  std::memset(graph.node(i).data, 0xFF, ggml_nbytes(&graph.node(i)));
}

/// Shapes that come and go, of several nodes each, on any number of threads.
void test_results() {
  Graph mixed({kPrompt, kToken, kPrompt, kBiased}), tokens({kToken, kToken});
  Takeover takeover(host());
  for (const int count : {1, 3, 2, 8, 1}) {
    threads = count;
    for (Graph* const graph : {&mixed, &tokens, &tokens, &mixed}) {
      const std::size_t nodes = graph == &mixed ? 4 : 2;
      for (std::size_t i = 0; i < nodes; ++i) clear(*graph, i);
      check(compute(takeover, *graph) == GGML_STATUS_SUCCESS, "the graph is computed");
      check(customs == static_cast<int>(nodes), "all of its attention by heed");
      for (std::size_t i = 0; i < nodes; ++i) check(comes_out(*graph, i), "with heed's bits");
    }
  }
  threads = 1;
}

/// A graph is planned for as many threads as computed the one before.
void test_threads() {
  Graph graph({kPrompt});
  Takeover takeover(host());
  threads = 6;
  for (int i = 0; i < 2; ++i) {
    clear(graph, 0);
    compute(takeover, graph);
  }
  check(!last_share_idle, "the last of six threads has a share");
  threads = 1;
}

/// What ggml answers is what the caller hears.
void test_status() {
  Graph graph({kToken});
  Takeover takeover(host());
  for (const ggml_status status :
       {GGML_STATUS_ABORTED, GGML_STATUS_ALLOC_FAILED, GGML_STATUS_SUCCESS}) {
    answer = status;
    check(compute(takeover, graph) == status, "ggml's status is passed on");
  }
}

/// Tensors that heed refuses when it meets them fail the graph, with a sentence, and no graph after
/// it.
void test_refusal() {
  Graph graph({kToken, kToken});
  Takeover takeover(host());
  void* const keys = graph.node(1).src[1]->data;
  graph.node(1).src[1]->data = nullptr;
  const std::string text = said([&] {
    for (int i = 0; i < 2; ++i) {
      check(compute(takeover, graph) == GGML_STATUS_FAILED, "the graph fails");
    }
    answer = GGML_STATUS_ABORTED;
    check(compute(takeover, graph) == GGML_STATUS_ABORTED, "unless it was aborted");
    answer = GGML_STATUS_SUCCESS;
  });
  check(text == "heed: k is null\n", text.c_str());
  graph.node(1).src[1]->data = keys;
  check(compute(takeover, graph) == GGML_STATUS_SUCCESS, "the next graph does not");
  check(comes_out(graph, 0) && comes_out(graph, 1), "and comes out");
}

/// What heed does not know stays ggml's, in the same graph as what it does; a sentence says so
/// once.
void test_unknown() {
  Shape steep = kToken;
  steep.scale = 3e38F;  // times log2 e it is infinite
  Graph graph({kToken, kPrompt, kToken, steep});
  graph.node(0).op_params[6] = 1;
  graph.node(2).src[7] = graph.node(2).src[0];
  setenv("HEED_GGML_LOG", "1", 1);
  const std::string text = said([&] {
    Takeover takeover(host());
    for (int i = 0; i < 2; ++i) {
      check(compute(takeover, graph) == GGML_STATUS_SUCCESS && customs == 1,
            "one of four is heed's");
    }
  });
  unsetenv("HEED_GGML_LOG");
  check(text ==
            "heed: attention has a parameter that this plug-in does not know; ggml computes it "
            "itself\n"
            "heed: attention has an operand that this plug-in does not know; ggml computes it "
            "itself\n"
            "heed: computed 2 of 8 FLASH_ATTN_EXT nodes\n"
            "heed: handed back 2: a parameter that this plug-in does not know\n"
            "heed: handed back 2: an operand that this plug-in does not know\n"
            "heed: handed back 2: scale (3e+38) / temperature (1) exceeds the range of float; for "
            "the "
            "argmax use temperature 0\n",
        text.c_str());
  check(comes_out(graph, 1), "the one that is comes out");
  const std::string silence = said([&] { const Takeover takeover(host()); });
  check(silence.empty(), "without the variable nothing is counted out");
}

/// Each allocation fails once: the graph is computed, by heed or by ggml, and nothing is left
/// changed.
void test_memory() {
  int by_ggml = 0, by_heed = 0;
  const std::string text = said([&] {
    for (int n = 1;; ++n) {
      Graph graph({kPrompt, kToken});
      Takeover takeover(host());
      bool failed = false;
      {
        const FailingAllocations failing(Failing::one_of_news, n);
        check(takeover.compute(nullptr, graph.get(), compute_customs) == GGML_STATUS_SUCCESS,
              "the graph is computed");
        failed = failing.failed();
      }
      for (std::size_t i = 0; i < 2; ++i) {
        check(graph.node(i).op == GGML_OP_FLASH_ATTN_EXT, "nodes are what they were");
      }
      if (!failed) break;
      (customs == 0 ? by_ggml : by_heed) += 1;
      check(compute(takeover, graph) == GGML_STATUS_SUCCESS && customs == 2,
            "heed computes the next graph");
      check(comes_out(graph, 0) && comes_out(graph, 1), "with its bits");
    }
  });
  check(by_ggml > 3, "ggml had to compute some");
  check(text ==
            "heed: there is no memory for a plan; ggml computes the rest of a graph's attention\n",
        text.c_str());
}

}  // namespace

int main() {
  test_results();
  test_threads();
  test_status();
  test_refusal();
  test_unknown();
  if (heed::tests::counts_allocations()) test_memory();
  std::puts(checks_failed == 0 ? "graphs were computed and put back as they should be"
                               : "failures");
  return checks_failed == 0 ? 0 : 1;
}

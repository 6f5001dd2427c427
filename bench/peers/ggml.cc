// ggml's CPU flash attention (ggml_flash_attn_ext, llama.cpp's), with keys and values of the types
// that both have.
//
// ggml has a library per CPU generation; the one that scores best here is loaded, which is how ggml
// itself chooses. Its threads are started once and kept, as llama.cpp keeps them.
#include <dlfcn.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bench/accuracy.h"
#include "bench/attention_case.h"
#include "bench/memory.h"
#include "bench/peers/peer.h"
#include "heed/score_modifiers.h"
#include "tests/proof/elements.h"
#include "tests/proof/geometry.h"
#include "tests/proof/modifiers.h"

// The part of ggml's C interface that is used here. No header comes with the package; that no
// struct but ggml_init_params has a layout here keeps the two from disagreeing.
extern "C" {
struct ggml_backend;
struct ggml_cgraph;
struct ggml_context;
struct ggml_tensor;
struct ggml_threadpool;
struct ggml_init_params {
  std::size_t mem_size;
  void* mem_buffer;
  bool no_alloc;
};
int ggml_backend_score();
ggml_backend* ggml_backend_cpu_init();
void ggml_backend_cpu_set_n_threads(ggml_backend*, int threads);
void ggml_backend_cpu_set_threadpool(ggml_backend*, ggml_threadpool*);
void ggml_backend_free(ggml_backend*);
int ggml_backend_graph_compute(ggml_backend*, ggml_cgraph*);
void ggml_threadpool_params_init(void* params, int threads);
ggml_threadpool* ggml_threadpool_new(void* params);
void ggml_threadpool_free(ggml_threadpool*);
ggml_context* ggml_init(ggml_init_params);
void ggml_free(ggml_context*);
ggml_tensor* ggml_new_tensor_4d(ggml_context*, int type, std::int64_t, std::int64_t, std::int64_t,
                                std::int64_t);
void* ggml_get_data(const ggml_tensor*);
ggml_tensor* ggml_flash_attn_ext(ggml_context*, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v,
                                 ggml_tensor* mask, float scale, float max_bias, float softcap);
void ggml_flash_attn_ext_add_sinks(ggml_tensor*, ggml_tensor* sinks);
void ggml_flash_attn_ext_set_prec(ggml_tensor*, int precision);
ggml_cgraph* ggml_new_graph(ggml_context*);
void ggml_build_forward_expand(ggml_cgraph*, ggml_tensor*);
}

namespace heed::bench::peers {
namespace {

constexpr int kF32 = 0, kF16 = 1;   // ggml_type
constexpr int kPrecisionF32 = 10;   // ggml_prec
constexpr float kMaxAlibiBias = 8;  // ggml then has the slopes of heed::alibi_slopes
constexpr float kHidden = -std::numeric_limits<float>::infinity();

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

/// The functions above, of the library that is loaded.
struct Ggml {
  decltype(&ggml_backend_cpu_init) backend_cpu_init = nullptr;
  decltype(&ggml_backend_cpu_set_n_threads) backend_cpu_set_n_threads = nullptr;
  decltype(&ggml_backend_cpu_set_threadpool) backend_cpu_set_threadpool = nullptr;
  decltype(&ggml_backend_free) backend_free = nullptr;
  decltype(&ggml_backend_graph_compute) backend_graph_compute = nullptr;
  decltype(&ggml_threadpool_params_init) threadpool_params_init = nullptr;
  decltype(&ggml_threadpool_new) threadpool_new = nullptr;
  decltype(&ggml_threadpool_free) threadpool_free = nullptr;
  decltype(&ggml_init) init = nullptr;
  decltype(&ggml_free) free = nullptr;
  decltype(&ggml_new_tensor_4d) new_tensor_4d = nullptr;
  decltype(&ggml_get_data) get_data = nullptr;
  decltype(&ggml_flash_attn_ext) flash_attn_ext = nullptr;
  decltype(&ggml_flash_attn_ext_add_sinks) flash_attn_ext_add_sinks = nullptr;
  decltype(&ggml_flash_attn_ext_set_prec) flash_attn_ext_set_prec = nullptr;
  decltype(&ggml_new_graph) new_graph = nullptr;
  decltype(&ggml_build_forward_expand) build_forward_expand = nullptr;

  std::string kernels;
  Library library;

  Status load(const std::string& folder);

 private:
  Status choose(const std::string& folder);
};

template <class Function>
bool find(const Library& library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library.get(), name));
  return function != nullptr;
}

Status fault(const std::string& sentence) { return {StatusCode::internal, sentence}; }

/// Opens the library of the folder that says that it suits this CPU best.
Status Ggml::choose(const std::string& folder) {
  const std::string prefix = "libggml-cpu-";
  int best = 0;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    const std::string stem = file.path().stem().string();
    if (!stem.starts_with(prefix) || file.path().extension() != ".so") continue;
    Library candidate(dlopen(file.path().c_str(), RTLD_NOW | RTLD_LOCAL));
    decltype(&ggml_backend_score) score = nullptr;
    if (!candidate || !find(candidate, "ggml_backend_score", score) || score() <= best) continue;
    best = score();
    kernels = stem.substr(prefix.size());
    library = std::move(candidate);
  }
  if (error) return fault("folder (\"" + folder + "\") cannot be read: " + error.message());
  if (!library) return fault("no libggml-cpu-*.so in " + folder + " suits this CPU");
  return {};
}

Status Ggml::load(const std::string& folder) {
  if (Status status = choose(folder); !status) return status;
  std::string missing;
  const auto bind = [&](const char* name, auto*& function) {
    if (!find(library, name, function)) missing = name;
  };
  bind("ggml_backend_cpu_init", backend_cpu_init);
  bind("ggml_backend_cpu_set_n_threads", backend_cpu_set_n_threads);
  bind("ggml_backend_cpu_set_threadpool", backend_cpu_set_threadpool);
  bind("ggml_backend_free", backend_free);
  bind("ggml_backend_graph_compute", backend_graph_compute);
  bind("ggml_threadpool_params_init", threadpool_params_init);
  bind("ggml_threadpool_new", threadpool_new);
  bind("ggml_threadpool_free", threadpool_free);
  bind("ggml_init", init);
  bind("ggml_free", free);
  bind("ggml_new_tensor_4d", new_tensor_4d);
  bind("ggml_get_data", get_data);
  bind("ggml_flash_attn_ext", flash_attn_ext);
  bind("ggml_flash_attn_ext_add_sinks", flash_attn_ext_add_sinks);
  bind("ggml_flash_attn_ext_set_prec", flash_attn_ext_set_prec);
  bind("ggml_new_graph", new_graph);
  bind("ggml_build_forward_expand", build_forward_expand);
  return missing.empty() ? Status() : fault("ggml lacks " + missing + ": another version");
}

/// heed's types as ggml_type; −1 for those that ggml does not have.
int ggml_type_of(DType type) {
  switch (type) {
    case DType::f32:
      return kF32;
    case DType::f16:
      return kF16;
    case DType::q4_0:
      return 2;
    case DType::q8_0:
      return 8;
    case DType::bf16:
      return 30;
    default:
      return -1;
  }
}

/// One graph of one node, and the threads that compute it.
class FlashAttention {
 public:
  FlashAttention(const Ggml& ggml, const Task& task)
      : ggml_(ggml), workload_(by_head(task)), kv_type_(task.kv_type) {}
  FlashAttention(const FlashAttention&) = delete;
  FlashAttention& operator=(const FlashAttention&) = delete;
  ~FlashAttention();

  Status prepare(int threads);
  Status run();
  double max_error() const;

 private:
  /// ggml takes [batch, head, position, head_dim] and returns [batch, position, head, head_dim].
  static AttentionWorkload by_head(const Task& task) {
    AttentionWorkload workload = task.workload;
    workload.layout = TensorLayout::bhsd;
    workload.kv_type = task.kv_type;
    return workload;
  }

  Status start_threads(int threads);
  Status build();
  ggml_tensor* tensor(std::int64_t positions, std::int64_t heads, const InputData& data);
  ggml_tensor* mask();
  ggml_tensor* sinks();
  float mask_element(const proof::Row& row, std::int64_t key) const;
  bool needs_mask() const;
  std::int64_t mask_rows() const { return (queries_ + 63) / 64 * 64; }  // ggml wants multiples
  std::int64_t mask_heads() const { return of_heads_ ? workload_.query_heads : 1; }
  std::int64_t mask_sequences() const { return of_sequences_ ? workload_.sequences() : 1; }
  std::int64_t memory() const;

  const Ggml& ggml_;
  AttentionWorkload workload_;
  DType kv_type_;
  AttentionCase case_{workload_};
  proof::Geometry geometry_ = case_.geometry();
  /// Whether heads, and sequences, have masks of their own.
  bool of_heads_ =
      workload_.shown == Shown::blocks || workload_.modifiers.biases == proof::Biases::all;
  bool of_sequences_ =
      workload_.shown == Shown::padding || workload_.modifiers.biases == proof::Biases::all;
  std::int64_t queries_ = case_.batch().query.length, keys_ = case_.batch().key.length;
  Pool query_, keys_and_values_;
  std::vector<float> slopes_;
  AttentionTensors tensors_;
  ggml_backend* backend_ = nullptr;
  ggml_threadpool* threads_ = nullptr;
  ggml_context* context_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
};

FlashAttention::~FlashAttention() {
  if (context_ != nullptr) ggml_.free(context_);
  if (backend_ != nullptr) ggml_.backend_free(backend_);
  if (threads_ != nullptr) ggml_.threadpool_free(threads_);
}

Status FlashAttention::prepare(int threads) {
  if (Status status = Pool::create(case_.query_floats(), Pages::usual, query_); !status) {
    return status;
  }
  if (Status status = Pool::create(case_.kv_copy_floats(), Pages::usual, keys_and_values_);
      !status) {
    return status;
  }
  tensors_.q = query_.inputs(case_.query_inputs()).data();
  tensors_.k = keys_and_values_.inputs(case_.kv_inputs(), kv_type_);
  tensors_.v = tensors_.k + static_cast<std::int64_t>(case_.value_offset());
  tensors_.modifiers = case_.modifiers();
  if (workload_.modifiers.alibi) {
    slopes_.resize(static_cast<std::size_t>(workload_.query_heads));
    alibi_slopes(slopes_);
    tensors_.modifiers.alibi_slopes = slopes_.data();
  }
  if (Status status = start_threads(threads); !status) return status;
  return build();
}

Status FlashAttention::start_threads(int threads) {
  // ggml fills it in, and it takes about 600 bytes.
  alignas(64) std::byte params[8192] = {};
  ggml_.threadpool_params_init(params, threads);
  threads_ = ggml_.threadpool_new(params);
  backend_ = ggml_.backend_cpu_init();
  if (threads_ == nullptr || backend_ == nullptr) return fault("ggml's threads do not start");
  ggml_.backend_cpu_set_n_threads(backend_, threads);
  ggml_.backend_cpu_set_threadpool(backend_, threads_);
  return {};
}

/// Bytes of all tensors, and enough for what describes them.
std::int64_t FlashAttention::memory() const {
  constexpr std::int64_t kDescriptions = 16 << 20;
  const auto floats = static_cast<std::int64_t>(2 * case_.query_floats() + 2 * case_.key_floats());
  const std::int64_t mask = mask_sequences() * mask_heads() * mask_rows() * keys_;
  return kDescriptions + 4 * floats + 2 * mask;
}

Status FlashAttention::build() {
  context_ = ggml_.init({static_cast<std::size_t>(memory()), nullptr, false});
  if (context_ == nullptr) return fault("ggml has no memory for its tensors");
  ggml_tensor* const q = tensor(queries_, workload_.query_heads, tensors_.q);
  ggml_tensor* const k = tensor(keys_, workload_.kv_heads, tensors_.k);
  ggml_tensor* const v = tensor(keys_, workload_.kv_heads, tensors_.v);
  const float scale = 1 / std::sqrt(static_cast<float>(workload_.head_dim));
  ggml_tensor* const out = ggml_.flash_attn_ext(context_, q, k, v, mask(), scale,
                                                workload_.modifiers.alibi ? kMaxAlibiBias : 0,
                                                workload_.modifiers.softcap);
  if (workload_.modifiers.sinks) ggml_.flash_attn_ext_add_sinks(out, sinks());
  ggml_.flash_attn_ext_set_prec(out, kPrecisionF32);
  graph_ = ggml_.new_graph(context_);
  ggml_.build_forward_expand(graph_, out);
  tensors_.out = static_cast<float*>(ggml_.get_data(out));
  return {};
}

ggml_tensor* FlashAttention::tensor(std::int64_t positions, std::int64_t heads,
                                    const InputData& data) {
  const std::int64_t head_dim = workload_.head_dim, sequences = workload_.sequences();
  ggml_tensor* const tensor = ggml_.new_tensor_4d(context_, ggml_type_of(data.type()), head_dim,
                                                  positions, heads, sequences);
  const std::int64_t elements = head_dim * positions * heads * sequences;
  std::memcpy(ggml_.get_data(tensor), data.data(),
              static_cast<std::size_t>(dtype_info(data.type()).bytes(elements)));
  return tensor;
}

bool FlashAttention::needs_mask() const {
  const bool hides =
      (workload_.causal && queries_ > 1) || workload_.window > 0 || workload_.shown != Shown::all;
  return hides || workload_.modifiers.alibi || workload_.modifiers.biases != proof::Biases::none;
}

/// What ggml adds to a score: a bias; or the distance from the query, which ggml multiplies by the
/// head's slope.
float FlashAttention::mask_element(const proof::Row& row, std::int64_t key) const {
  if (row.token >= queries_ || !geometry_.sees(row, key)) return kHidden;
  if (workload_.modifiers.alibi) return static_cast<float>(key - geometry_.position(row));
  const ScoreBias& bias = tensors_.modifiers.bias;
  if (bias.data == nullptr) return 0;
  return bias.data.as<float>()[geometry_.bias(bias, row, key)];
}

/// None where every query sees every key and nothing is added to scores.
ggml_tensor* FlashAttention::mask() {
  if (!needs_mask()) return nullptr;
  ggml_tensor* const mask =
      ggml_.new_tensor_4d(context_, kF16, keys_, mask_rows(), mask_heads(), mask_sequences());
  OutputData to{ggml_.get_data(mask), DType::f16};
  std::vector<float> elements(static_cast<std::size_t>(keys_));
  proof::Row row;
  for (row.sequence = 0; row.sequence < mask_sequences(); ++row.sequence) {
    for (row.head = 0; row.head < mask_heads(); ++row.head) {
      for (row.token = 0; row.token < mask_rows(); ++row.token, to += keys_) {
        for (std::int64_t j = 0; j < keys_; ++j) {
          elements[static_cast<std::size_t>(j)] = mask_element(row, j);
        }
        proof::narrow(elements, to);
      }
    }
  }
  return mask;
}

ggml_tensor* FlashAttention::sinks() {
  ggml_tensor* const sinks = ggml_.new_tensor_4d(context_, kF32, workload_.query_heads, 1, 1, 1);
  std::memcpy(ggml_.get_data(sinks), tensors_.modifiers.sinks,
              static_cast<std::size_t>(workload_.query_heads) * sizeof(float));
  return sinks;
}

Status FlashAttention::run() {
  if (ggml_.backend_graph_compute(backend_, graph_) == 0) return {};
  return fault("ggml_backend_graph_compute failed");
}

double FlashAttention::max_error() const {
  Batch batch = case_.batch();
  batch.out = {};
  return check_attention({case_.config(), batch}, tensors_).max_error;
}

Status measure(const Task& task, Figure& figure) {
  if (ggml_type_of(task.kv_type) < 0) return fault("ggml does not have this type");
  Ggml ggml;
  if (Status status = ggml.load(task.folder); !status) return status;
  figure.operation = "flash_attn_ext, KV " + std::string(dtype_info(task.kv_type).name);
  figure.kernels = ggml.kernels;
  FlashAttention attention(ggml, task);
  if (Status status = attention.prepare(task.threads); !status) return status;
  const auto once = [&](std::int64_t) { return attention.run(); };
  if (Status status = repeat(task.seconds, once, figure.timing); !status) return status;
  figure.max_error = attention.max_error();
  return {};
}

}  // namespace
}  // namespace heed::bench::peers

int main(int argc, char** argv) {
  return heed::bench::peers::run_peer(argc, argv, "ggml", heed::bench::peers::measure);
}

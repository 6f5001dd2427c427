// The plug-in in a ggml that loads it, and in one that is not what it was built for: a line on
// stderr, once, and ggml computes attention by itself, bit for bit.
//
//     plugin_test PLUGIN
//
// Each case runs in a process of its own, in which faults are planted in the ggml that is there.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml.h"
#include "tests/support/allocation_count.h"

namespace {

using heed::tests::Failing;
using heed::tests::FailingAllocations;

/// What dlsym finds in the place of ggml's functions.
std::map<std::string, void*, std::less<>>& planted() {
  static std::map<std::string, void*, std::less<>> functions;
  return functions;
}

}  // namespace

/// The plug-in calls this one: programs come before libraries.
extern "C" void* dlsym(void* library, const char* name) noexcept {
  using Find = void* (*)(void*, const char*);
  static const auto real = reinterpret_cast<Find>(dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5"));
  const auto found = planted().find(std::string_view(name));
  return found != planted().end() ? found->second : real(library, name);
}

namespace {

const char* plugin = nullptr;  ///< its path
int checks_failed = 0;

void check(bool fine, const char* what) {
  if (fine) return;
  ++checks_failed;
  std::printf("not so: %s\n", what);
}

template <class Function>
void plant(const char* name, Function* function) {
  planted()[name] = reinterpret_cast<void*>(function);
}
void hide(const char* name) { planted()[name] = nullptr; }

ggml_backend_dev_t cpu() { return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU); }

using Backend = std::unique_ptr<ggml_backend, decltype(&ggml_backend_free)>;
Backend start(ggml_backend_dev_t device) {
  return {ggml_backend_dev_init(device, nullptr), ggml_backend_free};
}

void set_threads(ggml_backend_t backend, int threads) {
  const auto set = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(cpu()), "ggml_backend_set_n_threads"));
  set(backend, threads);
}

/// A graph of one node of attention, 3 queries and 40 keys of 2 heads of 32, and its tensors'
/// memory.
class Attention {
 public:
  Attention()
      : context_(ggml_init({.mem_size = 1 << 20, .mem_buffer = nullptr, .no_alloc = false}),
                 ggml_free) {
    ggml_context* const c = context_.get();
    ggml_tensor* const q = filled(ggml_new_tensor_4d(c, GGML_TYPE_F32, 32, 3, 2, 1), 0.3F);
    ggml_tensor* const k = filled(ggml_new_tensor_4d(c, GGML_TYPE_F32, 32, 40, 2, 1), 0.7F);
    ggml_tensor* const v = filled(ggml_new_tensor_4d(c, GGML_TYPE_F32, 32, 40, 2, 1), 1.1F);
    node_ = ggml_flash_attn_ext(c, q, k, v, nullptr, 0.25F, 0, 0);
    graph_ = ggml_new_graph(c);
    ggml_build_forward_expand(graph_, node_);
  }

  ggml_tensor& node() { return *node_; }

  /// What the backend computes; nothing where it fails.
  std::vector<float> on(ggml_backend_t backend) {
    std::memset(node_->data, 0xFF, ggml_nbytes(node_));
    if (ggml_backend_graph_compute(backend, graph_) != GGML_STATUS_SUCCESS) return {};
    check(node_->op == GGML_OP_FLASH_ATTN_EXT, "the node is what it was");
    const auto* const data = static_cast<const float*>(node_->data);
    return {data, data + ggml_nelements(node_)};
  }

 private:
  static ggml_tensor* filled(ggml_tensor* tensor, float step) {
    auto* const data = static_cast<float*>(tensor->data);
    for (std::int64_t i = 0; i < ggml_nelements(tensor); ++i) {
      data[i] = std::sin(step * static_cast<float>(i));
    }
    return tensor;
  }

  std::unique_ptr<ggml_context, decltype(&ggml_free)> context_;
  ggml_tensor* node_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
};

std::vector<float> on_new_backend() {
  Attention attention;
  const Backend backend = start(cpu());
  return backend ? attention.on(backend.get()) : std::vector<float>();
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Whether both are attention over values of up to 1: chains of 40 products, exponentials to 2⁻²⁰.
bool close(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && std::equal(a.begin(), a.end(), b.begin(), b.end(),
                                  [](float x, float y) { return std::abs(x - y) < 1e-5F; });
}

/// Loads the plug-in twice, as programs may; the second one must not be heard.
ggml_backend_reg_t load() {
  ggml_backend_reg_t const first = ggml_backend_load(plugin);
  ggml_backend_reg_t const second = ggml_backend_load(plugin);
  check((first == nullptr) == (second == nullptr), "it is loaded twice or not at all");
  return first;
}

/// ggml's own result, before the plug-in is there.
const std::vector<float>& own() {
  static const std::vector<float> result = on_new_backend();
  return result;
}

/// Faults of a ggml that the plug-in must find out before it touches anything.
const char* other_name(int) { return "OTHER"; }
const char* other_types(ggml_type type) {
  return type == GGML_TYPE_Q8_0 ? "q9_0" : ggml_type_name(type);
}
template <ggml_type kOther>
std::size_t other_sizes(ggml_type type) {
  return type == kOther ? 20 : ggml_type_size(type);
}
ggml_context* no_context(ggml_init_params) { return nullptr; }
/// What is elsewhere in the tensors of a ggml whose structures differ.
using Change = void (*)(ggml_tensor&);
const Change kChanges[] = {
    [](ggml_tensor& t) { t.type = GGML_TYPE_F16; },
    [](ggml_tensor& t) { t.op = GGML_OP_NONE; },
    [](ggml_tensor& t) { t.ne[3] = 1; },
    [](ggml_tensor& t) { t.nb[1] = 4; },
    [](ggml_tensor& t) { t.op_params[0] ^= 1; },  // the function
    [](ggml_tensor& t) { t.op_params[2] = 1; },   // the number of tasks
    [](ggml_tensor& t) { t.op_params[4] ^= 1; },  // the user's data
    [](ggml_tensor& t) { t.src[0] = nullptr; },
    [](ggml_tensor& t) { t.src[1] = &t; },
    [](ggml_tensor& t) { t.view_src = &t; },
    [](ggml_tensor& t) { t.data = &t; },
};
Change change = nullptr;

ggml_tensor* other_custom(ggml_context* context, ggml_type type, std::int64_t ne0, std::int64_t ne1,
                          std::int64_t ne2, std::int64_t ne3, ggml_tensor** args, int n_args,
                          ggml_custom_op_t fun, int n_tasks, void* userdata) {
  ggml_tensor* const made =
      ggml_custom_4d(context, type, ne0, ne1, ne2, ne3, args, n_args, fun, n_tasks, userdata);
  change(*made);
  return made;
}
const char* elsewhere(const ggml_tensor* tensor) { return tensor->name + 1; }
ggml_backend_dev_t no_device(enum ggml_backend_dev_type) { return nullptr; }
ggml_backend_reg_t other_reg(ggml_backend_dev_t) {
  static ggml_backend_reg reg = {};
  return &reg;
}
ggml_backend_t no_backend(ggml_backend_dev_t, const char*) { return nullptr; }
/// A backend in which the device lies elsewhere, where ggml itself finds it.
ggml_backend_t other_backend(ggml_backend_dev_t, const char*) {
  static ggml_backend backend = {};
  return &backend;
}
void leave(ggml_backend_t) {}
ggml_backend_dev_t same_device(ggml_backend_t) { return cpu(); }
ggml_backend_dev_t other_device(ggml_backend_t) {
  static ggml_backend_device device = {};
  return &device;
}

struct Stranger {
  const char* name;
  const char* said;
  void (*plant)();
};

const Stranger kStrangers[] = {
    {"a missing function", "this ggml has no ggml_custom_4d", [] { hide("ggml_custom_4d"); }},
    {"two missing functions", "this ggml has no ggml_version, no ggml_backend_buft_is_host",
     [] { hide("ggml_version"), hide("ggml_backend_buft_is_host"); }},
    {"other numbers of operations", "this ggml numbers FLASH_ATTN_EXT differently",
     [] { plant("ggml_op_name", other_name); }},
    {"other numbers of types", "this ggml numbers q8_0 differently",
     [] { plant("ggml_type_name", other_types); }},
    {"another size of q4_0", "this ggml stores q8_0 or q4_0 differently",
     [] { plant("ggml_type_size", other_sizes<GGML_TYPE_Q4_0>); }},
    {"another size of q8_0", "this ggml stores q8_0 or q4_0 differently",
     [] { plant("ggml_type_size", other_sizes<GGML_TYPE_Q8_0>); }},
    {"no memory", "this ggml has no memory", [] { plant("ggml_init", no_context); }},
    {"names elsewhere", "this ggml lays out its tensors differently",
     [] { plant("ggml_get_name", elsewhere); }},
    {"no CPU backend", "this ggml has no CPU backend",
     [] { plant("ggml_backend_dev_by_type", no_device); }},
    {"other devices", "this ggml lays out its devices differently",
     [] { plant("ggml_backend_dev_backend_reg", other_reg); }},
    {"another version of the ABI",
     "this ggml's backends have version 3, the plug-in was built for version 2",
     [] { ggml_backend_dev_backend_reg(cpu())->api_version = 3; }},
    {"a CPU backend that does not start", "this ggml's CPU backend does not start",
     [] { plant("ggml_backend_dev_init", no_backend); }},
    {"other backends", "this ggml lays out its backends differently",
     [] { plant("ggml_backend_get_device", other_device); }},
    {"other backends, as ggml knows", "this ggml lays out its backends differently",
     [] {
       plant("ggml_backend_dev_init", other_backend), plant("ggml_backend_free", leave);
       plant("ggml_backend_get_device", same_device);
     }},
};
static_assert(GGML_BACKEND_API_VERSION == 2, "the version above is another one than ggml's");

void meet(const Stranger& stranger) {
  const std::vector<float>& before = own();
  stranger.plant();
  check(load() == nullptr, "the plug-in stays away");
  check(same_bits(on_new_backend(), before), "ggml computes what it did");
}

/// What the plug-in does where ggml is the one that it was built for.
void takes_attention() {
  const std::vector<float>& before = own();
  Attention attention;
  check(load() != nullptr, "the plug-in is loaded");
  check(ggml_backend_dev_by_name("heed") == nullptr, "it has no device");
  Backend first = start(cpu()), second = start(cpu());
  const std::vector<float> result = attention.on(first.get());
  check(close(result, before), "heed computes attention");
  for (const int threads : {3, 1, 2}) {
    set_threads(second.get(), threads);
    check(same_bits(attention.on(second.get()), result), "on so many threads, too");
  }
  std::thread([&first] { first.reset(); }).join();
  check(same_bits(attention.on(second.get()), result), "when another backend has gone");
  second.reset();
  check(same_bits(on_new_backend(), result), "in backends made later");
}

void hands_back_unknown_parameters() {
  Attention attention;
  attention.node().op_params[7] = 1;
  const Backend plain = start(cpu());
  const std::vector<float> before = attention.on(plain.get());
  check(load() != nullptr, "the plug-in is loaded");
  const Backend backend = start(cpu());
  for (int i = 0; i < 3; ++i) {
    check(same_bits(attention.on(backend.get()), before), "ggml computes");
  }
  check(attention.node().op_params[7] == 1, "the parameter is what it was");
}

/// The CPU's backends, counted, and refused where the plug-in should meet that.
bool refuses = false;
int living = 0;
int failing = 0;  ///< which allocation fails after the next one is made; 0: none
std::optional<FailingAllocations> failures;
ggml_backend_t (*init_cpu)(ggml_backend_dev_t, const char*) = nullptr;
void (*free_cpu)(ggml_backend_t) = nullptr;
void free_counted(ggml_backend_t backend) {
  --living;
  free_cpu(backend);
}
ggml_backend_t init_counted(ggml_backend_dev_t device, const char* params) {
  ggml_backend_t const backend = refuses ? nullptr : init_cpu(device, params);
  if (backend == nullptr) return nullptr;
  ++living;
  free_cpu = backend->iface.free;
  backend->iface.free = free_counted;
  if (failing > 0) failures.emplace(Failing::one_of_news, failing);
  return backend;
}
void count_backends() {
  init_cpu = cpu()->iface.init_backend;
  cpu()->iface.init_backend = init_counted;
}

void lets_backends_fail() {
  count_backends();
  check(load() != nullptr, "the plug-in is loaded");
  refuses = true;
  check(start(cpu()) == nullptr, "there is no backend where ggml makes none");
  refuses = false;
  check(!on_new_backend().empty(), "and there is one where it does");
  check(living == 0, "which is freed");
}

/// Each allocation of the plug-in's for a backend fails once; how often there was a backend then,
/// and how often none.
struct Starts {
  int some = 0, none = 0;
};
Starts start_without_memory(ggml_backend_dev_t device) {
  Starts starts;
  for (failing = 1;; ++failing) {
    const Backend backend = start(device);
    const bool failed = failures->failed();
    failures.reset();
    if (!failed) break;
    ++(backend != nullptr ? starts.some : starts.none);
  }
  failing = 0;
  return starts;
}

void runs_out_of_memory() {
  count_backends();
  check(load() != nullptr, "the plug-in is loaded");
  const Starts starts = start_without_memory(cpu());
  check(starts.some > 1 && starts.none == 0, "there are backends without heed");
  check(living == 0, "all of them are freed");
}

void check_words(ggml_backend_dev_t heed) {
  std::size_t free = 1, total = 1;
  ggml_backend_dev_memory(heed, &free, &total);
  check(free == 0 && total == 0, "the device has no memory of its own");
  check(ggml_backend_dev_type(heed) == GGML_BACKEND_DEVICE_TYPE_ACCEL, "it is an accelerator");
  ggml_backend_dev_props properties;
  ggml_backend_dev_get_props(heed, &properties);
  check(std::string_view(properties.name) == "heed" &&
            std::string_view(properties.description) == "heed, attention for CPUs" &&
            properties.type == GGML_BACKEND_DEVICE_TYPE_ACCEL && properties.memory_total == 0,
        "its properties say so");
  check(ggml_backend_dev_buffer_type(heed) == ggml_backend_cpu_buffer_type() &&
            ggml_backend_dev_supports_buft(heed, ggml_backend_cpu_buffer_type()),
        "it works in the CPU's memory");
}

void check_operations(ggml_backend_dev_t heed) {
  Attention attention;
  ggml_tensor& node = attention.node();
  check(ggml_backend_dev_supports_op(heed, &node), "it supports attention");
  node.op_params[9] = 1;
  check(!ggml_backend_dev_supports_op(heed, &node), "but for parameters that it does not know");
  node.op_params[9] = 0;
  for (const ggml_op op :
       {GGML_OP_NONE, GGML_OP_RESHAPE, GGML_OP_VIEW, GGML_OP_PERMUTE, GGML_OP_TRANSPOSE}) {
    node.op = op;
    check(ggml_backend_dev_supports_op(heed, &node), "it supports what moves nothing");
  }
  node.op = GGML_OP_MUL_MAT;
  check(!ggml_backend_dev_supports_op(heed, &node), "it supports no products");
}

int cpu_threads = 0;  ///< that a CPU backend was last asked for
void note_threads(ggml_backend_t, int threads) { cpu_threads = threads; }
void* note_functions(ggml_backend_reg_t, const char* name) {
  return std::string_view(name) == "ggml_backend_set_n_threads"
             ? reinterpret_cast<void*>(note_threads)
             : nullptr;
}

/// HEED_GGML_DEVICE=1: a device beside the CPU's.
ggml_backend_dev_t load_as_device() {
  setenv("HEED_GGML_DEVICE", "1", 1);
  check(load() != nullptr, "the plug-in is loaded");
  ggml_backend_dev_t const device = ggml_backend_dev_by_name("heed");
  check(device != nullptr, "it has a device");
  return device;
}

void is_a_device() {
  const std::vector<float>& before = own();
  ggml_backend_dev_t const device = load_as_device();
  check_words(device);
  check_operations(device);
  check(same_bits(on_new_backend(), before), "the CPU's backends are ggml's own");
}

void computes_as_a_device() {
  const std::vector<float>& before = own();
  count_backends();
  plant("ggml_backend_reg_get_proc_address", note_functions);
  ggml_backend_dev_t const device = load_as_device();
  Attention attention;
  Backend backend = start(device);
  check(living == 1, "a backend has one of the CPU's");
  check(std::string_view(ggml_backend_name(backend.get())) == "heed", "its backends bear its name");
  check(ggml_backend_guid(backend.get()) != nullptr, "and its mark");
  check(close(attention.on(backend.get()), before), "heed computes attention");
  ggml_backend_reg_t const reg = ggml_backend_dev_backend_reg(device);
  const auto set = reinterpret_cast<ggml_backend_set_n_threads_t>(
      reg->iface.get_proc_address(reg, "ggml_backend_set_n_threads"));
  check(reg->iface.get_proc_address(reg, "other") == nullptr, "it has no other function");
  set(backend.get(), 5);
  check(cpu_threads == 5, "but one for the CPU backend's threads");
  backend.reset();
  check(living == 0, "which goes with it");
  if (!heed::tests::counts_allocations()) return;
  const Starts starts = start_without_memory(device);
  check(starts.some == 0 && starts.none > 1 && living == 0, "and where there is no memory for it");
}

void needs_its_cpu_backend() {
  count_backends();
  ggml_backend_dev_t const device = load_as_device();
  refuses = true;
  check(start(device) == nullptr, "no backend without one of the CPU");
}

/// Runs a case in a child process; whether it held, and what it said on stderr is `said`.
template <class Run>
bool holds(const char* name, const std::string& said, Run run) {
  std::fflush(stdout);
  std::FILE* const log = std::tmpfile();
  const pid_t child = fork();
  if (child == 0) {
    dup2(fileno(log), STDERR_FILENO);
    ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    ggml_backend_load_all_from_path(HEED_LLAMA_BINARIES);
    run();
    std::fflush(stdout);
    _exit(checks_failed == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::string found(4096, '\0');
  std::rewind(log);
  found.resize(std::fread(found.data(), 1, found.size(), log));
  std::fclose(log);
  if (status == 0 && found == said) return true;
  std::printf("%s: ended with %d, and said\n%sin the place of\n%s", name, status, found.c_str(),
              said.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: plugin_test PLUGIN\n", stderr);
    return 2;
  }
  plugin = argv[1];
  setenv("HEED_GGML_LOG", "1", 1);  // each backend says at its end what it computed
  int failures = 0;
  const auto count = [&failures](bool fine) { failures += fine ? 0 : 1; };
  for (const Stranger& stranger : kStrangers) {
    count(holds(stranger.name,
                std::string("heed: ") + stranger.said + "; ggml goes on without heed\n",
                [&stranger] { meet(stranger); }));
  }
  for (const Change& other : kChanges) {
    count(holds("other tensors",
                "heed: this ggml lays out its tensors differently; ggml goes on without heed\n",
                [&other] {
                  change = other;
                  meet({"", "", [] { plant("ggml_custom_4d", other_custom); }});
                }));
  }
  const std::string one = "heed: computed 1 of 1 FLASH_ATTN_EXT nodes\n";
  count(holds("attention", one + "heed: computed 4 of 4 FLASH_ATTN_EXT nodes\n" + one,
              takes_attention));
  count(holds(
      "an unknown parameter",
      "heed: attention has a parameter that this plug-in does not know; ggml computes it itself\n"
      "heed: computed 0 of 3 FLASH_ATTN_EXT nodes\n"
      "heed: handed back 3: a parameter that this plug-in does not know\n",
      hands_back_unknown_parameters));
  count(holds("backends that fail", one, lets_backends_fail));
  if (heed::tests::counts_allocations()) {
    count(holds("no memory",
                "heed: there is no memory for a backend; ggml computes attention itself\n",
                runs_out_of_memory));
  }
  count(holds("a device", "", is_a_device));
  count(holds("a device that computes", one, computes_as_a_device));
  count(holds("a device without the CPU", "", needs_its_cpu_backend));
  std::puts(failures == 0 ? "ggml went on, with heed and without it, as it should" : "failures");
  return failures == 0 ? 0 : 1;
}

// The plug-in itself: GGML_BACKEND_PATH names it, and ggml calls ggml_backend_init.
//
// It has no device of its own unless it is asked for one: a device would take its nodes out of the
// CPU backend's graphs, which would then be cut at each layer, and llama.cpp would turn "auto"
// flash attention off. Instead the CPU backends that are made from now on have their graphs
// computed by a Takeover, on ggml's own threads. With HEED_GGML_DEVICE=1 there is a device, for
// programs that compare devices, as test-backend-ops does, and the CPU's backends are left alone.
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "bindings/ggml/device.h"
#include "bindings/ggml/host.h"
#include "bindings/ggml/log.h"
#include "bindings/ggml/takeover.h"
#include "ggml-backend-impl.h"

namespace heed::plugin {
namespace {

/// A CPU backend, and the functions that it had.
struct Wrapped {
  explicit Wrapped(const Host& host) : takeover(host) {}
  Compute compute = nullptr;
  void (*free)(ggml_backend_t) = nullptr;
  Takeover takeover;
};

/// All that are there. Programs make and free backends on any thread.
struct Registry {
  Host host;
  ggml_backend_t (*init_backend)(ggml_backend_dev_t, const char*) = nullptr;
  std::mutex mutex;
  std::unordered_map<ggml_backend_t, std::unique_ptr<Wrapped>> wrapped;
};

/// Never destroyed: programs may free backends while they end.
Registry& registry() {
  static auto* const the_registry = new Registry();
  return *the_registry;
}

Wrapped* find(ggml_backend_t backend) {
  const std::lock_guard lock(registry().mutex);
  const auto found = registry().wrapped.find(backend);
  return found == registry().wrapped.end() ? nullptr : found->second.get();
}

ggml_status compute_wrapped(ggml_backend_t backend, ggml_cgraph* graph) {
  Wrapped& wrapped = *find(backend);
  return wrapped.takeover.compute(backend, graph, wrapped.compute);
}

void free_wrapped(ggml_backend_t backend) {
  std::unique_ptr<Wrapped> wrapped;
  {
    const std::lock_guard lock(registry().mutex);
    auto node = registry().wrapped.extract(backend);
    wrapped = std::move(node.mapped());
  }
  wrapped->free(backend);
}

ggml_backend_t init_wrapped(ggml_backend_dev_t device, const char* params) {
  ggml_backend_t const backend = registry().init_backend(device, params);
  if (backend == nullptr) return nullptr;
  try {
    auto wrapped = std::make_unique<Wrapped>(registry().host);
    wrapped->compute = backend->iface.graph_compute;
    wrapped->free = backend->iface.free;
    const std::lock_guard lock(registry().mutex);
    registry().wrapped.emplace(backend, std::move(wrapped));
    backend->iface.graph_compute = compute_wrapped;
    backend->iface.free = free_wrapped;
  } catch (const std::bad_alloc&) {
    say_once("there is no memory for a backend; ggml computes attention itself");
  }
  return backend;
}

const char* name(ggml_backend_reg_t) { return "heed"; }
std::size_t no_devices(ggml_backend_reg_t) { return 0; }
ggml_backend_dev_t no_device(ggml_backend_reg_t, std::size_t) { return nullptr; }
void* no_function(ggml_backend_reg_t, const char*) { return nullptr; }

ggml_backend_reg_t without_device() {
  static ggml_backend_reg reg = {.api_version = GGML_BACKEND_API_VERSION,
                                 .iface = {.get_name = name,
                                           .get_device_count = no_devices,
                                           .get_device = no_device,
                                           .get_proc_address = no_function},
                                 .context = nullptr};
  return &reg;
}

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && std::string_view(value) == "1";
}

/// Finds the CPU's device in the ggml that holds `caller`. Null, and a line on stderr, where that
/// ggml is not one that the plug-in was built for.
ggml_backend_dev_t find_cpu(const void* caller, Host& host) {
  ggml_backend_dev_t cpu = nullptr;
  std::string fault = find_host(caller, host);
  if (fault.empty()) fault = check_layout(host);
  if (fault.empty()) {
    cpu = host.dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    fault = cpu == nullptr ? "this ggml has no CPU backend" : check_device(host, cpu);
  }
  if (fault.empty()) return cpu;
  say_once(fault + "; ggml goes on without heed");
  return nullptr;
}

ggml_backend_reg_t start(const void* caller) {
  Registry& all = registry();
  if (all.init_backend != nullptr) return without_device();  // loaded twice
  ggml_backend_dev_t const cpu = find_cpu(caller, all.host);
  if (cpu == nullptr) return nullptr;
  if (is_set("HEED_GGML_DEVICE")) return with_device(all.host, cpu);
  all.init_backend = cpu->iface.init_backend;
  cpu->iface.init_backend = init_wrapped;
  return without_device();
}

}  // namespace
}  // namespace heed::plugin

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() {
  try {
    return heed::plugin::start(__builtin_return_address(0));
  } catch (...) {
    heed::plugin::say_once("there is no memory for the plug-in; ggml goes on without heed");
    return nullptr;
  }
}

#include "bindings/ggml/device.h"

#include <memory>
#include <string_view>

#include "bindings/ggml/log.h"
#include "bindings/ggml/node.h"
#include "bindings/ggml/takeover.h"

namespace heed::plugin {
namespace {

/// What the device needs: its context.
struct Parts {
  const Host& host;
  ggml_backend_dev_t cpu;
};

const Parts& parts_of(ggml_backend_dev_t device) {
  return *static_cast<const Parts*>(device->context);
}

/// A backend, with the CPU backend whose threads it uses.
struct Engine {
  Engine(const Host& host, ggml_backend_t with) : cpu(with), takeover(host) {}
  ggml_backend_t cpu;
  Takeover takeover;
};

Engine& engine_of(ggml_backend_t backend) { return *static_cast<Engine*>(backend->context); }

const char* backend_name(ggml_backend_t) { return "heed"; }

void free_backend(ggml_backend_t backend) {
  Engine* const engine = &engine_of(backend);
  parts_of(backend->device).host.backend_free(engine->cpu);
  delete engine;
  delete backend;
}

ggml_status compute(ggml_backend_t backend, ggml_cgraph* graph) {
  Engine& engine = engine_of(backend);
  return engine.takeover.compute(engine.cpu, graph, engine.cpu->iface.graph_compute);
}

void set_n_threads(ggml_backend_t backend, int threads) {
  const auto& [host, cpu] = parts_of(backend->device);
  const auto set = reinterpret_cast<ggml_backend_set_n_threads_t>(
      host.reg_get_proc_address(host.dev_backend_reg(cpu), "ggml_backend_set_n_threads"));
  if (set != nullptr) set(engine_of(backend).cpu, threads);
}

const char* device_name(ggml_backend_dev_t) { return "heed"; }
const char* device_description(ggml_backend_dev_t) { return "heed, attention for CPUs"; }
void device_memory(ggml_backend_dev_t, std::size_t* free, std::size_t* total) {
  *free = 0;
  *total = 0;
}
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
  return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_properties(ggml_backend_dev_t device, ggml_backend_dev_props* properties) {
  *properties = {};
  properties->name = device_name(device);
  properties->description = device_description(device);
  properties->type = device_type(device);
}

ggml_backend_t init_backend(ggml_backend_dev_t device, const char* params) {
  static ggml_guid guid = {0x6B, 0x1D, 0x5A, 0x0E, 0x3C, 0x2F, 0x4B, 0x87,
                           0x9D, 0x14, 0xE2, 0x70, 0x88, 0xC5, 0x31, 0xFA};
  const Parts& parts = parts_of(device);
  ggml_backend_t const cpu = parts.host.dev_init(parts.cpu, params);
  if (cpu == nullptr) return nullptr;
  try {
    auto engine = std::make_unique<Engine>(parts.host, cpu);
    auto backend = std::make_unique<ggml_backend>();
    backend->guid = &guid;
    backend->iface.get_name = backend_name;
    backend->iface.free = free_backend;
    backend->iface.graph_compute = compute;
    backend->device = device;
    backend->context = engine.release();
    return backend.release();
  } catch (const std::bad_alloc&) {
    parts.host.backend_free(cpu);
    return nullptr;
  }
}

ggml_backend_buffer_type_t buffer_type(ggml_backend_dev_t device) {
  return parts_of(device).host.cpu_buffer_type();
}

bool supports_op(ggml_backend_dev_t, const ggml_tensor* op) {
  switch (op->op) {
    case GGML_OP_NONE:
    case GGML_OP_RESHAPE:
    case GGML_OP_VIEW:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE:
      return true;
    case GGML_OP_FLASH_ATTN_EXT:
      break;
    default:
      return false;
  }
  NodeShape shape;
  return read_node(*op, shape).empty();
}

bool supports_buffer_type(ggml_backend_dev_t device, ggml_backend_buffer_type_t type) {
  return parts_of(device).host.buft_is_host(type);
}

const char* name(ggml_backend_reg_t) { return "heed"; }
std::size_t one_device(ggml_backend_reg_t) { return 1; }

ggml_backend_dev_t the_device(ggml_backend_reg_t reg, std::size_t) {
  static ggml_backend_device device = [reg] {
    ggml_backend_device made{};
    made.iface.get_name = device_name;
    made.iface.get_description = device_description;
    made.iface.get_memory = device_memory;
    made.iface.get_type = device_type;
    made.iface.get_props = device_properties;
    made.iface.init_backend = init_backend;
    made.iface.get_buffer_type = buffer_type;
    made.iface.supports_op = supports_op;
    made.iface.supports_buft = supports_buffer_type;
    made.reg = reg;
    made.context = reg->context;
    return made;
  }();
  return &device;
}

void* function(ggml_backend_reg_t, const char* asked) {
  if (std::string_view(asked) == "ggml_backend_set_n_threads") {
    return reinterpret_cast<void*>(set_n_threads);
  }
  return nullptr;
}

}  // namespace

ggml_backend_reg_t with_device(const Host& host, ggml_backend_dev_t cpu) {
  static Parts parts{host, cpu};
  static ggml_backend_reg reg = {.api_version = GGML_BACKEND_API_VERSION,
                                 .iface = {.get_name = name,
                                           .get_device_count = one_device,
                                           .get_device = the_device,
                                           .get_proc_address = function},
                                 .context = &parts};
  return &reg;
}

}  // namespace heed::plugin

#include "bindings/ggml/host.h"

#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <string_view>

#include "ggml-backend-impl.h"
#include "ggml-impl.h"

namespace heed::plugin {
namespace {

/// The library that holds `code`, opened once more; of a program without a name of its own all that
/// is global.
void* library_of(const void* code) {
  Dl_info info{};
  if (dladdr(code, &info) != 0 && info.dli_fname != nullptr) {
    if (void* const library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD)) return library;
  }
  return dlopen(nullptr, RTLD_LAZY);
}

template <class Function>
void find(void* library, const char* name, Function& function, std::string& missing) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function != nullptr) return;
  missing += missing.empty() ? "this ggml has no " : ", no ";
  missing += name;
}

void no_operation(ggml_tensor*, int, int, void*) {}

struct Name {
  const char* expected;
  const char* found;
};

bool same(const Name& name) {
  return name.found != nullptr && std::string_view(name.found) == name.expected;
}

std::string check_names(const Host& host) {
  const Name names[] = {{"FLASH_ATTN_EXT", host.op_name(GGML_OP_FLASH_ATTN_EXT)},
                        {"CUSTOM", host.op_name(GGML_OP_CUSTOM)},
                        {"f32", host.type_name(GGML_TYPE_F32)},
                        {"f16", host.type_name(GGML_TYPE_F16)},
                        {"bf16", host.type_name(GGML_TYPE_BF16)},
                        {"q8_0", host.type_name(GGML_TYPE_Q8_0)},
                        {"q4_0", host.type_name(GGML_TYPE_Q4_0)}};
  for (const Name& name : names) {
    if (!same(name)) return std::string("this ggml numbers ") + name.expected + " differently";
  }
  if (host.type_size(GGML_TYPE_Q8_0) != 34 || host.type_size(GGML_TYPE_Q4_0) != 18) {
    return "this ggml stores q8_0 or q4_0 differently";
  }
  return {};
}

/// Whether a custom operation that ggml makes is the one that the headers describe.
bool is_as_described(const Host& host, const ggml_tensor& custom, const ggml_tensor* argument,
                     void* userdata) {
  ggml_custom_op_params params;
  std::memcpy(&params, custom.op_params, sizeof params);
  const std::int64_t ne[] = {2, 3, 5, 7};
  const std::size_t nb[] = {4, 8, 24, 120};
  return custom.type == GGML_TYPE_F32 && custom.op == GGML_OP_CUSTOM &&
         std::memcmp(custom.ne, ne, sizeof ne) == 0 && std::memcmp(custom.nb, nb, sizeof nb) == 0 &&
         params.fun == no_operation && params.n_tasks == GGML_N_TASKS_MAX &&
         params.userdata == userdata && custom.src[0] == argument && custom.src[1] == nullptr &&
         custom.view_src == nullptr && custom.data == nullptr &&
         host.get_name(&custom) == custom.name;
}

}  // namespace

std::string find_host(const void* code, Host& host) {
  void* const library = library_of(code);
  if (library == nullptr) return "cannot find the ggml that loads it";
  std::string missing;
  find(library, "ggml_version", host.version, missing);
  find(library, "ggml_op_name", host.op_name, missing);
  find(library, "ggml_type_name", host.type_name, missing);
  find(library, "ggml_type_size", host.type_size, missing);
  find(library, "ggml_init", host.init, missing);
  find(library, "ggml_free", host.free, missing);
  find(library, "ggml_custom_4d", host.custom_4d, missing);
  find(library, "ggml_new_tensor_1d", host.new_tensor_1d, missing);
  find(library, "ggml_get_name", host.get_name, missing);
  find(library, "ggml_graph_n_nodes", host.graph_n_nodes, missing);
  find(library, "ggml_graph_node", host.graph_node, missing);
  find(library, "ggml_backend_dev_by_type", host.dev_by_type, missing);
  find(library, "ggml_backend_dev_init", host.dev_init, missing);
  find(library, "ggml_backend_dev_backend_reg", host.dev_backend_reg, missing);
  find(library, "ggml_backend_reg_get_proc_address", host.reg_get_proc_address, missing);
  find(library, "ggml_backend_get_device", host.get_device, missing);
  find(library, "ggml_backend_free", host.backend_free, missing);
  find(library, "ggml_backend_cpu_buffer_type", host.cpu_buffer_type, missing);
  find(library, "ggml_backend_buft_is_host", host.buft_is_host, missing);
  return missing;
}

std::string check_layout(const Host& host) {
  if (std::string different = check_names(host); !different.empty()) return different;
  const std::unique_ptr<ggml_context, decltype(host.free)> context(
      host.init({.mem_size = 16384, .mem_buffer = nullptr, .no_alloc = true}), host.free);
  if (!context) return "this ggml has no memory";
  int sentinel = 0;
  ggml_tensor* argument = host.new_tensor_1d(context.get(), GGML_TYPE_F32, 1);
  const ggml_tensor* const custom =
      host.custom_4d(context.get(), GGML_TYPE_F32, 2, 3, 5, 7, &argument, 1, no_operation,
                     GGML_N_TASKS_MAX, &sentinel);
  if (!is_as_described(host, *custom, argument, &sentinel)) {
    return "this ggml lays out its tensors differently";
  }
  return {};
}

std::string check_device(const Host& host, ggml_backend_dev_t cpu) {
  // The place of `reg` behind the device's functions tells how many there are.
  ggml_backend_reg_t const reg = host.dev_backend_reg(cpu);
  if (cpu->reg != reg) return "this ggml lays out its devices differently";
  if (reg->api_version != GGML_BACKEND_API_VERSION) {
    return "this ggml's backends have version " + std::to_string(reg->api_version) +
           ", the plug-in was built for version " + std::to_string(GGML_BACKEND_API_VERSION);
  }
  const std::unique_ptr<ggml_backend, decltype(host.backend_free)> backend(
      host.dev_init(cpu, nullptr), host.backend_free);
  if (!backend) return "this ggml's CPU backend does not start";
  if (backend->device != cpu || host.get_device(backend.get()) != cpu) {
    return "this ggml lays out its backends differently";
  }
  return {};
}

}  // namespace heed::plugin

// The ggml that loads the plug-in: its functions, found at run time, and whether its structures are
// the ones that the plug-in was built for.
#pragma once

#include <string>

#include "ggml-backend.h"
#include "ggml.h"

namespace heed::plugin {

/// The functions of ggml that the plug-in calls. None is linked: libraries of ggml bear other names
/// from one distribution to the next, and a process may hold more than one.
struct Host {
  decltype(&ggml_version) version;
  decltype(&ggml_op_name) op_name;
  decltype(&ggml_type_name) type_name;
  decltype(&ggml_type_size) type_size;
  decltype(&ggml_init) init;
  decltype(&ggml_free) free;
  decltype(&ggml_custom_4d) custom_4d;
  decltype(&ggml_new_tensor_1d) new_tensor_1d;
  decltype(&ggml_get_name) get_name;
  decltype(&ggml_graph_n_nodes) graph_n_nodes;
  decltype(&ggml_graph_node) graph_node;
  decltype(&ggml_backend_dev_by_type) dev_by_type;
  decltype(&ggml_backend_dev_init) dev_init;
  decltype(&ggml_backend_dev_backend_reg) dev_backend_reg;
  decltype(&ggml_backend_reg_get_proc_address) reg_get_proc_address;
  decltype(&ggml_backend_get_device) get_device;
  decltype(&ggml_backend_free) backend_free;
  decltype(&ggml_backend_cpu_buffer_type) cpu_buffer_type;
  decltype(&ggml_backend_buft_is_host) buft_is_host;
};

/// Finds the functions in the library that holds `code`, an address in ggml, and in those that it
/// depends on. Returns an empty string, or what is missing.
std::string find_host(const void* code, Host& host);

/// Compares names, sizes and structures of that ggml with those of the headers that the plug-in was
/// built with. Returns an empty string, or what differs.
std::string check_layout(const Host& host);

/// The same of the CPU backend's device.
std::string check_device(const Host& host, ggml_backend_dev_t cpu);

}  // namespace heed::plugin

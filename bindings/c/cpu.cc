// The processor, element types and executors.
#include <iterator>
#include <string>
#include <string_view>

#include "bindings/c/convert.h"
#include "bindings/c/handles.h"

using heed::c::call;
using heed::c::needed;
using heed::c::refuse;
using heed::c::value_of;

heed_status heed_get_dtype_info(heed_dtype type, heed_dtype_info* info) {
  return call([&] {
    const auto dtype = static_cast<heed::DType>(type);
    if (!heed::is_dtype(dtype)) {
      refuse("type (", static_cast<int>(type), ") must be from 0 to ",
             std::size(heed::kDTypes) - 1);
    }
    const heed::DTypeInfo& known = heed::dtype_info(dtype);
    auto c = heed::c::defaults<heed_dtype_info>();
    c.name = heed::c::literal(known.name);
    c.block_elements = known.block_elements;
    c.block_bytes = known.block_bytes;
    c.alignment = known.alignment;
    c.computes = known.computes;
    c.scaled = known.scaled;
    heed::c::write("info", c, info);
  });
}

heed_status heed_isas(size_t* count) {
  return call([&] { needed("count", count) = heed::isas().size(); });
}

heed_status heed_get_isa_info(size_t index, heed_isa_info* info) {
  return call([&] {
    const auto isas = heed::isas();
    if (index >= isas.size()) refuse("index (", index, ") must be below ", isas.size());
    auto c = heed::c::defaults<heed_isa_info>();
    c.name = heed::c::literal(isas[index].name);
    c.supported = isas[index].supported;
    c.chosen = isas[index].chosen;
    heed::c::write("info", c, info);
  });
}

heed_status heed_chosen_isa(const char** name) {
  return call([&] {
    const char*& place = needed("name", name);
    std::string_view chosen;
    heed::Status status = heed::chosen_isa(chosen);
    if (status.ok()) place = heed::c::literal(chosen);
    return status;
  });
}

heed_status heed_get_cpu_info(heed_cpu_info* info) {
  return call([&] {
    const heed::CpuInfo& cpu = heed::cpu_info();
    auto c = heed::c::defaults<heed_cpu_info>();
    c.vendor = cpu.vendor.c_str();
    c.model = cpu.model.c_str();
    c.logical_cpus = cpu.logical_cpus;
    c.physical_cores = cpu.physical_cores;
    c.cpu_quota = cpu.cpu_quota;
    c.default_workers = cpu.default_workers;
    c.memory_bytes = cpu.memory_bytes;
    c.l1d_bytes = cpu.l1d_bytes;
    c.l2_bytes = cpu.l2_bytes;
    c.l3_bytes = cpu.l3_bytes;
    heed::c::write("info", c, info);
  });
}

heed_status heed_cpu_features(char* text, size_t size, size_t* length) {
  return call([&] {
    std::string features;
    for (const std::string_view feature : heed::cpu_info().features) {
      features.append(features.empty() ? "" : " ").append(feature);
    }
    heed::c::write_text(features, text, size, length);
  });
}

const char* heed_thread_library(void) { return heed::c::literal(heed::thread_library()); }

heed_status heed_executor_create(int threads, heed_executor** executor) {
  return call([&] {
    return heed::c::create("executor", executor, [&](heed_executor& made) {
      return heed::Executor::create(threads, made.value);
    });
  });
}

heed_status heed_executor_adopt(int threads, heed_parallel_for_function parallel_for, void* context,
                                heed_executor** executor) {
  return call([&] {
    return heed::c::create("executor", executor, [&](heed_executor& made) {
      return heed::Executor::adopt(threads, parallel_for, context, made.value);
    });
  });
}

void heed_executor_destroy(heed_executor* executor) { delete executor; }

heed_status heed_executor_threads(const heed_executor* executor, int* threads) {
  return call([&] { needed("threads", threads) = needed("executor", executor).value.threads(); });
}

heed_status heed_parallel_for(int tasks, heed_task_function task, void* argument,
                              heed_executor* executor) {
  return call([&] { return heed::parallel_for(tasks, task, argument, value_of(executor)); });
}

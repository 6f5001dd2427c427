#include "tools/workload_options.h"

#include <fmt/format.h>

#include <CLI/Option.hpp>
#include <optional>

#include "heed/dtype.h"
#include "heed/tensor_data.h"
#include "tools/arguments.h"
#include "tools/status.h"
#include "tools/text_lines.h"

namespace heed::tools {
namespace {

Status read_workloads(const std::string& path, std::vector<bench::Workload>& workloads) {
  std::vector<std::string> lines;
  Status status = read_lines(path, lines);
  if (!status) return {status.code(), "--workloads " + status.message()};
  const std::size_t before = workloads.size();
  const std::string text = fmt::format("{}", fmt::join(lines, "\n"));
  HEED_RETURN_IF_ERROR(bench::parse_workloads("--workloads " + path, text, workloads));
  if (workloads.size() > before) return {};
  return {StatusCode::invalid_argument, fmt::format("--workloads {}: has no workload", path)};
}

Status describe(const WorkloadOptions& options, std::vector<bench::Workload>& workloads) {
  for (const std::string& shape : options.shapes) {
    HEED_RETURN_IF_ERROR(bench::parse_shape(shape, workloads));
  }
  if (!options.file.empty()) {
    HEED_RETURN_IF_ERROR(read_workloads(options.file, workloads));
  }
  return workloads.empty() ? bench::parse_built_in(workloads) : Status();
}

}  // namespace

void add_workload_options(CLI::App& command, WorkloadOptions& o) {
  command.add_option("--workload", o.regex, "Only workloads with this in their name (all)")
      ->type_name("REGEX");
  command
      .add_option(
          "--shape", o.shapes,
          "A workload of one's own in place of the built-in ones, such as \"b=1 hq=32 hkv=8 "
          "q=1 kv=1024..16384 d=128 causal kv-type=f32,f16\"; may be given again")
      ->type_name("WORDS")
      ->allow_extra_args(false);
  command.add_option("--workloads", o.file, "A file of such workloads, one a line")
      ->type_name("FILE");
  command
      .add_option(
          "--kv-type", o.kv_type,
          fmt::format("Element type of keys and values: {} (the workload's)", dtype_names()))
      ->type_name("TYPE");
  command
      .add_option(
          "--q-type", o.q_type,
          "Element type of queries: f32, f16 or bf16 (the workload's); with keys and values "
          "of bf16 too, products are of bf16")
      ->type_name("TYPE");
}

Status choose_workloads(const WorkloadOptions& options, std::vector<bench::Workload>& workloads) {
  std::optional<DType> kv_type, q_type;
  HEED_RETURN_IF_ERROR(parse_dtype("--kv-type", options.kv_type, kv_type));
  HEED_RETURN_IF_ERROR(parse_dtype("--q-type", options.q_type, q_type));
  if (q_type && !dtype_info(*q_type).computes) {
    return bad_value("--q-type", options.q_type, "f32, f16 or bf16");
  }
  HEED_RETURN_IF_ERROR(describe(options, workloads));
  HEED_RETURN_IF_ERROR(bench::check_names(workloads));
  HEED_RETURN_IF_ERROR(bench::select_workloads(options.regex, workloads));
  bench::set_types(q_type, kv_type, workloads);
  return {};
}

}  // namespace heed::tools

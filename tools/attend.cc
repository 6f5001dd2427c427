// heed attend: attention on NumPy files.
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/console.h"
#include "heed/heed.h"
#include "tools/arguments.h"
#include "tools/attend_diagnosis.h"
#include "tools/attend_modifiers.h"
#include "tools/command.h"
#include "tools/npy.h"
#include "tools/npy_header.h"
#include "tools/output_files.h"
#include "tools/status.h"

namespace heed::tools {
namespace {

/// The command line, as given; empty where an option is not.
struct AttendOptions {
  std::string q, k, v, out, lse;
  std::string layout = "bshd", causal = "none";
  std::string window, keep_first, prefix, mask, scale, temperature, isa, threads;
  std::string bf16, q_type, k_type, v_type, kv_type, out_type, group;
  ModifierOptions modifiers;
  DiagnosisOptions diagnosis;
};

/// A 4-D array from a file, what its axes are, and its numbers in the type that heed reads.
struct Tensor {
  std::string_view option;
  std::string path = {};
  Array array = {};
  std::int64_t batch = 0, seq = 0, heads = 0, head_dim = 0;
  std::vector<std::byte> narrow = {};
  std::vector<float> scales = {};  ///< [batch, seq, heads, groups] of codes

  InputData data(DType type) const {
    return type == DType::f32 ? InputData(array.data.data()) : InputData(narrow.data(), type);
  }
};

struct Tensors {
  Tensor q{.option = "--q"}, k{.option = "--k"}, v{.option = "--v"};
};

Status fault_of(const Tensor& tensor, std::string_view sentence) {
  return {StatusCode::invalid_argument,
          fmt::format("{} {}: {}", tensor.option, tensor.path, sentence)};
}

struct Axis {
  std::string_view name;
  std::int64_t Tensor::*extent;
  std::int64_t least, most;
};

constexpr std::int64_t kMaxExtent = std::numeric_limits<std::int32_t>::max();
constexpr Axis kBatch{"batch", &Tensor::batch, 0, kMaxExtent};
constexpr Axis kSeq{"seq", &Tensor::seq, 0, kMaxExtent};
constexpr Axis kHeads{"heads", &Tensor::heads, 1, kMaxExtent};
constexpr Axis kHeadDim{"head_dim", &Tensor::head_dim, 1, kMaxHeadDim};

std::array<Axis, 4> axes_of(bool bhsd) {
  return bhsd ? std::array{kBatch, kHeads, kSeq, kHeadDim}
              : std::array{kBatch, kSeq, kHeads, kHeadDim};
}

std::array<std::int64_t, 4> out_shape(const Tensors& t, bool bhsd) {
  return bhsd ? std::array{t.q.batch, t.q.heads, t.q.seq, t.v.head_dim}
              : std::array{t.q.batch, t.q.seq, t.q.heads, t.v.head_dim};
}

Status name_axes(Tensor& tensor, const std::array<Axis, 4>& axes) {
  const std::vector<std::int64_t>& shape = tensor.array.shape;
  if (shape.size() != axes.size()) {
    return fault_of(tensor, fmt::format("shape {} must have the 4 dimensions [{}, {}, {}, {}]",
                                        to_string(shape), axes[0].name, axes[1].name, axes[2].name,
                                        axes[3].name));
  }
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto& [name, extent, least, most] = axes[i];
    if (shape[i] < least || shape[i] > most) {
      return fault_of(tensor, fmt::format("{} ({}) of shape {} must be from {} to {}", name,
                                          shape[i], to_string(shape), least, most));
    }
    tensor.*extent = shape[i];
  }
  return {};
}

Status read_tensor(const std::string& path, const std::array<Axis, 4>& axes, Words words,
                   Tensor& tensor) {
  tensor.path = path;
  bench::show_progress("reading " + path);
  Status status = read_npy(path, tensor.array, words);
  if (!status) return {status.code(), fmt::format("{} {}", tensor.option, status.message())};
  return name_axes(tensor, axes);
}

Status check_equal(const Tensor& tensor, const Tensor& other, const Axis& axis) {
  const std::int64_t extent = tensor.*axis.extent, wanted = other.*axis.extent;
  if (extent == wanted) return {};
  return fault_of(tensor, fmt::format("{} ({}) must be that of {} {} ({})", axis.name, extent,
                                      other.option, other.path, wanted));
}

Status check_shapes(const Tensors& t) {
  for (const Status& status : {check_equal(t.k, t.q, kBatch), check_equal(t.v, t.q, kBatch),
                               check_equal(t.k, t.q, kHeadDim), check_equal(t.v, t.k, kSeq),
                               check_equal(t.v, t.k, kHeads)}) {
    if (!status) return status;
  }
  if (t.q.heads % t.k.heads == 0) return {};
  return fault_of(t.k, fmt::format("heads ({}) must divide those of --q {} ({})", t.k.heads,
                                   t.q.path, t.q.heads));
}

/// What the options say, besides files.
struct Request {
  AttentionConfig config;
  bool bhsd = false;
  int threads = 0;  ///< 0: heed chooses
  Words q = Words::refused, k = Words::refused, v = Words::refused;
  /// Empty: those of the files.
  std::optional<DType> q_type, k_type, v_type;
  std::int32_t prefix = 0;  ///< keys of each sequence that all queries see
  std::int64_t group = 0;   ///< elements of int8 and int4 with one scale; 0: a token's vector
};

/// "q,k,v": which files hold bfloat16.
Status parse_bf16(const std::string& text, Request& request) {
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    if (name != "q" && name != "k" && name != "v") {
      return bad_value("--bf16", text, "some of q, k and v, with commas between");
    }
    (name == "q" ? request.q : name == "k" ? request.k : request.v) = Words::bfloat16;
    begin = end + 1;
  }
  return {};
}

Status parse_types(const AttendOptions& o, Request& request) {
  if (!o.bf16.empty()) {
    HEED_RETURN_IF_ERROR(parse_bf16(o.bf16, request));
  }
  HEED_RETURN_IF_ERROR(parse_dtype("--q-type", o.q_type, request.q_type));
  HEED_RETURN_IF_ERROR(parse_dtype("--kv-type", o.kv_type, request.k_type));
  request.v_type = request.k_type;
  HEED_RETURN_IF_ERROR(parse_dtype("--k-type", o.k_type, request.k_type));
  HEED_RETURN_IF_ERROR(parse_dtype("--v-type", o.v_type, request.v_type));
  std::optional<DType> out;
  HEED_RETURN_IF_ERROR(parse_dtype("--out-type", o.out_type, out));
  if (out && !dtype_info(*out).computes) {
    return bad_value("--out-type", o.out_type, "f32, f16 or bf16");
  }
  request.config.out_type = out.value_or(DType::f32);
  if (o.group.empty()) return {};
  const auto scaled = [](const std::optional<DType>& type) {
    return type && dtype_info(*type).scaled;
  };
  if (!scaled(request.k_type) && !scaled(request.v_type)) {
    return bad_value("--group", o.group,
                     "left out where neither keys nor values become int8 or int4");
  }
  return parse_integer("--group", o.group, 1, kMaxHeadDim, request.group);
}

Status parse_request(const AttendOptions& o, Request& request) {
  AttentionConfig& config = request.config;
  if (o.layout != "bshd" && o.layout != "bhsd") {
    return bad_value("--layout", o.layout, "bshd or bhsd");
  }
  request.bhsd = o.layout == "bhsd";
  if (o.causal != "none" && o.causal != "end" && o.causal != "start") {
    return bad_value("--causal", o.causal, "none, end or start");
  }
  config.causal = o.causal != "none";
  if (o.causal == "start") config.alignment = Alignment::start;
  Status status;
  if (!o.window.empty()) {
    status = parse_window("--window", o.window, config.window_left, config.window_right);
  }
  if (status.ok() && !o.keep_first.empty()) {
    if (config.window_left == kUnlimited) {
      return bad_value("--keep-first", o.keep_first,
                       "left out where no --window hides keys before the diagonal");
    }
    status = parse_integer("--keep-first", o.keep_first, 0, kMaxExtent, config.keep_first);
  }
  if (status.ok() && !o.prefix.empty()) {
    std::int64_t keys = 0;
    status = parse_integer("--prefix", o.prefix, 0, kMaxExtent, keys);
    request.prefix = static_cast<std::int32_t>(keys);
  }
  if (status.ok() && !o.scale.empty()) {
    status = parse_scale("--scale", o.scale, config.scale.emplace());
  }
  if (status.ok() && !o.temperature.empty()) {
    status = parse_temperature("--temperature", o.temperature, config.temperature);
  }
  if (status.ok() && !o.threads.empty()) {
    status = parse_threads("--threads", o.threads, request.threads);
  }
  return status.ok() ? parse_types(o, request) : status;
}

/// No output may take the place of an input or of the other output.
Status check_paths(const AttendOptions& o) {
  const std::string alibi = o.modifiers.alibi == "auto" ? "" : o.modifiers.alibi;
  const std::pair<std::string_view, const std::string*> files[] = {
      {"--q", &o.q},
      {"--k", &o.k},
      {"--v", &o.v},
      {"--alibi", &alibi},
      {"--bias", &o.modifiers.bias},
      {"--sinks", &o.modifiers.sinks},
      {"--temperature-per-head", &o.modifiers.temperatures},
      {"--mask", &o.mask},
      {"--out", &o.out},
      {"--lse", &o.lse},
      {"--weights", &o.diagnosis.weights},
      {"--json", &o.diagnosis.json},
      {"--heatmap", &o.diagnosis.heatmap}};
  constexpr std::size_t kOutputs = 5;  // the last ones
  for (std::size_t output = std::size(files) - kOutputs; output < std::size(files); ++output) {
    const auto& [option, path] = files[output];
    if (path->empty()) continue;
    for (std::size_t i = 0; i < output; ++i) {
      if (!files[i].second->empty() && same_file(*path, *files[i].second)) {
        return bad_value(option, *path, fmt::format("another file than {}", files[i].first));
      }
    }
    HEED_RETURN_IF_ERROR(check_writable(option, *path));
  }
  return {};
}

Status read_tensors(const AttendOptions& o, const Request& request, Tensors& tensors) {
  const std::array<Axis, 4> axes = axes_of(request.bhsd);
  HEED_RETURN_IF_ERROR(read_tensor(o.q, axes, request.q, tensors.q));
  HEED_RETURN_IF_ERROR(read_tensor(o.k, axes, request.k, tensors.k));
  HEED_RETURN_IF_ERROR(read_tensor(o.v, axes, request.v, tensors.v));
  return check_shapes(tensors);
}

/// The description of heads and types, with those of the files where the options name none.
AttentionConfig complete_config(const Request& request, const Tensors& t) {
  AttentionConfig config = request.config;
  config.query_heads = t.q.heads;
  config.kv_heads = t.k.heads;
  config.head_dim = t.q.head_dim;
  config.value_head_dim = t.v.head_dim;
  config.q_type = request.q_type.value_or(t.q.array.type);
  config.k_type = request.k_type.value_or(t.k.array.type);
  config.v_type = request.v_type.value_or(t.v.array.type);
  return config;
}

/// Whether --group divides the heads whose elements have scales.
Status check_group(const Request& request, const AttentionConfig& c) {
  if (request.group == 0) return {};
  for (const auto& [type, dims] :
       {std::pair(c.k_type, c.head_dim), std::pair(c.v_type, c.value_head_dim)}) {
    if (!dtype_info(type).scaled || dims % request.group == 0) continue;
    return bad_value("--group", std::to_string(request.group),
                     fmt::format("a divisor of the head_dim ({})", dims));
  }
  return {};
}

/// Makes a tensor's floats numbers of another type, which take their place.
Status narrow(DType type, const std::string& isa, Tensor& tensor) {
  if (type == DType::f32) return {};
  const auto count = static_cast<std::int64_t>(tensor.array.data.size());
  tensor.narrow.resize(static_cast<std::size_t>(dtype_info(type).bytes(count)));
  RunOptions options;
  options.isa = isa;
  HEED_RETURN_IF_ERROR(
      convert(tensor.array.data.data(), {tensor.narrow.data(), type}, count, options));
  tensor.array.data = {};
  return {};
}

Layout layout_of(const Tensor& t, bool bhsd) {
  return bhsd ? Layout::bhsd(t.seq, t.heads, t.head_dim) : Layout::bshd(t.seq, t.heads, t.head_dim);
}

ScaleLayout scales_of(const Tensor& t, std::int64_t group) {
  return ScaleLayout::per_token(t.seq, t.heads, t.head_dim, group);
}

/// Makes a tensor's floats codes and scales, as append writes them: a sequence is a page.
Status quantise(DType type, const Request& request, const std::string& isa, Tensor& t) {
  const Layout layout = layout_of(t, request.bhsd);
  PagedLayout pages;
  pages.pages = t.batch;
  pages.page_tokens = t.seq;
  pages.kv_heads = t.heads;
  pages.head_dim = t.head_dim;
  pages.value_head_dim = 1;
  pages.k = {layout.sequence_stride, layout.token_stride, layout.head_stride};
  pages.v = PageStrides::bshd(t.seq, t.heads, 1);
  pages.k_scales = scales_of(t, request.group);
  const auto count = static_cast<std::int64_t>(t.array.data.size());
  const std::int64_t vectors = count / t.head_dim;
  t.narrow.resize(static_cast<std::size_t>(dtype_info(type).bytes(count)));
  t.scales.resize(static_cast<std::size_t>(request.group == 0 ? vectors : count / request.group));
  std::vector<float> none(static_cast<std::size_t>(vectors)), unused(none.size());
  std::vector<std::int64_t> slots(static_cast<std::size_t>(t.seq));
  for (std::int64_t b = 0; b < t.batch; ++b) {
    std::iota(slots.begin(), slots.end(), b * t.seq);
    NewTokens tokens{.k = InputData(t.array.data.data()) + b * layout.sequence_stride,
                     .v = none.data(),
                     .k_layout = layout,
                     .slots = slots};
    RunOptions options;
    options.isa = isa;
    HEED_RETURN_IF_ERROR(
        append(pages, {{t.narrow.data(), type}, unused.data(), {t.scales.data(), nullptr}, {}},
               tokens, options));
  }
  t.array.data = {};
  return {};
}

/// Makes keys or values of the type that they are read as.
Status narrow_side(DType type, const Request& request, const std::string& isa, Tensor& tensor) {
  if (!dtype_info(type).scaled) return narrow(type, isa, tensor);
  if (tensor.array.data.empty()) return {};
  return quantise(type, request, isa, tensor);
}

Batch describe_batch(const Tensors& t, const Request& request, const AttentionConfig& config) {
  Batch batch;
  batch.sequences = t.q.batch;
  batch.query.length = t.q.seq;
  batch.key.length = t.k.seq;
  batch.q = layout_of(t.q, request.bhsd);
  batch.k = layout_of(t.k, request.bhsd);
  batch.v = layout_of(t.v, request.bhsd);
  if (request.bhsd) batch.out = Layout::bhsd(t.q.seq, t.q.heads, t.v.head_dim);
  if (dtype_info(config.k_type).scaled) batch.k_scales = scales_of(t.k, request.group);
  if (dtype_info(config.v_type).scaled) batch.v_scales = scales_of(t.v, request.group);
  return batch;
}

/// Reads the mask of a file, which describes a batch as long as it lives.
Status read_mask(const std::string& path, const Tensors& t, Array& array,
                 std::vector<std::uint8_t>& bytes, std::optional<KeyMask>& mask) {
  ScoreStrides strides;
  HEED_RETURN_IF_ERROR(read_scores("--mask", path, {t.q.batch, t.q.heads, t.q.seq, t.k.seq},
                                   Words::booleans, array, strides));
  const std::int64_t key_block = strides.key == 0 ? std::max<std::int64_t>(t.k.seq, 1) : 1;
  mask = KeyMask{MaskType::f32, array.data.data(), strides.sequence, strides.head, strides.query, 1,
                 key_block};
  if (!array.boolean) return {};
  for (const float number : array.data) bytes.push_back(number != 0.0F ? 1 : 0);
  mask->type = MaskType::bytes;
  mask->data = bytes.data();
  return {};
}

Status make_plan(const Tensors& t, const Request& request, const AttentionConfig& config,
                 const AttendOptions& o, Plan& plan) {
  PlanOptions options;
  options.isa = o.isa;
  options.workers = request.threads;
  Batch batch = describe_batch(t, request, config);
  const std::vector<std::int32_t> prefixes(static_cast<std::size_t>(t.q.batch), request.prefix);
  if (request.prefix > 0) batch.visible_prefixes = prefixes;
  Array mask;
  std::vector<std::uint8_t> bytes;
  if (!o.mask.empty()) {
    HEED_RETURN_IF_ERROR(read_mask(o.mask, t, mask, bytes, batch.mask));
  }
  return plan_attention(config, batch, options, plan);
}

Status allocate(std::span<const std::int64_t> shape, DType type, std::vector<std::byte>& data) {
  std::int64_t count = 0;
  HEED_RETURN_IF_ERROR(count_elements(shape, count));
  data.resize(static_cast<std::size_t>(dtype_info(type).bytes(count)));
  return {};
}

/// The threads of a command; null: those of the caller.
Status make_executor(int threads, Executor& own, Executor*& executor) {
  if (threads == 0) return {};
  HEED_RETURN_IF_ERROR(Executor::create(threads, own));
  bench::write_note(note_of_threads("heed attend", threads, own.threads()));
  executor = &own;
  return {};
}

Status run_plan(const Plan& plan, const AttentionTensors& tensors, Executor* executor) {
  Workspace workspace;
  HEED_RETURN_IF_ERROR(workspace.reserve(plan));
  bench::show_progress("running: " + std::to_string(plan.visible_scores()) + " scores");
  return run(plan, tensors, workspace, executor);
}

/// The logarithms of the numbers of keys that rows see, [batch, heads, seq]: the log-sum-exp where
/// all of them weigh the same. Biases may hide some.
Status count_keys(const Tensors& t, const Request& request, AttentionConfig config,
                  const AttendOptions& o, AttentionTensors tensors, Executor* executor,
                  std::vector<float>& counts) {
  config.temperature = std::numeric_limits<float>::infinity();
  Plan plan;
  HEED_RETURN_IF_ERROR(make_plan(t, request, config, o, plan));
  std::vector<std::byte> out;
  HEED_RETURN_IF_ERROR(allocate(out_shape(t, request.bhsd), config.out_type, out));
  counts.resize(static_cast<std::size_t>(t.q.batch * t.q.heads * t.q.seq));
  tensors.out = {out.data(), config.out_type};
  tensors.lse = counts.data();
  ScoreModifiers biases;
  biases.bias = tensors.modifiers.bias;
  tensors.modifiers = biases;
  return run_plan(plan, tensors, executor);
}

Status attend(const AttendOptions& o) {
  Request request;
  Tensors t;
  HEED_RETURN_IF_ERROR(parse_request(o, request));
  HEED_RETURN_IF_ERROR(check_paths(o));
  HEED_RETURN_IF_ERROR(read_tensors(o, request, t));
  const AttentionConfig config = complete_config(request, t);
  HEED_RETURN_IF_ERROR(check_group(request, config));
  const ScoreExtents extents{t.q.batch, t.q.heads, t.q.seq, t.k.seq};
  Modifiers modifiers;
  HEED_RETURN_IF_ERROR(modifiers.read(o.modifiers, extents));
  Diagnosis diagnosis;
  HEED_RETURN_IF_ERROR(diagnosis.parse(o.diagnosis, extents));
  Plan plan;
  HEED_RETURN_IF_ERROR(make_plan(t, request, config, o, plan));
  HEED_RETURN_IF_ERROR(narrow(config.q_type, o.isa, t.q));
  HEED_RETURN_IF_ERROR(narrow_side(config.k_type, request, o.isa, t.k));
  HEED_RETURN_IF_ERROR(narrow_side(config.v_type, request, o.isa, t.v));

  const std::array shape = out_shape(t, request.bhsd);
  const std::array lse_shape{t.q.batch, t.q.heads, t.q.seq};
  std::vector<std::byte> out, lse;
  HEED_RETURN_IF_ERROR(allocate(shape, config.out_type, out));
  if (!o.lse.empty()) {
    HEED_RETURN_IF_ERROR(allocate(lse_shape, DType::f32, lse));
  }
  AttentionTensors tensors{.q = t.q.data(config.q_type),
                           .k = t.k.data(config.k_type),
                           .v = t.v.data(config.v_type),
                           .out = {out.data(), config.out_type},
                           .lse = o.lse.empty() ? nullptr : reinterpret_cast<float*>(lse.data()),
                           .modifiers = modifiers.get()};
  if (!t.k.scales.empty()) tensors.k_scales.scales = t.k.scales.data();
  if (!t.v.scales.empty()) tensors.v_scales.scales = t.v.scales.data();
  Executor own;
  Executor* executor = nullptr;
  HEED_RETURN_IF_ERROR(make_executor(request.threads, own, executor));
  if (o.diagnosis.any()) {
    std::vector<float> counts;
    HEED_RETURN_IF_ERROR(count_keys(t, request, config, o, tensors, executor, counts));
    HEED_RETURN_IF_ERROR(diagnosis.compute(plan, tensors, counts, executor));
  } else {
    HEED_RETURN_IF_ERROR(run_plan(plan, tensors, executor));
  }

  std::vector<OutputFile> files = {{o.out, npy_prologue(shape, config.out_type), out}};
  if (!o.lse.empty()) files.push_back({o.lse, npy_prologue(lse_shape), lse});
  HEED_RETURN_IF_ERROR(diagnosis.add_files(files));
  bench::show_progress("writing");
  HEED_RETURN_IF_ERROR(write_together(files));
  bench::show_progress("");
  diagnosis.print();
  return {};
}

}  // namespace

void add_attend(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand(
      "attend",
      "Compute attention on NumPy files: 4-D arrays [batch, seq, heads, head_dim] of float32, "
      "float16 or float64, or of bfloat16 as uint16");
  const auto o = std::make_shared<AttendOptions>();
  const auto option = [&](const char* name, std::string& value, const char* type,
                          const char* description) {
    return command->add_option(name, value, description)->type_name(type);
  };
  option("--q", o->q, "FILE", "Queries")->required();
  option("--k", o->k, "FILE", "Keys; their heads must divide those of the queries")->required();
  option("--v", o->v, "FILE", "Values; their head_dim may be another one")->required();
  option("--out", o->out, "FILE", "Where to write the outputs")->required();
  option("--lse", o->lse, "FILE", "Where to write the log-sum-exp, [batch, heads, seq]");
  const std::string types = dtype_names();
  option("--bf16", o->bf16, "q,k,v", "Which of these files hold bfloat16, as uint16 (none)");
  option("--q-type", o->q_type, "TYPE", "What queries become first: f32, f16, bf16 (the file's)");
  auto* const kv =
      option("--kv-type", o->kv_type, "TYPE",
             ("What keys and values become first: " + types + " (the files')").c_str());
  option("--k-type", o->k_type, "TYPE", "The same of keys alone")->excludes(kv);
  option("--v-type", o->v_type, "TYPE", "The same of values alone")->excludes(kv);
  option("--group", o->group, "N",
         "Elements of int8 and int4 that have a scale in common (those of a token's vector)");
  option("--out-type", o->out_type, "TYPE",
         "What outputs are written as: f32, f16, or bf16 as uint16 (f32)");
  option("--layout", o->layout, "bshd|bhsd", "Order of the axes of q, k, v and out (bshd)");
  option("--causal", o->causal, "none|end|start",
         "Causal mask, whose diagonal ends at the last key or starts at the first (none)");
  option("--window", o->window, "L,R",
         "Keys visible before and after the diagonal, each an integer or inf (inf,inf)");
  option("--keep-first", o->keep_first, "N",
         "The first N keys are not hidden by the window on its left: attention sinks (0)");
  option("--mask", o->mask, "FILE",
         "Which keys are visible, of bool or uint8, or of floats 0 (visible) and -inf: [batch, "
         "heads, queries, keys], each of them or 1");
  option("--prefix", o->prefix, "N",
         "The first N keys are visible to all queries: prefix-LM, with --causal (0)");
  option("--scale", o->scale, "S", "What scores are multiplied with (1/sqrt(head_dim))");
  auto* const temperature = option("--temperature", o->temperature, "T|inf",
                                   "What scores are divided by: 0 is the argmax, inf the mean (1)");
  option("--temperature-per-head", o->modifiers.temperatures, "FILE",
         "Temperatures, one for each head of the queries")
      ->excludes(temperature);
  option("--softcap", o->modifiers.softcap, "C", "Scores x become C * tanh(x / C)");
  option("--alibi", o->modifiers.alibi, "FILE|auto",
         "Slopes of ALiBi, one for each head of the queries; auto: those of its authors");
  option("--bias", o->modifiers.bias, "FILE",
         "Added to scores, -inf hides: [batch, heads, queries, keys], each of them or 1");
  option("--sinks", o->modifiers.sinks, "FILE",
         "Logits that take weight and have no value, one for each head of the queries");
  option("--weights", o->diagnosis.weights, "FILE",
         "Where to write the weights, [batch, heads, queries, keys]");
  option("--weights-type", o->diagnosis.weights_type, "TYPE",
         "What weights are written as: f32, f16, or bf16 as uint16 (f32)");
  command->add_flag("--diagnose", o->diagnosis.diagnose,
                    "Print which heads are diffuse, sharp or one-hot");
  option("--json", o->diagnosis.json, "FILE", "Where to write the figures of --diagnose as JSON");
  option("--heatmap", o->diagnosis.heatmap, "FILE",
         "Where to write a picture (PNG) of the first sequence's weights; needs gnuplot");
  option("--head", o->diagnosis.head, "H", "The head of the picture (0)");
  option("--isa", o->isa, "NAME", "Instruction set (HEED_ISA, else the best)");
  option("--threads", o->threads, "N", "Number of threads (one per CPU that it may use)");
  command->callback([o, &action] {
    action = [o] {
      Outcome outcome{attend(*o)};
      bench::show_progress("");
      return outcome;
    };
  });
}

}  // namespace heed::tools

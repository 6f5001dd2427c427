#include "tests/proof/case.h"

#include <algorithm>
#include <numeric>
#include <span>

namespace heed::proof {
namespace {

std::vector<std::int32_t> offsets_of(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> offsets(1, 0);
  for (const std::int32_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

Lengths describe(Form form, const std::vector<std::int32_t>& lengths,
                 const std::vector<std::int32_t>& offsets) {
  const std::int64_t longest = lengths.empty() ? 0 : *std::ranges::max_element(lengths);
  if (form == Form::dense) return {.length = longest, .lengths = {}, .offsets = {}};
  if (form == Form::ragged) return {.length = 0, .lengths = {}, .offsets = offsets};
  return {.length = longest + 3, .lengths = lengths, .offsets = {}};
}

std::int64_t contiguous_tokens(const Lengths& lengths) {
  return lengths.offsets.empty() ? lengths.length : lengths.offsets.back();
}

/// Floats per token of q, k and v side by side.
std::int64_t projection_width(const AttentionConfig& config, std::int64_t value_head_dim) {
  return (config.query_heads + config.kv_heads) * config.head_dim +
         config.kv_heads * value_head_dim;
}

Layout spaced(std::int64_t tokens, std::int64_t heads, std::int64_t dims) {
  const std::int64_t head = dims + 3, token = heads * head + 5;
  return {tokens * token + 7, token, head};
}

Layout paged(std::int64_t tokens, std::int64_t heads, std::int64_t dims) {
  constexpr std::int64_t page = 4096 / sizeof(float);
  const std::int64_t token = (heads * dims + page - 1) / page * page;
  return {tokens * token, token, dims};
}

std::string list(const std::vector<std::int32_t>& lengths) {
  std::string text = "{";
  for (const std::int32_t length : lengths) text += std::to_string(length) + ",";
  return text + "}";
}

/// "f16 q8_0 q8_0 f32 ", or nothing where all are f32.
std::string types_of(const AttentionConfig& c) {
  std::string text;
  bool floats = true;
  for (const DType type : {c.q_type, c.k_type, c.v_type, c.out_type}) {
    text.append(dtype_info(type).name).append(" ");
    floats &= type == DType::f32;
  }
  return floats ? "" : text;
}

/// "scales per head, zero points ", of types that have any.
std::string scales_of(const CaseSpec& spec) {
  constexpr const char* names[] = {"token", "group", "sequence", "head", "channel", "tensor"};
  const AttentionConfig& c = spec.config;
  if (!dtype_info(c.k_type).scaled && !dtype_info(c.v_type).scaled) return "";
  return std::string("scales per ") + names[static_cast<int>(spec.scaling)] +
         (spec.zero_points ? ", zero points " : " ");
}

std::string side(std::int64_t window) {
  return window == kUnlimited ? "inf" : std::to_string(window);
}

}  // namespace

std::optional<ScaleLayout> scale_layout(Scaling scaling, std::int64_t tokens, std::int64_t heads,
                                        std::int64_t dims) {
  switch (scaling) {
    case Scaling::token:
      break;
    case Scaling::group:
      return ScaleLayout::per_token(tokens, heads, dims, dims % 16 == 0 ? 16 : 1);
    case Scaling::sequence:
      return ScaleLayout{.sequence_stride = heads, .head_stride = 1};
    case Scaling::head:
      return ScaleLayout::per_head();
    case Scaling::channel:
      return ScaleLayout::per_channel(dims);
    case Scaling::tensor:
      return ScaleLayout::per_tensor();
  }
  return std::nullopt;
}

std::string to_string(const CaseSpec& spec) {
  constexpr const char* forms[] = {"dense", "padded", "ragged"};
  constexpr const char* storages[] = {"bshd", "bhsd", "interleaved", "spaced", "pages"};
  const AttentionConfig& c = spec.config;
  return "heads " + std::to_string(c.query_heads) + "/" + std::to_string(c.kv_heads) + " dims " +
         std::to_string(c.head_dim) + "/" + std::to_string(c.value_head_dim) +
         (c.causal ? " causal" : "") + (c.alignment == Alignment::end ? " end" : " start") +
         " window " + side(c.window_left) + "," + side(c.window_right) +
         (c.keep_first > 0 ? " keeping " + std::to_string(c.keep_first) : "") +
         (c.scale ? " scale " + std::to_string(*c.scale) : "") + " T " +
         std::to_string(c.temperature) + " " + types_of(c) + scales_of(spec) +
         to_string(spec.modifiers) + to_string(spec.mask) +
         (spec.visible_prefixes.empty() ? "" : "prefixes " + list(spec.visible_prefixes) + " ") +
         forms[static_cast<int>(spec.form)] + " " + storages[static_cast<int>(spec.storage)] +
         " queries " + list(spec.queries) + " keys " + list(spec.keys) + " " +
         std::string(to_string(spec.distribution)) + " seed " + std::to_string(spec.seed);
}

Case::Case(const CaseSpec& spec, GuardedBuffer::Touching touching)
    : spec_(spec),
      query_offsets_(offsets_of(spec.queries)),
      key_offsets_(offsets_of(spec.keys)),
      mask_(spec.mask, spec.queries, spec.keys, spec.form == Form::ragged, spec.config.query_heads,
            spec.seed),
      geometry_(spec_.config, batch()),
      modifiers_(geometry_, spec.modifiers, spec.seed) {
  place_tensors(touching);
  fill();
  narrow();
}

Batch Case::batch() const {
  const AttentionConfig& c = spec_.config;
  Batch batch;
  batch.sequences = static_cast<std::int64_t>(spec_.queries.size());
  batch.query = describe(spec_.form, spec_.queries, query_offsets_);
  batch.key = describe(spec_.form, spec_.keys, key_offsets_);
  const std::int64_t dv = c.value_head_dim == 0 ? c.head_dim : c.value_head_dim;
  const std::int64_t n_q = contiguous_tokens(batch.query), n_kv = contiguous_tokens(batch.key);
  if (spec_.storage == Storage::interleaved) {
    const std::int64_t width = projection_width(c, dv);
    batch.q = Layout{n_q * width, width, c.head_dim};
    batch.k = Layout{n_kv * width, width, c.head_dim};
    batch.v = Layout{n_kv * width, width, dv};
  } else if (spec_.storage != Storage::bshd) {
    const auto layout = spec_.storage == Storage::bhsd     ? Layout::bhsd
                        : spec_.storage == Storage::spaced ? spaced
                                                           : paged;
    batch.q = layout(n_q, c.query_heads, c.head_dim);
    batch.k = layout(n_kv, c.kv_heads, c.head_dim);
    batch.v = layout(n_kv, c.kv_heads, dv);
    batch.out = layout(n_q, c.query_heads, dv);
    if (spec_.storage == Storage::spaced) batch.lse = spaced(n_q, c.query_heads, 1);
  }
  batch.visible_prefixes = spec_.visible_prefixes;
  mask_.describe(batch);
  const auto scales = [&](DType type, std::int64_t dims) {
    return dtype_info(type).scaled ? scale_layout(spec_.scaling, n_kv, c.kv_heads, dims)
                                   : std::nullopt;
  };
  batch.k_scales = scales(c.k_type, c.head_dim);
  batch.v_scales = scales(c.v_type, dv);
  return batch;
}

AttentionTensors Case::inputs() const {
  AttentionTensors tensors;
  tensors.modifiers = modifiers_.modifiers();
  if (typed_) {
    tensors.q = typed_->q.data();
    tensors.k = typed_->k.elements.data();
    tensors.v = typed_->v.elements.data();
    tensors.k_scales = typed_->k.scale_data();
    tensors.v_scales = typed_->v.scale_data();
    return tensors;
  }
  tensors.q = at(q_);
  tensors.k = at(k_);
  tensors.v = at(v_);
  return tensors;
}

void Case::narrow() {
  const AttentionConfig& c = config();
  typed_.reset();
  if (c.q_type == DType::f32 && c.k_type == DType::f32 && c.v_type == DType::f32) return;
  typed_.emplace(Typed{narrow_queries(geometry_, q(), c.q_type),
                       narrow_keys(geometry_, k(), c.k_type, spec_.zero_points),
                       narrow_values(geometry_, v(), c.v_type, spec_.zero_points)});
}

std::size_t Case::out_size() const {
  return static_cast<std::size_t>(extent(geometry_.queries(), geometry_.out_layout(),
                                         geometry_.sequences(), config().query_heads,
                                         geometry_.value_head_dim()));
}

std::size_t Case::lse_size() const {
  return static_cast<std::size_t>(extent(geometry_.queries(), geometry_.lse_layout(),
                                         geometry_.sequences(), config().query_heads, 1));
}

bool Case::shares_one_buffer() const {
  return spec_.storage == Storage::interleaved && spec_.queries == spec_.keys;
}

void Case::place_tensors(GuardedBuffer::Touching touching) {
  const AttentionConfig& c = config();
  const auto size = [&](const Tokens& tokens, const Layout& layout, std::int64_t heads,
                        std::int64_t dims) {
    return extent(tokens, layout, geometry_.sequences(), heads, dims);
  };
  const std::int64_t sizes[] = {
      size(geometry_.queries(), geometry_.q_layout(), c.query_heads, c.head_dim),
      size(geometry_.keys(), geometry_.k_layout(), c.kv_heads, c.head_dim),
      size(geometry_.keys(), geometry_.v_layout(), c.kv_heads, geometry_.value_head_dim())};
  if (shares_one_buffer()) {
    k_.start = c.query_heads * c.head_dim;
    v_.start = k_.start + c.kv_heads * c.head_dim;
    buffers_.emplace_back(sizes[2] == 0 ? 0 : static_cast<std::size_t>(v_.start + sizes[2]),
                          touching);
    return;
  }
  for (const std::int64_t elements : sizes) {
    buffers_.emplace_back(static_cast<std::size_t>(elements), touching);
  }
  k_.buffer = 1;
  v_.buffer = 2;
}

void Case::fill() {
  Random random(spec_.seed);
  const auto fill_side = [&](float* data, const Tokens& tokens, const Layout& layout,
                             std::int64_t heads, std::int64_t dims) {
    for (std::int64_t b = 0; b < geometry_.sequences(); ++b) {
      for (std::int64_t i = 0; i < tokens.length(b); ++i) {
        for (std::int64_t h = 0; h < heads; ++h) {
          float* const vector = data + tokens.offset(layout, b, i, h);
          fill_vector(random, spec_.distribution, {vector, static_cast<std::size_t>(dims)});
        }
      }
    }
  };
  const AttentionConfig& c = config();
  fill_side(q(), geometry_.queries(), geometry_.q_layout(), c.query_heads, c.head_dim);
  fill_side(k(), geometry_.keys(), geometry_.k_layout(), c.kv_heads, c.head_dim);
  fill_side(v(), geometry_.keys(), geometry_.v_layout(), c.kv_heads, geometry_.value_head_dim());
}

}  // namespace heed::proof

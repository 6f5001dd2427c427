#include "bindings/ggml/mask.h"

#include <cmath>

#include "heed/convert.h"

namespace heed::plugin {
namespace {

constexpr std::uint16_t kHidden = 0xFC00;  // −∞
constexpr std::uint16_t kSign = 0x8000;

/// Biases that are computed for each head, where nothing shorter will do: 64 MiB of them.
constexpr std::int64_t kMostBiases = std::int64_t{1} << 24;

const std::uint16_t* elements(const ggml_tensor& mask) {
  return static_cast<const std::uint16_t*>(mask.data);
}

std::int64_t stride(const ggml_tensor& mask, int dimension) {
  return mask.ne[dimension] == 1 ? 0 : static_cast<std::int64_t>(mask.nb[dimension] / 2);
}

/// How many elements the tensor spans, gaps included.
std::size_t span(const ggml_tensor& mask) {
  std::size_t last = 0;
  for (int i = 0; i < 4; ++i) last += static_cast<std::size_t>(mask.ne[i] - 1) * mask.nb[i];
  return last / 2 + 1;
}

/// The elements of a row as floats.
void widen(const std::uint16_t* row, std::vector<float>& floats) {
  // Both types are known, and the sizes agree: nothing is left to fail, but the choice of an ISA
  // that this machine lacks, which fails when the plan is made, too.
  static_cast<void>(convert(InputData(row, DType::f16), OutputData(floats.data()),
                            static_cast<std::int64_t>(floats.size())));
}

/// The rows of a mask that a node uses.
template <class Visit>
void for_each_row(const NodeShape& shape, Visit visit) {
  const ggml_tensor& mask = *shape.mask;
  for (std::int64_t s = 0; s < mask.ne[3]; ++s) {
    for (std::int64_t h = 0; h < mask.ne[2]; ++h) {
      for (std::int64_t i = 0; i < shape.queries; ++i) {
        visit(elements(mask) + s * stride(mask, 3) + h * stride(mask, 2) +
                  i * static_cast<std::int64_t>(mask.nb[1] / 2),
              s, h, i);
      }
    }
  }
}

/// Whether all elements of a row are 0 or −∞.
bool only_hides(const std::uint16_t* row, std::int64_t keys) {
  std::uint32_t others = 0;
  for (std::int64_t j = 0; j < keys; ++j) {
    others |= static_cast<std::uint32_t>((row[j] & ~kSign) != 0) &
              static_cast<std::uint32_t>(row[j] != kHidden);
  }
  return others == 0;
}

/// Whether the elements of a row ascend by one from key to key, as distances to keys before do;
/// half-precision floats have no odd ones beyond 2048.
bool is_distance(const std::vector<float>& row) {
  const auto is_hidden = [](float element) { return std::isinf(element) && element < 0; };
  std::size_t last = row.size();
  while (last > 0 && is_hidden(row[last - 1])) --last;
  if (last == 0) return true;
  // The last key is the nearest one, whose distance is the most precise.
  const float nearest = row[last - 1];
  for (std::size_t j = 0; j < last; ++j) {
    if (is_hidden(row[j])) continue;
    const float distance = nearest - static_cast<float>(last - 1 - j);
    const float rounding = -distance / 2048;
    if (!(std::fabs(row[j] - distance) <= rounding)) return false;
  }
  return true;
}

/// The slopes of ggml, whose largest bias is 8 in the paper.
std::vector<float> slopes_of(const NodeShape& shape) {
  std::vector<float> slopes(static_cast<std::size_t>(shape.heads));
  const int log2_heads = static_cast<int>(std::floor(std::log2(static_cast<double>(shape.heads))));
  const auto power = static_cast<std::size_t>(1) << static_cast<unsigned>(log2_heads);
  const float m0 = std::pow(2.0F, -shape.max_bias / static_cast<float>(power));
  const float m1 = std::pow(2.0F, -shape.max_bias / 2 / static_cast<float>(power));
  for (std::size_t h = 0; h < slopes.size(); ++h) {
    slopes[h] = h < power ? std::pow(m0, static_cast<float>(h + 1))
                          : std::pow(m1, static_cast<float>(2 * (h - power) + 1));
  }
  return slopes;
}

}  // namespace

std::string_view NodeMask::read(const NodeShape& shape) {
  visible_.reset();
  bias_ = {};
  slopes_.clear();
  if (shape.mask == nullptr) return {};
  const ggml_tensor& mask = *shape.mask;
  KeyMask visible{.type = MaskType::f16,
                  .data = mask.data,
                  .sequence_stride = stride(mask, 3),
                  .head_stride = stride(mask, 2),
                  .query_stride = static_cast<std::int64_t>(mask.nb[1] / 2)};
  bool hides = true;
  for_each_row(shape, [&](const std::uint16_t* row, std::int64_t, std::int64_t, std::int64_t) {
    hides = hides && only_hides(row, shape.keys);
  });
  if (!hides) {
    bytes_.resize(span(mask));
    for (std::size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = elements(mask)[i] != kHidden;
    visible.type = MaskType::bytes;
    visible.data = bytes_.data();
  }
  visible_ = visible;
  if (hides) return {};
  if (shape.max_bias > 0) return read_alibi(shape);
  bias_ = {.data = {mask.data, DType::f16},
           .sequence_stride = visible.sequence_stride,
           .head_stride = visible.head_stride,
           .query_stride = visible.query_stride};
  return {};
}

std::string_view NodeMask::read_alibi(const NodeShape& shape) {
  // A row's weights don't change where all its logits do by as much, so that any distance between
  // the numbers of cells and positions will do, but for sinks.
  bool distances = !shape.sinks;
  floats_.resize(static_cast<std::size_t>(shape.keys));
  for_each_row(shape, [&](const std::uint16_t* row, std::int64_t, std::int64_t, std::int64_t) {
    if (!distances) return;
    widen(row, floats_);
    distances = is_distance(floats_);
  });
  slopes_ = slopes_of(shape);
  if (distances) return {};
  if (shape.sequences * shape.heads > kMostBiases / shape.queries / shape.keys) {
    slopes_.clear();
    return "ALiBi with positions in any order, and too many of them";
  }
  make_biases(shape);
  slopes_.clear();
  return {};
}

void NodeMask::make_biases(const NodeShape& shape) {
  const ggml_tensor& mask = *shape.mask;
  const std::int64_t per_head = shape.queries * shape.keys;
  const std::int64_t sequences = mask.ne[3];
  biases_.resize(static_cast<std::size_t>(sequences * shape.heads * per_head));
  for_each_row(shape, [&](const std::uint16_t* row, std::int64_t s, std::int64_t h,
                          std::int64_t i) {
    const std::int64_t last = mask.ne[2] == 1 ? shape.heads : h + 1;
    widen(row, floats_);
    for (std::int64_t head = h; head < last; ++head) {
      const float slope = slopes_[static_cast<std::size_t>(head)];
      float* const biases = biases_.data() + (s * shape.heads + head) * per_head + i * shape.keys;
      for (std::size_t j = 0; j < floats_.size(); ++j) biases[j] = slope * floats_[j];
    }
  });
  bias_ = ScoreBias::bhqk(biases_.data(), shape.heads, shape.queries, shape.keys);
  if (sequences == 1) bias_.sequence_stride = 0;
}

void NodeMask::add_to(ScoreModifiers& modifiers) const {
  modifiers.bias = bias_;
  if (!slopes_.empty()) modifiers.alibi_slopes = slopes_.data();
}

}  // namespace heed::plugin

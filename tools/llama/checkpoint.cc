#include "tools/llama/checkpoint.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "heed/attention.h"
#include "heed/cpu.h"
#include "tools/llama/file_size.h"
#include "tools/status.h"

namespace heed::llama {
namespace {

constexpr std::size_t kNumbers = 7;
constexpr std::int64_t kHeaderBytes = kNumbers * sizeof(std::int32_t);
using Header = std::array<std::int32_t, kNumbers>;

Status fault(const std::string& path, std::string_view sentence) {
  return {StatusCode::invalid_argument, fmt::format("{}: {}", path, sentence)};
}

Status not_a_model(const std::string& path, std::string_view sentence) {
  return fault(path, fmt::format("not a llama2.c checkpoint: {}", sentence));
}

/// A part of the file: a weight, or one for each of the layers.
struct Part {
  Weight Checkpoint::*weight;
  std::int64_t layers, outputs, inputs;
};

/// The parts in their order.
std::vector<Part> parts_of(const ModelShape& s) {
  using C = Checkpoint;
  std::vector<Part> parts = {{&C::embedding, 1, s.vocab_size, s.dim},
                             {&C::attention_norm, s.layers, 1, s.dim},
                             {&C::wq, s.layers, s.dim, s.dim},
                             {&C::wk, s.layers, s.kv_dim(), s.dim},
                             {&C::wv, s.layers, s.kv_dim(), s.dim},
                             {&C::wo, s.layers, s.dim, s.dim},
                             {&C::feed_forward_norm, s.layers, 1, s.dim},
                             {&C::w1, s.layers, s.hidden_dim, s.dim},
                             {&C::w2, s.layers, s.dim, s.hidden_dim},
                             {&C::w3, s.layers, s.hidden_dim, s.dim},
                             {&C::final_norm, 1, 1, s.dim},
                             {&C::rotary, 1, s.context, s.head_dim()}};
  if (s.classifier_apart) parts.push_back({&C::classifier, 1, s.vocab_size, s.dim});
  return parts;
}

/// The size of a file with these parts. False where it exceeds 2⁶³ bytes.
bool count_bytes(const std::vector<Part>& parts, std::int64_t& bytes) {
  bytes = kHeaderBytes;
  for (const Part& part : parts) {
    std::int64_t size = sizeof(float);
    if (__builtin_mul_overflow(size, part.layers, &size) ||
        __builtin_mul_overflow(size, part.outputs, &size) ||
        __builtin_mul_overflow(size, part.inputs, &size) ||
        __builtin_add_overflow(bytes, size, &bytes)) {
      return false;
    }
  }
  return true;
}

Status check_positive(const std::string& path, const Header& header) {
  constexpr std::array<std::string_view, kNumbers> names = {
      "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
  constexpr std::size_t vocab_size = 5;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    if (header[i] > 0 || i == vocab_size) continue;
    return not_a_model(path, fmt::format("{} ({}) must be above 0", names[i], header[i]));
  }
  if (header[vocab_size] > kBoundary || header[vocab_size] < -kBoundary) return {};
  return not_a_model(path, fmt::format("vocab_size ({}) must hold token {}, which begins texts",
                                       header[vocab_size], kBoundary));
}

Status check_heads(const std::string& path, const ModelShape& s) {
  if (s.dim % s.heads != 0) {
    return not_a_model(path, fmt::format("n_heads ({}) must divide dim ({})", s.heads, s.dim));
  }
  if (s.heads % s.kv_heads != 0) {
    return not_a_model(
        path, fmt::format("n_kv_heads ({}) must divide n_heads ({})", s.kv_heads, s.heads));
  }
  if (s.head_dim() % 2 == 0 && s.head_dim() <= kMaxHeadDim) return {};
  return not_a_model(path, fmt::format("dim / n_heads ({}) must be even and at most {}",
                                       s.head_dim(), kMaxHeadDim));
}

/// Files that are known by their first four bytes to be something else.
Status check_magic(const std::string& path, const Header& header) {
  constexpr std::int32_t kMagicOfLaterVersions = 0x616B3432, kGguf = 0x46554747, kZip = 0x04034B50;
  if (header[0] == kMagicOfLaterVersions) {
    return fault(path, fmt::format("a llama2.c checkpoint of version {}: only version 0 can be "
                                   "read, which export.py writes with --version 0",
                                   header[1]));
  }
  if (header[0] == kGguf) return not_a_model(path, "it is a GGUF file");
  if (header[0] == kZip) {
    return not_a_model(path, "it is a zip archive, as PyTorch writes: export.py converts it");
  }
  return {};
}

Status parse_header(const std::string& path, const Header& header, ModelShape& shape) {
  HEED_RETURN_IF_ERROR(check_magic(path, header));
  HEED_RETURN_IF_ERROR(check_positive(path, header));
  const auto [dim, hidden_dim, layers, heads, kv_heads, vocab_size, context] = header;
  shape = {dim, hidden_dim, layers, heads, kv_heads, std::abs(std::int64_t{vocab_size}), context};
  shape.classifier_apart = vocab_size < 0;
  return check_heads(path, shape);
}

/// The file is as large as the header says, and the memory of this process larger.
Status check_size(const std::string& path, const ModelShape& shape, std::int64_t file_bytes) {
  std::int64_t wanted = 0;
  if (!count_bytes(parts_of(shape), wanted)) {
    return not_a_model(path, "a model with its header reaches beyond the address space");
  }
  if (file_bytes < wanted) {
    return fault(path, fmt::format("the checkpoint is truncated: it has {} of {} bytes", file_bytes,
                                   wanted));
  }
  if (file_bytes > wanted) {
    return not_a_model(
        path, fmt::format("it has {} bytes, a model with its header {}", file_bytes, wanted));
  }
  const std::int64_t memory = cpu_info().memory_bytes;
  if (memory == 0 || wanted <= memory) return {};
  return fault(path, fmt::format("the model takes {} bytes, the memory of this process has {}",
                                 wanted, memory));
}

Status read(const std::string& path, std::ifstream& file, void* to, std::int64_t bytes) {
  errno = 0;
  if (file.read(static_cast<char*>(to), bytes)) return {};
  return fault(path, fmt::format("cannot be read: {}",
                                 errno != 0 ? std::strerror(errno) : "it ends too early"));
}

/// Says where in its memory the weights are.
void place(Checkpoint& checkpoint) {
  const float* next = checkpoint.memory.get();
  for (const Part& part : parts_of(checkpoint.shape)) {
    checkpoint.*part.weight = {next, part.outputs * part.inputs};
    next += part.layers * part.outputs * part.inputs;
  }
  if (!checkpoint.shape.classifier_apart) checkpoint.classifier = checkpoint.embedding;
}

}  // namespace

Status read_checkpoint(const std::string& path, Checkpoint& checkpoint) {
  std::int64_t file_bytes = 0;
  HEED_RETURN_IF_ERROR(file_size(path, file_bytes));
  if (file_bytes < kHeaderBytes) {
    return not_a_model(path, fmt::format("it has {} bytes, a header {}", file_bytes, kHeaderBytes));
  }
  std::ifstream file(path, std::ios::binary);
  Header header{};
  Checkpoint made;
  HEED_RETURN_IF_ERROR(read(path, file, header.data(), kHeaderBytes));
  HEED_RETURN_IF_ERROR(parse_header(path, header, made.shape));
  HEED_RETURN_IF_ERROR(check_size(path, made.shape, file_bytes));
  made.bytes = file_bytes - kHeaderBytes;
  made.memory =
      std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(made.bytes) / sizeof(float));
  HEED_RETURN_IF_ERROR(read(path, file, made.memory.get(), made.bytes));
  place(made);
  checkpoint = std::move(made);
  return {};
}

}  // namespace heed::llama

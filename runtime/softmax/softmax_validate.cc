#include "runtime/softmax/softmax_validate.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "runtime/base/check_executor.h"
#include "runtime/base/message.h"
#include "runtime/base/strides.h"
#include "runtime/threads/executor.h"

namespace heed::detail {
namespace {

Status check_matrix(const NamedRows& matrix) {
  const char* const name = matrix.name;
  const ConstRows& m = matrix.rows;
  if (m.rows < 0) return invalid(name, ".rows (", m.rows, ") must be 0 or more");
  if (m.length < 0) return invalid(name, ".length (", m.length, ") must be 0 or more");
  if (m.rows > 0 && m.length > 0 && m.data == nullptr) {
    return invalid(name, ".data must not be null for ", m.rows, " rows of ", m.length, " elements");
  }
  if (reinterpret_cast<std::uintptr_t>(m.data) % sizeof(float) != 0) {
    return invalid(name, ".data must begin at a multiple of 4 bytes, as floats do");
  }
  const auto beyond = [&] {
    return invalid(name, ": ", m.rows, " rows of ", m.length, " elements with a stride of ",
                   m.stride, " do not fit the address space");
  };
  if (m.length > kMaxElements) return beyond();
  if (m.rows < 2) return {};
  if (m.stride < 0 ? m.stride > -m.length : m.stride < m.length) {
    return invalid(name, ".stride (", m.stride, ") must be at least ", name, ".length (", m.length,
                   "), forwards or backwards");
  }
  const std::int64_t room = kMaxElements - m.length;
  return m.stride > room / m.rows || m.stride < -(room / m.rows) ? beyond() : Status();
}

/// The rows of a matrix from the lowest address up.
class AscendingRows {
 public:
  explicit AscendingRows(const ConstRows& m)
      : begin_(reinterpret_cast<std::uintptr_t>(m.data)),
        step_(m.rows < 2 ? 0 : bytes(std::abs(m.stride))),
        size_(bytes(m.length)),
        left_(m.rows) {
    if (m.stride < 0 && m.rows > 1) begin_ -= step_ * static_cast<std::uintptr_t>(m.rows - 1);
  }

  bool empty() const { return left_ == 0 || size_ == 0; }
  std::uintptr_t begin() const { return begin_; }
  std::uintptr_t end() const { return begin_ + size_; }
  void next() {
    begin_ += step_;
    --left_;
  }

 private:
  static std::uintptr_t bytes(std::int64_t elements) {
    return static_cast<std::uintptr_t>(elements) * sizeof(float);
  }

  std::uintptr_t begin_, step_, size_;
  std::int64_t left_;
};

/// Rows may interleave, as those of two column ranges of one matrix do; only elements may not be
/// shared. Takes a step per row, where the matrices lie in the same memory.
bool share_elements(const ConstRows& a, const ConstRows& b) {
  AscendingRows x(a), y(b);
  while (!x.empty() && !y.empty()) {
    if (x.end() <= y.begin()) {
      x.next();
    } else if (y.end() <= x.begin()) {
      y.next();
    } else {
      return true;
    }
  }
  return false;
}

bool same_place(const ConstRows& a, const ConstRows& b) {
  return a.data == b.data && a.length == b.length && (a.stride == b.stride || a.rows < 2);
}

Status check_shape(const NamedRows& first, const NamedRows& other, std::int64_t length) {
  if (other.rows.rows != first.rows.rows) {
    return invalid(other.name, ".rows (", other.rows.rows, ") must equal ", first.name, ".rows (",
                   first.rows.rows, ")");
  }
  if (other.rows.length != length) {
    return invalid(other.name, ".length (", other.rows.length, ") must equal ", first.name,
                   ".length (", length, ")");
  }
  return {};
}

}  // namespace

Status check_options(const SoftmaxOptions& options, SoftmaxSetting& setting) {
  const float scale = options.scale, temperature = options.temperature;
  if (!std::isfinite(scale)) return invalid("scale (", scale, ") must be finite");
  if (!(temperature >= 0.0F)) {
    return invalid("temperature (", temperature, ") must be 0 or more, or infinity");
  }
  if (Status fault = check_executor(options.executor); !fault.ok()) return fault;
  if (Status fault = complete_workers(options.workers, setting.workers); !fault.ok()) return fault;
  setting.factor = temperature == 0.0F ? scale : scale / temperature;
  if (!std::isfinite(setting.factor)) {
    return invalid("scale / temperature (", scale, " / ", temperature,
                   ") must be finite as a float");
  }
  if (setting.factor == 0.0F) {
    setting.rule = kernels::SoftmaxRule::uniform;
  } else if (temperature == 0.0F) {
    setting.rule = kernels::SoftmaxRule::argmax;
  } else {
    setting.rule = kernels::SoftmaxRule::exponential;
  }
  return {};
}

Status check_matrices(std::span<const NamedRows> inputs, const NamedRows& output,
                      std::int64_t output_length) {
  for (const NamedRows& input : inputs) {
    if (Status fault = check_matrix(input); !fault.ok()) return fault;
    if (Status fault = check_shape(inputs[0], input, inputs[0].rows.length); !fault.ok()) {
      return fault;
    }
  }
  if (Status fault = check_matrix(output); !fault.ok()) return fault;
  if (Status fault = check_shape(inputs[0], output, output_length); !fault.ok()) return fault;
  for (const NamedRows& input : inputs) {
    if (same_place(input.rows, output.rows)) continue;
    if (share_elements(input.rows, output.rows)) {
      return invalid(output.name, " must not overlap ", input.name,
                     " unless it is in place, with the same data, length and stride");
    }
  }
  return {};
}

}  // namespace heed::detail

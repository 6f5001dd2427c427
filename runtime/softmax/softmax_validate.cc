#include "runtime/softmax/softmax_validate.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/base/strides.h"
#include "runtime/threads/executor.h"

namespace heed::detail {
namespace {

Status check_matrix(const NamedRows& matrix) {
  const char* const name = matrix.name;
  const ConstRows& m = matrix.rows;
  if (m.rows < 0) return invalid(name, ".rows (", m.rows, ") must be 0 or more");
  if (m.length < 0) return invalid(name, ".length (", m.length, ") must be 0 or more");
  HEED_RETURN_IF_ERROR(check_type_of(name, m.data.type(), true));
  if (m.rows > 0 && m.length > 0 && m.data == nullptr) {
    return invalid(name, ".data must not be null for ", m.rows, " rows of ", m.length, " elements");
  }
  const std::int64_t alignment = dtype_info(m.data.type()).alignment;
  if (reinterpret_cast<std::uintptr_t>(m.data.data()) % static_cast<std::uintptr_t>(alignment) !=
      0) {
    return invalid(name, ".data must begin at a multiple of ", alignment,
                   " bytes, as its elements do");
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

StridedShape shape_of(std::int64_t rows, std::int64_t length, std::int64_t stride) {
  return {{{{"row", stride, rows}, {"", 0, 1}, {"", 0, 1}}}, length};
}

/// The elements of a matrix that has passed check_matrix.
Region region_of(const NamedRows& matrix) {
  const ConstRows& m = matrix.rows;
  return {{matrix.name}, m.data.data(), shape_of(m.rows, m.length, m.stride), m.data.type()};
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

/// What options point to, for matrices of the shape of `m`.
std::array<Region, 2> regions_of(const SoftmaxOptions& options, const ConstRows& m) {
  const EntryMask& mask = options.mask;
  return {Region({"mask"}, mask.visible, shape_of(m.rows, m.length, mask.stride), DType::int8),
          Region({"temperatures"}, options.temperatures)};
}

/// `name` is temperature or temperatures[r].
Status check_temperature(const std::string& name, float temperature, float scale, bool gradient) {
  if (!(temperature >= 0.0F)) {
    return invalid(name, " (", temperature, ") must be 0 or more, or infinity");
  }
  const kernels::SoftmaxFactor factor = kernels::softmax_factor(scale, temperature);
  if (!std::isfinite(factor.factor)) {
    return invalid("scale / ", name, " (", scale, " / ", temperature,
                   ") must be finite as a float");
  }
  if (gradient && temperature == 0.0F) {
    return invalid(name, " (0) must be above 0: the argmax has no gradient");
  }
  return {};
}

}  // namespace

Status check_options(const SoftmaxOptions& options, SoftmaxSetting& setting) {
  if (!std::isfinite(options.scale)) {
    return invalid("scale (", options.scale, ") must be finite");
  }
  HEED_RETURN_IF_ERROR(check_executor(options.executor));
  return complete_workers(options.workers, setting.workers);
}

Status check_temperatures(const SoftmaxOptions& options, std::int64_t rows, bool gradient,
                          SoftmaxSetting& setting) {
  kernels::SoftmaxTemperatures& temperatures = setting.temperatures;
  temperatures.scale = options.scale;
  const std::span<const float> each = options.temperatures;
  if (each.empty()) {
    temperatures.common = options.temperature;
    temperatures.factor = kernels::softmax_factor(options.scale, options.temperature);
    return check_temperature("temperature", options.temperature, options.scale, gradient);
  }
  if (each.data() == nullptr) return invalid("temperatures must not be null");
  if (each.size() != static_cast<std::size_t>(rows)) {
    return invalid("temperatures (", each.size(), " numbers) must have one for each of the ", rows,
                   " rows");
  }
  HEED_RETURN_IF_ERROR(check_aligned(Region({"temperatures"}, each)));
  const auto fine = [&](float t) {
    return t >= 0.0F && !(gradient && t == 0.0F) &&
           std::isfinite(kernels::softmax_factor(options.scale, t).factor);
  };
  for (std::size_t r = 0; r < each.size(); ++r) {
    if (fine(each[r])) continue;
    return check_temperature("temperatures[" + std::to_string(r) + "]", each[r], options.scale,
                             gradient);
  }
  temperatures.each = each.data();
  return {};
}

Status check_matrices(std::span<const NamedRows> inputs, const NamedRows& output,
                      std::int64_t output_length, const SoftmaxOptions& options) {
  for (const NamedRows& input : inputs) {
    HEED_RETURN_IF_ERROR(check_matrix(input));
    HEED_RETURN_IF_ERROR(check_shape(inputs[0], input, inputs[0].rows.length));
  }
  HEED_RETURN_IF_ERROR(check_matrix(output));
  HEED_RETURN_IF_ERROR(check_shape(inputs[0], output, output_length));
  for (const NamedRows& input : inputs) {
    if (same_place(input.rows, output.rows)) continue;
    if (share_elements(region_of(input), region_of(output))) {
      return invalid(output.name, " must not overlap ", input.name,
                     " unless it is in place, with the same data, length and stride");
    }
  }
  const ConstRows& m = inputs[0].rows;
  if (options.mask.visible != nullptr && m.length > 0) {
    const StridedShape mask = shape_of(m.rows, m.length, options.mask.stride);
    HEED_RETURN_IF_ERROR(check_reach("mask", mask.axes, mask.dims));
  }
  const Region outputs[] = {region_of(output)};
  return check_regions(outputs, regions_of(options, m));
}

Status check_temperature_gradient(float* dt, std::span<const NamedRows> matrices,
                                  const SoftmaxOptions& options) {
  std::vector<Region> others;
  for (const NamedRows& matrix : matrices) others.push_back(region_of(matrix));
  for (const Region& region : regions_of(options, matrices[0].rows)) others.push_back(region);
  const Region outputs[] = {Region({"dt"}, dt, matrices[0].rows.rows)};
  return check_regions(outputs, others);
}

}  // namespace heed::detail

// The door of the softmax functions: every fault of the caller is found here, before any work.
#pragma once

#include <span>

#include "heed/softmax.h"
#include "kernels/interface.h"

namespace heed::detail {

/// A matrix by the caller's name for it.
struct NamedRows {
  const char* name;
  ConstRows rows;
};

/// How options turn into what kernels take.
struct SoftmaxSetting {
  kernels::SoftmaxTemperatures temperatures;
  int workers = 1;
};

/// Checks what does not depend on matrices, but for temperatures.
Status check_options(const SoftmaxOptions& options, SoftmaxSetting& setting);

/// Checks the temperature, or those of so many rows. `gradient` where the argmax is refused.
Status check_temperatures(const SoftmaxOptions& options, std::int64_t rows, bool gradient,
                          SoftmaxSetting& setting);

/// Checks the inputs and the output, that all have the shape of the first input, that the output is
/// exactly one of the inputs or shares no element with it, and none with what options point to.
/// `output_length` is that of the output's rows: the inputs', or 1.
Status check_matrices(std::span<const NamedRows> inputs, const NamedRows& output,
                      std::int64_t output_length, const SoftmaxOptions& options);

/// Checks a gradient of temperatures beside matrices that have passed check_matrices: an output
/// that shares no element with anything.
Status check_temperature_gradient(float* dt, std::span<const NamedRows> matrices,
                                  const SoftmaxOptions& options);

}  // namespace heed::detail

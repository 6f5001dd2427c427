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
  kernels::SoftmaxRule rule = kernels::SoftmaxRule::exponential;
  float factor = 1;  ///< scale / T; for argmax the scale
  int workers = 1;
};

Status check_options(const SoftmaxOptions& options, SoftmaxSetting& setting);

/// Checks the inputs and the output, that all have the shape of the first input, and that the
/// output is exactly one of the inputs or shares no element with it. `output_length` is that of the
/// output's rows: the inputs', or 1.
Status check_matrices(std::span<const NamedRows> inputs, const NamedRows& output,
                      std::int64_t output_length);

}  // namespace heed::detail

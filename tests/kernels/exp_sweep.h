// Sweeps of the kernels' exponentials over floats, against double, on all ISAs at once.
#pragma once

#include <cstdint>
#include <string>

namespace heed::tests {

/// The two exponentials of a KernelTable: e^x for softmax, 2^t for attention.
enum class Exponential { natural, binary };

/// Every `step`th float from `first` to `last`, without `last` itself. Both have the same sign, and
/// `last` is further from zero.
struct Sweep {
  Exponential function;
  float first, last;
  std::uint32_t step;
};

/// Fails the test where a result on any supported ISA is further than `bound_ulp` ULP from the
/// exact one, and prints the largest error of each ISA. An ULP is that of floats at the exact
/// result.
void expect_within(const Sweep& sweep, double bound_ulp);

}  // namespace heed::tests

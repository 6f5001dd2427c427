// Sweeps of the kernels' exponentials over floats, against double, on all ISAs at once.
#pragma once

#include <cstdint>
#include <string>

namespace heed::tests {

/// The two exponentials of a KernelTable: e^x of softmax, 2^t of attention.
enum class Exponential { natural, binary };

/// Every `step`th float from `first` on, away from zero, up to and without `last`; both of one
/// sign.
struct Sweep {
  Exponential function;
  float first, last;
  std::uint32_t step;
};

/// Fails the test where a result on any supported ISA is further than `bound_ulp` from the exact
/// one, and prints the largest error of each ISA. ULP are those of the exact result's binade.
void expect_within(const Sweep& sweep, double bound_ulp);

}  // namespace heed::tests

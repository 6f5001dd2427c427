// The exponentials of attention and of softmax over an array, for their tests: they inline the same
// code as the kernels.
#pragma once

#include <cstdint>

#include "kernels/attention/weights.inl.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// y = 2^x as the weights of attention are computed.
template <class Arch>
void exp2_array(const float* x, float* y, std::int64_t n) {
  using W = Weights<Arch, WeightRule::exponential>;
  for_each_vector<Arch, 1>(n, [&](auto access, int, std::int64_t i) {
    access.store(y + i, W::weight(access.load(x + i, 0.0F), splat<Arch>(0.0F)));
  });
}

/// y = e^x: as softmax computes it for vectors in which no x is above 0, else as the gradient of
/// log-softmax does.
template <class Arch>
void exp_array(const float* x, float* y, std::int64_t n) {
  for_each_vector<Arch, 1>(n, [&](auto access, int, std::int64_t i) {
    const Vec<Arch> v = access.load(x + i, 0.0F);
    const bool general = Ops<Arch>::any(v > splat<Arch>(0.0F));
    access.store(y + i, general ? exp<Arch>(v) : exp_nonpositive<Arch>(v));
  });
}

}  // namespace
}  // namespace heed::kernels

// Every float that softmax can take an exponential of, on every ISA.
#include <gtest/gtest.h>

#include "tests/kernels/exp_sweep.h"

namespace heed::tests {
namespace {

TEST(ExpEveryFloat, NaturalIsWithinTwoUlp) {
  expect_within({Exponential::natural, -0x1p-26F, -104.0F, 1}, 2.0);
}

TEST(ExpEveryFloat, BinaryIsWithinTwoUlpOnFractions) {
  expect_within({Exponential::binary, 0x1p-26F, 1.0F, 1}, 2.0);
}

TEST(ExpEveryFloat, BinaryIsWithinTwoUlpDownToTheCut) {
  expect_within({Exponential::binary, -0x1p-26F, -110.0F, 1}, 2.0);
}

}  // namespace
}  // namespace heed::tests

// What tests of softmax begin with: a seed that is printed where they fail, and every ISA.
#pragma once

#include <functional>
#include <random>
#include <string_view>

#include "heed/softmax.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {

using proof::kInfinity;
using proof::kNan;

class SoftmaxFixture : public testing::Test {
 protected:
  using Touching = Matrix::Touching;

  SoftmaxFixture()
      : seed_(std::random_device()()),
        random_(seed_),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_) {}

  std::function<float()> normals(double deviation = 3) {
    return [this, deviation] { return static_cast<float>(deviation * random_.normal()); };
  }
  /// 0, with probability ⅓, or any other byte.
  std::function<std::uint8_t()> mask_bytes() {
    return [this] {
      return static_cast<std::uint8_t>(random_.below(3) == 0 ? 0 : 1 + random_.below(255));
    };
  }

  static SoftmaxOptions on_isa(std::string_view isa, float scale = 1.0F, float temperature = 1.0F) {
    SoftmaxOptions options;
    options.isa = isa;
    options.scale = scale;
    options.temperature = temperature;
    options.workers = 1;
    return options;
  }

  template <class Check>
  static void on_every_isa(Check check) {
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      check(isa);
      if (HasFailure()) return;
    }
  }

  std::uint64_t seed_;
  proof::Random random_;
  testing::ScopedTrace trace_;
};

/// softmax, or log_softmax.
using SoftmaxMap = Status (*)(const ConstRows&, const Rows&, const SoftmaxOptions&) noexcept;
/// One of their gradients, with that of T.
using SoftmaxGradientMap = Status (*)(const ConstRows&, const ConstRows&, const Rows&, float*,
                                      const SoftmaxOptions&) noexcept;

}  // namespace heed::tests

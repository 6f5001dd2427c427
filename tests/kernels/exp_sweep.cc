#include "tests/kernels/exp_sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "runtime/cpu/dispatch.h"
#include "tests/support/attention_run.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kBlock = 4096;

struct Worst {
  std::string_view isa;
  const kernels::KernelTable* table = nullptr;
  double ulp = -1;
  float at = 0;
};

/// The ULP of floats at a positive double: 2⁻²³ of its power of two, and not below the smallest
/// denormal.
double ulp_of(double exact) {
  const auto exponent = static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(exact) >> 52) - 1023;
  const std::int64_t last_place = std::max<std::int64_t>(exponent, -126) - 23;
  return std::bit_cast<double>(static_cast<std::uint64_t>(last_place + 1023) << 52);
}

/// The exponential by the C library's exp and exp2 in double, which are off by less than 2⁻⁵²:
/// nothing next to an ULP of float. The binary one is that of the canonical row, whose fraction t −
/// floor(t) is rounded to float.
double reference(Exponential function, float x) {
  if (function == Exponential::natural) return std::exp(static_cast<double>(x));
  const float whole = std::floor(x), fraction = x - whole;
  return std::exp2(static_cast<double>(fraction)) * std::exp2(static_cast<double>(whole));
}

/// What one thread computes of a sweep.
class Sweeper {
 public:
  Sweeper(const Sweep& sweep, std::vector<Worst> worst) : sweep_(sweep), worst_(std::move(worst)) {}

  const std::vector<Worst>& worst() const { return worst_; }

  /// Computes points begin … begin + count − 1 of the sweep.
  void block(std::int64_t begin, std::int64_t count) {
    const auto origin = std::bit_cast<std::uint32_t>(sweep_.first);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto offset = static_cast<std::uint32_t>(begin + i) * sweep_.step;
      x_[i] = std::bit_cast<float>(origin + offset);
      exact_[i] = reference(sweep_.function, x_[i]);
      per_ulp_[i] = 1 / ulp_of(exact_[i]);
    }
    for (Worst& w : worst_) {
      const auto function = sweep_.function == Exponential::natural ? w.table->exp : w.table->exp2;
      function(x_.data(), y_.data(), count);
      compare(w, count);
    }
  }

 private:
  void compare(Worst& w, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      const double ulp = std::abs(static_cast<double>(y_[i]) - exact_[i]) * per_ulp_[i];
      if (!(ulp <= w.ulp)) {  // NaN too
        w.ulp = std::isnan(ulp) ? HUGE_VAL : ulp;
        w.at = x_[i];
      }
    }
  }

  Sweep sweep_;
  std::vector<Worst> worst_;
  std::vector<float> x_ = std::vector<float>(kBlock), y_ = x_;
  std::vector<double> exact_ = std::vector<double>(kBlock), per_ulp_ = exact_;
};

std::vector<Worst> tables() {
  std::vector<Worst> list;
  for (const std::string_view isa : f32_isas()) {
    Worst w;
    w.isa = isa;
    EXPECT_TRUE(detail::select_kernels(isa, w.table).ok());
    list.push_back(w);
  }
  return list;
}

std::vector<Worst> run(const Sweep& sweep) {
  const std::int64_t span = static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(sweep.last)) -
                            static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(sweep.first));
  const std::int64_t points = (span + sweep.step - 1) / sweep.step;
  std::vector<Worst> total = tables();
  std::atomic<std::int64_t> next = 0;
  std::mutex mutex;
  const auto work = [&] {
    Sweeper sweeper(sweep, tables());
    for (std::int64_t i; (i = next.fetch_add(kBlock)) < points;) {
      sweeper.block(i, std::min(kBlock, points - i));
    }
    const std::lock_guard lock(mutex);
    for (std::size_t k = 0; k < total.size(); ++k) {
      if (sweeper.worst()[k].ulp > total[k].ulp) total[k] = sweeper.worst()[k];
    }
  };
  std::thread other(work);
  work();
  other.join();
  return total;
}

}  // namespace

void expect_within(const Sweep& sweep, double bound_ulp) {
  for (const Worst& w : run(sweep)) {
    std::printf("  %-8s worst %.4f ULP at %a\n", w.isa.data(), w.ulp, static_cast<double>(w.at));
    EXPECT_GE(w.ulp, 0) << "nothing was swept on " << w.isa;
    EXPECT_LE(w.ulp, bound_ulp) << w.isa << " at " << w.at;
  }
}

}  // namespace heed::tests

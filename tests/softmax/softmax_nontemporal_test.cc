// Results that are written by non-temporal stores take another way through the kernels: they have
// the bits of the usual way, and nothing beside them is written.
#include <cmath>
#include <vector>

#include "kernels/interface.h"
#include "runtime/cpu/dispatch.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using kernels::KernelTable;
using kernels::SoftmaxRows;
using kernels::SoftmaxRule;
using Touching = Matrix::Touching;
using Kernel = void (*KernelTable::*)(const SoftmaxRows&);

using proof::kInfinity;
using proof::kNan;

/// What a call consists of, apart from the matrices.
struct Call {
  Kernel kernel;
  float factor;
  SoftmaxRule rule;
};

constexpr Call kCalls[] = {
    {&KernelTable::softmax, 1.0F, SoftmaxRule::exponential},
    {&KernelTable::softmax, 0.7F, SoftmaxRule::exponential},
    {&KernelTable::softmax, -1.3F, SoftmaxRule::exponential},
    {&KernelTable::softmax, 1.0F, SoftmaxRule::argmax},
    {&KernelTable::softmax, 1.0F, SoftmaxRule::uniform},
    {&KernelTable::log_softmax, 1.0F, SoftmaxRule::exponential},
    {&KernelTable::log_softmax, 0.7F, SoftmaxRule::exponential},
    {&KernelTable::log_softmax, -1.3F, SoftmaxRule::exponential},
    {&KernelTable::log_softmax, 1.0F, SoftmaxRule::argmax},
    {&KernelTable::log_softmax, 1.0F, SoftmaxRule::uniform},
};

class SoftmaxNontemporal : public testing::Test {
 protected:
  /// Rows of every kind in turn, the largest element anywhere.
  void fill(Matrix& x) {
    for (std::int64_t r = 0; r < x.rows(); ++r) {
      const auto kind = r % 5;
      for (float& v : x.row(r)) {
        const bool masked = kind == 4 || (kind == 1 && random_.below(2) == 0);
        v = masked ? -kInfinity : static_cast<float>((kind == 2 ? 40 : 3) * random_.normal());
      }
      if (kind == 3) x.row(r)[static_cast<std::size_t>(random_.below(x.length()))] = kNan;
    }
  }

  void expect_usual_bits(Matrix& x, Matrix& y, const KernelTable& table, const Call& call) {
    Matrix usual(x.rows(), x.length());
    const ConstRows from = x.read();
    constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(float));
    SoftmaxRows rows{static_cast<const std::byte*>(from.data.data()),
                     static_cast<std::byte*>(usual.write().data.data()),
                     from.stride * size,
                     x.length() * size,
                     x.rows(),
                     x.length(),
                     {.factor = {call.factor, call.rule}}};
    (table.*call.kernel)(rows);
    rows.y = static_cast<std::byte*>(y.write().data.data());
    rows.y_stride = y.write().stride * size;
    rows.nontemporal = true;
    (table.*call.kernel)(rows);
    for (std::int64_t r = 0; r < x.rows(); ++r) {
      SCOPED_TRACE(testing::Message() << "row " << r << " of " << x.rows() << " of length "
                                      << x.length() << ", factor " << call.factor);
      expect_same_bits(y.row(r), usual.row(r));
      if (HasFailure()) return;
    }
    y.expect_gaps_untouched();
  }

  /// x and y have `rows` rows, with strides that are `gap` elements longer than a row.
  void expect_usual_bits(std::int64_t rows, std::int64_t length, std::int64_t gap, Touching place) {
    Matrix x(rows, length, length + gap, place);
    fill(x);
    for (const std::string_view isa : f32_isas()) {
      SCOPED_TRACE(isa);
      const KernelTable* table = nullptr;
      ASSERT_TRUE(detail::select_kernels(isa, table).ok());
      for (const Call& call : kCalls) {
        Matrix y(rows, length, length + gap, place);
        expect_usual_bits(x, y, *table, call);
        if (HasFailure()) return;
      }
    }
  }

  proof::Random random_{20};
};

// Rows that begin at every place of a line, with every ragged end, up to either guard page.
TEST_F(SoftmaxNontemporal, EveryPlaceAndEnd) {
  for (std::int64_t length = 1; length <= 200; ++length) {
    for (const Touching place : {Touching::start, Touching::end}) {
      expect_usual_bits(17, length, length % 3, place);
      if (HasFailure()) return;
    }
  }
}

// Rows that fit the scratch, rows too long for it, for prefetching a whole row ahead, for the
// cache.
TEST_F(SoftmaxNontemporal, EveryWayOfKeepingRows) {
  for (const std::int64_t limit : {1024, 4096, 8192, 65536}) {
    for (const std::int64_t length : {limit - 1, limit, limit + 1, limit + 32}) {
      for (const std::int64_t rows : {1, 2, 6}) {
        expect_usual_bits(rows, length, 0, Touching::end);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(SoftmaxNontemporal, RowsBackwardsAndNone) {
  for (const std::int64_t rows : {0, 1, 2, 5}) {
    expect_usual_bits(rows, 100, -200, Touching::start);
    expect_usual_bits(rows, 4096, -8200, Touching::end);
  }
  expect_usual_bits(3, 0, 16, Touching::end);
}

}  // namespace
}  // namespace heed::tests

// Softmax and its relatives over rows: the kernels alone, from the table, and the public calls on
// one and two workers. For each ISA that this machine can run. bytes/s count what is read and
// written once.
#include <benchmark/benchmark.h>

#include <limits>
#include <string>
#include <vector>

#include "heed/cpu.h"
#include "heed/softmax.h"
#include "kernels/interface.h"
#include "runtime/cpu/dispatch.h"
#include "tests/proof/inputs.h"

namespace heed::bench {
namespace {

struct Shape {
  std::int64_t rows, length;

  std::int64_t elements() const { return rows * length; }
  std::string name() const { return std::to_string(rows) + "x" + std::to_string(length); }
};

// In L2, with rows that stay in registers or do not; in the last cache; from memory, with rows that
// stay in L1, in L2, or in no cache.
constexpr Shape kShapes[] = {{1024, 64},   {1024, 61},   {256, 256},  {64, 4096},
                             {4096, 4096}, {512, 32768}, {8, 1 << 21}};

/// Tensors of one call get different seeds: equal ones would be a special case.
std::vector<float> normal(std::int64_t n, std::uint64_t seed) {
  std::vector<float> x(static_cast<std::size_t>(n));
  proof::Random random(seed);
  proof::fill_vector(random, proof::Distribution::normal, x);
  return x;
}

/// `tensors` is how many matrices a call reads and writes.
void count(benchmark::State& state, const Shape& shape, int tensors) {
  const std::int64_t elements = state.iterations() * shape.elements();
  state.SetItemsProcessed(elements);
  state.SetBytesProcessed(elements * tensors * static_cast<std::int64_t>(sizeof(float)));
}

using Kernel = void (*kernels::KernelTable::*)(const kernels::SoftmaxRows&);
using GradientKernel = void (*kernels::KernelTable::*)(const kernels::SoftmaxGradientRows&);

/// Rows of a scale and a temperature, by the name of what they are beside usual ones.
struct Kind {
  const char* name;
  float scale, temperature;
};
constexpr Kind kUsual = {"", 1, 1};
constexpr Kind kOtherKinds[] = {{"_scaled", 0.5F, 1},
                                {"_negative", -1, 1},
                                {"_argmax", 1, 0},
                                {"_uniform", 1, std::numeric_limits<float>::infinity()}};

void forward(benchmark::State& state, const kernels::KernelTable& table, Kernel kernel,
             const Shape& shape, const Kind& kind, bool one_per_row) {
  const std::vector<float> x = normal(shape.elements(), 1);
  std::vector<float> y(x.size());
  kernels::SoftmaxRows rows;
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(float));
  rows.x = reinterpret_cast<const std::byte*>(x.data());
  rows.y = reinterpret_cast<std::byte*>(y.data());
  rows.rows = shape.rows;
  rows.length = shape.length;
  rows.x_stride = shape.length * size;
  rows.y_stride = one_per_row ? size : shape.length * size;
  rows.temperatures = {kind.scale, kind.temperature,
                       kernels::softmax_factor(kind.scale, kind.temperature)};
  for (auto _ : state) {
    (table.*kernel)(rows);
    benchmark::ClobberMemory();
  }
  count(state, shape, one_per_row ? 1 : 2);
}

void gradient(benchmark::State& state, const kernels::KernelTable& table, GradientKernel kernel,
              const Shape& shape) {
  const std::vector<float> y = normal(shape.elements(), 1);
  const std::vector<float> dy = normal(shape.elements(), 2);
  std::vector<float> dx(y.size());
  kernels::SoftmaxGradientRows rows;
  rows.y = reinterpret_cast<const std::byte*>(y.data());
  rows.dy = reinterpret_cast<const std::byte*>(dy.data());
  rows.dx = reinterpret_cast<std::byte*>(dx.data());
  rows.rows = shape.rows;
  rows.length = shape.length;
  rows.y_stride = rows.dy_stride = rows.dx_stride =
      shape.length * static_cast<std::ptrdiff_t>(sizeof(float));
  for (auto _ : state) {
    (table.*kernel)(rows);
    benchmark::ClobberMemory();
  }
  count(state, shape, 3);
}

void public_call(benchmark::State& state, std::string_view isa, const Shape& shape, int workers) {
  const std::vector<float> x = normal(shape.elements(), 1);
  std::vector<float> y(x.size());
  const ConstRows from{x.data(), shape.rows, shape.length, shape.length};
  const Rows to{y.data(), shape.rows, shape.length, shape.length};
  const SoftmaxOptions options{.isa = isa, .workers = workers};
  for (auto _ : state) {
    if (const Status status = softmax(from, to, options); !status) {
      state.SkipWithError(status.message().c_str());
      return;
    }
    benchmark::ClobberMemory();
  }
  count(state, shape, 2);
}

template <class Bench>
void add(const std::string& name, const Shape& shape, const char* isa, Bench bench) {
  benchmark::RegisterBenchmark((name + "/" + shape.name() + "/" + isa).c_str(), bench)
      ->UseRealTime();
}

void register_shape(const kernels::KernelTable& table, const Shape& shape) {
  using Table = kernels::KernelTable;
  const auto add_forward = [&](const std::string& name, Kernel kernel, bool one_per_row,
                               const Kind& kind = kUsual) {
    add(name + kind.name, shape, table.name,
        [&table, kernel, shape, kind, one_per_row](benchmark::State& state) {
          forward(state, table, kernel, shape, kind, one_per_row);
        });
  };
  const auto add_gradient = [&](const std::string& name, GradientKernel kernel) {
    add(name, shape, table.name, [&table, kernel, shape](benchmark::State& state) {
      gradient(state, table, kernel, shape);
    });
  };
  add_forward("softmax", &Table::softmax, false);
  add_forward("log_softmax", &Table::log_softmax, false);
  add_forward("log_sum_exp", &Table::log_sum_exp, true);
  for (const Kind& kind : kOtherKinds) add_forward("softmax", &Table::softmax, false, kind);
  add_gradient("softmax_gradient", &Table::softmax_gradient);
  add_gradient("log_softmax_gradient", &Table::log_softmax_gradient);
  for (const int workers : {1, 2}) {
    add("call/workers:" + std::to_string(workers), shape, table.name,
        [isa = table.name, shape, workers](benchmark::State& state) {
          public_call(state, isa, shape, workers);
        });
  }
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const heed::IsaInfo& isa : heed::isas()) {
    const heed::kernels::KernelTable* table = nullptr;
    if (!isa.supported || !heed::detail::select_kernels(isa.name, table).ok()) continue;
    for (const auto& shape : heed::bench::kShapes) heed::bench::register_shape(*table, shape);
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}

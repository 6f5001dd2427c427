// Everything that heed spreads over threads, each with enough work for several.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "heed/executor.h"

namespace heed::tests {

/// The workers that calls of operators ask for.
inline constexpr int kOperatorWorkers = 4;

struct Operator {
  std::string name;
  /// Runs it on the same inputs every time, and returns what it wrote. A failure fails the test.
  std::function<std::vector<float>(int workers, Executor* executor)> results;
};

const std::vector<Operator>& every_operator();

}  // namespace heed::tests

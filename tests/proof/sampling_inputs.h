// Rows of logits that tokens are drawn from in tests.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "tests/proof/inputs.h"

namespace heed::proof {

/// What logits a row holds.
enum class LogitKind {
  flat,
  sharp,
  few_values,
  masked,
  equal,
  close,
  misleading,  ///< flat, but that tokens which a sample of the row sees are unlikely
  all_masked,
  with_nan,
  with_inf
};
inline constexpr std::array kLogitKinds = {
    LogitKind::flat,     LogitKind::sharp,   LogitKind::few_values, LogitKind::masked,
    LogitKind::equal,    LogitKind::close,   LogitKind::misleading, LogitKind::all_masked,
    LogitKind::with_nan, LogitKind::with_inf};

std::string_view name_of(LogitKind kind);

/// Fills a row of at least one logit.
void fill_logits(LogitKind kind, Random& random, std::span<float> row);

}  // namespace heed::proof

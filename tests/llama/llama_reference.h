// The forward pass of llama2.c in double, from its definition.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/llama/model_file.h"

namespace heed::tests {

/// The logits of what follows these tokens.
std::vector<double> llama_reference(const ModelFile& model, std::span<const std::int32_t> ids);

}  // namespace heed::tests

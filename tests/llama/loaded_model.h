// A model from a file, and how sure it is of its tokens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "heed/executor.h"
#include "tools/llama/checkpoint.h"
#include "tools/llama/model.h"

namespace heed::tests {

/// Faults fail the test.
class LoadedModel {
 public:
  explicit LoadedModel(const std::string& path, const RunOptions& options = {.workers = 1});
  LoadedModel(const LoadedModel&) = delete;

  llama::Model& model() { return model_; }

  /// By how much the largest logit leads after the last of these tokens, read in one step.
  float lead(const std::vector<std::int32_t>& ids);
  /// The smallest lead of the text's tokens that follow its prompt. Logits of models with weights
  /// of size 1 are some units, which float32 moves by some 10⁻⁶ of that: beyond kClearLead neither
  /// the order of sums in matrix products, which differs with the number of their rows, nor the ISA
  /// can choose another token.
  float smallest_lead(std::vector<std::int32_t> ids, std::size_t prompt);
  static constexpr float kClearLead = 2e-4F;

 private:
  llama::Checkpoint checkpoint_;
  llama::Model model_;
};

}  // namespace heed::tests

// Continuing many texts at once: continuous batching (Yu et al., "Orca", OSDI 2022) of prompts in
// chunks (Agrawal et al., "Sarathi-Serve", OSDI 2024) over a paged cache, in which texts that begin
// alike share pages.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "heed/kv_cache.h"
#include "heed/status.h"
#include "tools/llama/checkpoint.h"
#include "tools/llama/model.h"
#include "tools/llama/sampler.h"

namespace heed::llama {

struct GenerationOptions {
  std::int64_t steps = 0;         ///< positions of each text, its prompt's included: 1 … context
  std::int64_t chunk = 256;       ///< tokens of prompts in one step, ≥ 1
  std::int64_t page_tokens = 64;  ///< ≥ 1
  std::int64_t running = 64;      ///< texts at once, ≥ 1
  /// Bytes of keys and values; the cache of one text is always made.
  std::int64_t cache_bytes = std::int64_t{1} << 30;
  DType kv_type = DType::f32;  ///< of the cache
  SamplerOptions sampler = {};
  std::vector<std::int32_t> end_tokens = {kBoundary};  ///< texts end before each of these
  /// Asked after each new token, the last of `ids`, whether the text ends with it. Empty: never.
  std::function<bool(std::size_t text, std::span<const std::int32_t> ids)> stops = {};
};

/// What ends a text.
enum class End {
  none,   ///< nothing yet
  token,  ///< an end token, which is no part of it
  stop,   ///< GenerationOptions::stops
  steps,  ///< as many positions as were asked for
  fault,  ///< Text::fault
};

/// A text: its prompt, which begins with kBoundary, and what follows it.
struct Text {
  std::vector<std::int32_t> ids;
  End end = End::none;
  Status fault = {};  ///< why it ended before its time, if it did
  /// The first tokens of the prompt, in whole pages, that had been read for other texts.
  std::int64_t found = 0;

  bool ended() const { return end != End::none; }
};

/// Texts that grow together. In each step those that have had their prompts get a token each, and
/// prompts are read in their order, chunk by chunk. Texts begin in their order, as soon as there
/// are the pages that they may come to need; a text whose prompt begins with whole pages that are
/// just being read for an earlier one waits for them, and shares them. Texts end before an end
/// token, where the options' `stops` says so, or when each of the `steps` positions has given a
/// token: with steps + 1 ids at most. A longer prompt is cut there.
class Generation {
 public:
  /// Begins. Both model and this must stay where they are.
  static Status create(Model& model, const GenerationOptions& options,
                       std::vector<std::vector<std::int32_t>> prompts, Generation& generation);

  /// One step of all texts that run; only until all have ended. A text that cannot go on, since its
  /// logits are not finite, ends with its fault, and the others go on.
  Status step();

  std::span<const Text> texts() const { return texts_; }
  bool ended() const { return running_.empty(); }

 private:
  /// A text that may have pages.
  struct Running {
    std::size_t text;
    std::int32_t sequence = -1;  ///< of the cache, where it has begun

    bool begun() const { return sequence >= 0; }
  };

  std::vector<std::int32_t>& ids_of(const Running& running) { return texts_[running.text].ids; }
  std::int64_t read_tokens(const Running& running) const;
  std::int64_t unread(const Running& running);
  void admit();
  bool waits(std::size_t place) const;
  Status begin_texts();
  Status gather();
  Status read(const Running& running, std::int64_t tokens);
  Status publish();
  Status pick_tokens();
  void grow(std::size_t text, std::int32_t token);
  Status retire();

  Model* model_ = nullptr;
  GenerationOptions options_;
  Sampler sampler_{{}};
  KvCache cache_;
  std::int64_t at_once_ = 0;  ///< texts that the cache has pages for
  std::vector<Text> texts_;
  std::size_t waiting_ = 0;  ///< the first text that has not begun
  std::vector<Running> running_;

  // Of one step.
  std::vector<StepTokens> sequences_;
  std::vector<std::int32_t> tokens_;
  std::vector<std::int64_t> wanted_;  ///< last tokens, which others follow
  std::vector<std::size_t> growing_;  ///< the texts of these
  std::vector<std::int64_t> slots_;
  std::vector<float> logits_;
  std::vector<std::int64_t> positions_;  ///< of the tokens that follow
  std::vector<std::int32_t> picked_;
};

}  // namespace heed::llama

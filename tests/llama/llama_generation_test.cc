// Generation: texts grow together, and become what each becomes alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/llama/llama_reference.h"
#include "tests/llama/loaded_model.h"
#include "tests/llama/model_file.h"
#include "tests/proof/inputs.h"
#include "tests/support/attention_run.h"
#include "tests/support/run_command.h"
#include "tools/llama/generation.h"

namespace heed::tests {
namespace {

using llama::Generation;
using llama::GenerationOptions;
using Ids = std::vector<std::int32_t>;

/// A model, by way of a file.
LoadedModel load(const ModelFile& file, const RunOptions& options = {.workers = 1}) {
  const Folder folder;
  write_bytes(folder.path("model.bin"), file.bytes());
  return LoadedModel(folder.path("model.bin"), options);
}

/// What becomes of prompts, and in how many steps.
struct Result {
  std::vector<Ids> texts;
  std::vector<std::size_t> order;  ///< in which they ended
  std::vector<std::int64_t> found;
  int steps = 0;
};

Result generate(llama::Model& model, const GenerationOptions& options, std::vector<Ids> prompts) {
  Generation generation;
  Status status = Generation::create(model, options, std::move(prompts), generation);
  Result result;
  std::vector<bool> ended(generation.texts().size());
  while (status.ok() && !generation.ended()) {
    status = generation.step();
    ++result.steps;
    for (std::size_t i = 0; i < ended.size(); ++i) {
      if (ended[i] || !generation.texts()[i].ended()) continue;
      ended[i] = true;
      result.order.push_back(i);
    }
  }
  EXPECT_TRUE(status.ok()) << status.message();
  for (const llama::Text& text : generation.texts()) {
    result.texts.push_back(text.ids);
    result.found.push_back(text.found);
  }
  return result;
}

using Chain = std::vector<std::pair<std::int32_t, std::int32_t>>;

// 2 → 3 → 4 → the end; 5 → 5.
ModelFile chain() { return chain_model(8, Chain{{1, 2}, {2, 3}, {3, 4}, {4, 1}, {5, 5}}); }

TEST(Generation, TextsEndBeforeTheBoundaryOrAfterTheSteps) {
  LoadedModel loaded = load(chain());
  const std::vector<Ids> prompts = {{1}, {1, 3}, {1, 5}, {1, 5, 5, 5}, {1, 5, 5, 5, 5}};
  const Result result = generate(loaded.model(), {.steps = 3}, prompts);
  EXPECT_EQ(result.texts,
            (std::vector<Ids>{{1, 2, 3, 4}, {1, 3, 4}, {1, 5, 5, 5}, {1, 5, 5, 5}, {1, 5, 5, 5}}));
  EXPECT_EQ(generate(loaded.model(), {.steps = 9}, {{1}}).texts.front(), (Ids{1, 2, 3, 4}));
}

// Token 6 is not a number: a text that comes to it ends there, and no other.
TEST(Generation, ATextWithoutProbabilitiesEndsAlone) {
  ModelFile file = chain_model(8, Chain{{1, 2}, {2, 3}, {3, 4}, {4, 1}, {5, 5}, {7, 6}});
  for (std::size_t x = 0; x < 8; ++x) file.weights[6 * 8 + x] = NAN;
  // The embedding of a text's own token alone is what its logits come from.
  LoadedModel loaded = load(file);
  Generation generation;
  ASSERT_TRUE(Generation::create(loaded.model(), {.steps = 5, .running = 3},
                                 {{1, 7}, {1}, {1, 6, 5}, {1, 5}}, generation)
                  .ok());
  while (!generation.ended()) ASSERT_TRUE(generation.step().ok());
  const auto& texts = generation.texts();
  const std::vector<Ids> expected = {{1, 7, 6}, {1, 2, 3, 4}, {1, 6, 5}, {1, 5, 5, 5, 5, 5}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(texts[i].ids, expected[i]);
    EXPECT_TRUE(texts[i].ended());
    EXPECT_EQ(texts[i].fault.ok(), i % 2 == 1);
  }
  EXPECT_EQ(texts[0].fault.message(),
            "the model gives no probabilities at position 3: its logits are not finite");
}

TEST(Generation, WaitsForThePagesOfOthers) {
  LoadedModel loaded = load(chain());
  const std::vector<Ids> prompts = {{1, 5}, {1}, {1, 3}, {1, 4}};
  const std::vector<Ids> expected = {{1, 5, 5, 5, 5, 5, 5}, {1, 2, 3, 4}, {1, 3, 4}, {1, 4}};
  const GenerationOptions options{.steps = 6, .page_tokens = 4};
  // Two pages of a token's keys and values of 8 numbers.
  constexpr std::int64_t text_bytes = 2 * 4 * 2 * 8 * sizeof(float);
  const auto expect = [&](const GenerationOptions& o, const std::vector<std::size_t>& order,
                          int steps) {
    const Result result = generate(loaded.model(), o, prompts);
    EXPECT_EQ(result.texts, expected);
    EXPECT_EQ(result.order, order);
    EXPECT_EQ(result.steps, steps);
  };
  expect(options, {3, 2, 1, 0}, 5);
  GenerationOptions two = options, one = options, bytes = options;
  two.running = 2;
  expect(two, {1, 0, 2, 3}, 6);  // 4 beside the first one's 5, then 2, and then 1
  one.running = 1;
  expect(one, {0, 1, 2, 3}, 5 + 4 + 2 + 1);
  bytes.cache_bytes = 3 * text_bytes - 1;
  expect(bytes, {1, 0, 2, 3}, 6);
  bytes.cache_bytes = 1;
  expect(bytes, {0, 1, 2, 3}, 5 + 4 + 2 + 1);
}

TEST(Generation, ReadsPromptsInChunks) {
  LoadedModel loaded = load(chain());
  const std::vector<Ids> prompts = {{1, 5, 5, 5, 5}, {1, 2}};
  const auto steps = [&](std::int64_t chunk) {
    const Result result = generate(loaded.model(), {.steps = 6, .chunk = chunk}, prompts);
    EXPECT_EQ(result.texts, (std::vector<Ids>{{1, 5, 5, 5, 5, 5, 5}, {1, 2, 3, 4}}));
    return result.steps;
  };
  EXPECT_EQ(steps(256), 3);
  EXPECT_EQ(steps(7), 3);
  // Five tokens and one of the second prompt; its other one; two more.
  EXPECT_EQ(steps(6), 4);
  // All but the last token of a prompt in chunks of one, the last beside the other's first; …
  EXPECT_EQ(steps(1), 4 + 4);
}

/// Random models: of several shapes, with the classifier apart and not.
std::vector<ModelFile> random_models() {
  ModelFile grouped{.vocab_size = 40}, many{.dim = 24, .heads = 6, .kv_heads = 6, .vocab_size = 40};
  many.classifier_apart = true;
  return {random_model(grouped, 5), random_model(many, 6)};
}

/// Prompts of many lengths.
std::vector<Ids> random_prompts() {
  proof::Random random(8);
  std::vector<Ids> prompts;
  for (const int length : {1, 3, 20, 9, 2, 33}) {
    Ids& prompt = prompts.emplace_back(Ids{1});
    while (std::ssize(prompt) < length) {
      prompt.push_back(static_cast<std::int32_t>(2 + random.below(38)));
    }
  }
  return prompts;
}

// Matrix products may differ in their last bits with the number of rows, and logits with them; the
// next test shows that no token depends on it.
TEST(Generation, IsTheSameHoweverTextsAreBatched) {
  for (const ModelFile& file : random_models()) {
    for (const std::string_view isa : supported_isas()) {
      LoadedModel loaded = load(file, {.isa = isa, .workers = 2});
      for (const float temperature : {0.0F, 0.8F}) {
        GenerationOptions options{.steps = 40,
                                  .sampler = {.rule = {.temperature = temperature}, .seed = 5}};
        std::vector<Ids> alone;
        for (const Ids& prompt : random_prompts()) {
          alone.push_back(generate(loaded.model(), options, {prompt}).texts.front());
        }
        for (const std::int64_t page : {1, 7, 64}) {
          for (const std::int64_t chunk : {1, 6, 256}) {
            for (const std::int64_t running : {2, 64}) {
              options.page_tokens = page, options.chunk = chunk, options.running = running;
              EXPECT_EQ(generate(loaded.model(), options, random_prompts()).texts, alone)
                  << isa << ", pages of " << page << ", chunks of " << chunk << ", " << running
                  << " at once, temperature " << temperature;
            }
          }
        }
      }
    }
  }
}

/// Prompts that begin with the first 17 tokens of a text, or fewer, and go on in their own ways.
std::vector<Ids> prompts_that_begin_alike() {
  proof::Random random(9);
  Ids all = {1};
  while (all.size() < 17) all.push_back(static_cast<std::int32_t>(2 + random.below(38)));
  std::vector<Ids> prompts;
  for (const auto& [alike, more] :
       std::vector<std::pair<int, int>>{{17, 3}, {17, 1}, {16, 0}, {9, 4}, {3, 2}, {17, 0}}) {
    Ids& prompt = prompts.emplace_back(all.begin(), all.begin() + alike);
    for (int i = 0; i < more; ++i) prompt.push_back(static_cast<std::int32_t>(39 - prompts.size()));
  }
  return prompts;
}

// What texts have in common is read for the first of them.
TEST(Generation, TextsThatBeginAlikeSharePages) {
  LoadedModel loaded = load(random_models().front());
  const std::vector<Ids> prompts = prompts_that_begin_alike();
  const std::vector<std::int64_t> found = {0, 16, 12,
                                           8, 0,  16};  // of whole pages, but for the last
  for (const DType type : {DType::f32, DType::f16, DType::int8}) {
    GenerationOptions options{.steps = 40, .page_tokens = 4, .kv_type = type};
    std::vector<Ids> alone;
    for (const Ids& prompt : prompts) {
      const Result result = generate(loaded.model(), options, {prompt});
      EXPECT_EQ(result.found, std::vector<std::int64_t>{0});
      alone.push_back(result.texts.front());
    }
    for (const std::int64_t chunk : {1, 5, 256}) {
      options.chunk = chunk;
      const Result result = generate(loaded.model(), options, prompts);
      EXPECT_EQ(result.texts, alone) << "chunks of " << chunk;
      EXPECT_EQ(result.found, found) << "chunks of " << chunk;
    }
    options.running = 1;  // texts that have ended leave their pages, as long as there are others
    const Result result = generate(loaded.model(), options, prompts);
    EXPECT_EQ(result.texts, alone);
    EXPECT_TRUE(std::equal(found.begin(), found.begin() + 4, result.found.begin()));
  }
}

// One step for the first prompt and for what nobody waits for; another one for what is left of the
// others, beside the first text's second token.
TEST(Generation, WaitsForWhatIsBeingRead) {
  LoadedModel loaded = load(chain());
  const std::vector<Ids> prompts = {{1, 5, 5, 5, 5, 5}, {1, 5, 5, 5, 5, 2}, {1, 3}};
  const auto steps = [&](std::int64_t page) {
    const Result result =
        generate(loaded.model(), {.steps = 7, .page_tokens = page, .running = 3}, prompts);
    EXPECT_EQ(result.texts,
              (std::vector<Ids>{{1, 5, 5, 5, 5, 5, 5, 5}, {1, 5, 5, 5, 5, 2, 3, 4}, {1, 3, 4}}));
    EXPECT_EQ(result.order, page == 4 ? (std::vector<std::size_t>{0, 2, 1})
                                      : (std::vector<std::size_t>{0, 1, 2}));
    return std::pair(result.steps, result.found[1]);
  };
  EXPECT_EQ(steps(64), (std::pair<int, std::int64_t>(2, 0)));
  EXPECT_EQ(steps(4), (std::pair<int, std::int64_t>(3, 4)));
  EXPECT_EQ(steps(1), (std::pair<int, std::int64_t>(3, 5)));
  // A prompt's last token is read in any case, and so nobody waits for the page that it ends.
  EXPECT_EQ(
      generate(loaded.model(), {.steps = 7, .page_tokens = 4}, {prompts[0], {1, 5, 5, 5}}).steps,
      4);
}

// Every token is the one that the float64 reference finds.
TEST(Generation, FollowsTheReference) {
  for (const ModelFile& file : random_models()) {
    LoadedModel loaded = load(file);
    for (const Ids& prompt : random_prompts()) {
      Ids ids = generate(loaded.model(), {.steps = 40}, {prompt}).texts.front();
      EXPECT_GT(ids.size(), prompt.size());
      while (ids.size() > prompt.size()) {
        const std::int32_t token = ids.back();
        ids.pop_back();
        const std::vector<double> logits = llama_reference(file, ids);
        ASSERT_EQ(std::ranges::max_element(logits) - logits.begin(), token) << ids.size();
      }
    }
  }
}

TEST(Generation, OfTheseModelsHasClearLeads) {
  for (const ModelFile& file : random_models()) {
    LoadedModel loaded = load(file);
    for (const Ids& prompt : random_prompts()) {
      const Ids ids = generate(loaded.model(), {.steps = 40}, {prompt}).texts.front();
      EXPECT_GT(loaded.smallest_lead(ids, prompt.size()), LoadedModel::kClearLead);
    }
  }
}

}  // namespace
}  // namespace heed::tests

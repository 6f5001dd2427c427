#include "tests/schedule/batches.h"

#include <utility>

#include "tests/proof/inputs.h"

namespace heed::tests {
namespace {

using detail::Schedule;
using detail::Scheduler;
using detail::Visibility;
using detail::Work;
using proof::Random;

}  // namespace

std::vector<Visibility> BatchShape::masks() const {
  std::vector<Visibility> masks;
  for (std::size_t b = 0; b < queries.size(); ++b) {
    masks.push_back({.queries = queries[b],
                     .keys = keys[b],
                     .group = query_heads / kv_heads,
                     .window_left = kAll,
                     .window_right = causal ? 0 : kAll});
  }
  return masks;
}

BatchShape llama(std::string name, std::vector<std::int64_t> queries,
                 std::vector<std::int64_t> keys) {
  return {std::move(name), 32, 8, 128, true, std::move(queries), std::move(keys)};
}

BatchShape prompts(std::string name, const std::vector<std::int64_t>& lengths) {
  return llama(std::move(name), lengths, lengths);
}

BatchShape decodes(std::size_t sequences) {
  Random random(sequences);
  std::vector<std::int64_t> keys(sequences);
  for (std::int64_t& length : keys) length = 1 + random.below(8192);
  return llama("decode of " + std::to_string(sequences), std::vector<std::int64_t>(sequences, 1),
               keys);
}

BatchShape shared_prefixes(std::int32_t texts, std::int32_t questions) {
  Random random(7);
  BatchShape batch =
      llama(std::to_string(texts) + " texts, " + std::to_string(questions) + " questions", {}, {});
  for (std::int32_t text = 0; text < texts; ++text) {
    const std::int64_t length = 512 + 256 * (1 + random.below(12));
    for (std::int32_t question = 0; question < questions; ++question) {
      batch.queries.push_back(1 + random.below(3));
      batch.keys.push_back(length + 20 + random.below(900));
      batch.shared.push_back(static_cast<std::int32_t>(question > 0 ? length / 256 : 2));
    }
  }
  batch.shared[0] = 0;
  return batch;
}

std::vector<BatchShape> real_batches() {
  const std::vector<std::int64_t> documents = {47, 64,  96,  640, 256, 1024, 128, 180,
                                               32, 900, 333, 777, 512, 111,  384, 200};
  std::vector<BatchShape> batches = {
      {"documents", 12, 12, 64, false, documents, documents},
      prompts("ragged prompts", documents),
      llama("one long decode", {1}, {131072}),
      llama("decode", {1}, {4096}),
      llama("speculation", {8}, {4096}),
      llama("step", {256, 256, 1, 1, 1, 1, 1, 1}, {1024, 1792, 512, 4096, 700, 900, 3000, 640}),
      llama("chunk beside a long decode", {512, 1, 1, 1}, {8192, 100000, 300, 5000}),
      {"encoder of 512", 12, 12, 64, false, {512}, {512}},
      {"encoder of 1024", 12, 12, 64, false, {1024}, {1024}},
      {"encoder of 2048", 16, 16, 64, false, {2048}, {2048}},
  };
  for (const std::int64_t length : {512, 1024, 2048, 4096, 32768}) {
    batches.push_back(prompts("prompt of " + std::to_string(length), {length}));
  }
  for (const std::size_t n : {1, 2, 3, 5, 8, 13, 16, 32, 64, 100, 128, 256}) {
    batches.push_back(decodes(n));
  }
  batches.push_back(shared_prefixes(1, 64));
  batches.push_back(shared_prefixes(4, 16));
  batches.push_back(shared_prefixes(20, 3));
  return batches;
}

Work work_on(const BatchShape& batch, const std::vector<Visibility>& masks, std::int32_t lanes) {
  return {.sequences = masks,
          .shared = batch.shared,
          .kv_heads = batch.kv_heads,
          .cost = {lanes, batch.head_dim, batch.head_dim},
          .block_rows = 3 * lanes,
          .item_rows = 384};
}

Schedule schedule_of(const Work& work) {
  Schedule schedule;
  Scheduler().schedule(work, schedule);
  return schedule;
}

Schedule schedule_of(const BatchShape& batch, int workers) {
  const std::vector<Visibility> masks = batch.masks();
  Work work = work_on(batch, masks, 16);
  work.workers = workers;
  return schedule_of(work);
}

}  // namespace heed::tests

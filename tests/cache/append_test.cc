// append: every element of new keys and values is in its place, and nothing else has changed.
#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "heed/kv_cache.h"
#include "tests/proof/inputs.h"
#include "tests/proof/numbers.h"
#include "tests/support/attention_run.h"
#include "tests/support/softmax_matrix.h"

namespace heed::tests {
namespace {

using proof::GuardedBuffer;
using proof::Random;
using Touching = GuardedBuffer::Touching;

using proof::kNan;

/// Keys and values in one buffer or in two, and where the values begin in a common one.
struct Places {
  const char* name;
  PagedLayout layout;
  std::int64_t values_at = -1;  ///< −1: in a buffer of their own
};

/// All the ways that this file knows of to lay pages out.
std::vector<Places> places(std::int64_t pages, std::int64_t page_tokens, std::int64_t heads,
                           std::int64_t d, std::int64_t dv) {
  const PagedLayout tokens = PagedLayout::bshd(pages, page_tokens, heads, d, dv);
  const PagedLayout by_head = PagedLayout::bhsd(pages, page_tokens, heads, d, dv);
  PagedLayout interleaved = tokens;  // each head's key, then its value
  interleaved.k = interleaved.v = PageStrides::bshd(page_tokens, heads, d + dv);
  PagedLayout padded = tokens;
  padded.k = {page_tokens * (heads * (d + 3) + 1) + 5, heads * (d + 3) + 1, d + 3};
  padded.v = {dv + 1, pages * (dv + 1), pages * page_tokens * (dv + 1)};
  return {{"bshd", tokens},
          {"bhsd", by_head},
          {"bshd together", PagedLayout::together(tokens), tokens.k.page},
          {"bhsd together", PagedLayout::together(by_head), by_head.k.page},
          {"interleaved", interleaved, d},
          {"padded", padded}};
}

/// Offset of an element, as PageStrides says.
std::int64_t offset(const PagedLayout& layout, const PageStrides& strides, std::int64_t slot,
                    std::int64_t head, std::int64_t x) {
  return slot / layout.page_tokens * strides.page + slot % layout.page_tokens * strides.token +
         head * strides.head + x;
}

/// A pool between guard pages, and what it ought to hold. Elements are NaN until they are written.
class Pool {
 public:
  Pool(const Places& places, Touching touching)
      : layout_(places.layout), values_at_(places.values_at) {
    const std::int64_t last = layout_.pages * layout_.page_tokens - 1, head = layout_.kv_heads - 1;
    const std::int64_t k = offset(layout_, layout_.k, last, head, layout_.head_dim);
    const std::int64_t v = offset(layout_, layout_.v, last, head, layout_.value_head_dim);
    const bool together = values_at_ >= 0;
    buffers_.emplace_back(static_cast<std::size_t>(together ? std::max(k, values_at_ + v) : k),
                          touching);
    if (!together) buffers_.emplace_back(static_cast<std::size_t>(v), touching);
    for (const GuardedBuffer& buffer : buffers_) expected_.emplace_back(buffer.size(), kNan);
  }

  KvPages pages() {
    float* const k = buffers_[0].data();
    return {k, values_at_ >= 0 ? k + values_at_ : buffers_[1].data()};
  }
  void expect_key(std::int64_t slot, std::int64_t head, std::span<const float> key) {
    std::ranges::copy(key, expected_[0].begin() + offset(layout_, layout_.k, slot, head, 0));
  }
  void expect_value(std::int64_t slot, std::int64_t head, std::span<const float> value) {
    const std::int64_t at = offset(layout_, layout_.v, slot, head, 0);
    std::ranges::copy(value, expected_.back().begin() + std::max<std::int64_t>(values_at_, 0) + at);
  }
  void check() const {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      expect_same_bits(buffers_[i].span(), expected_[i]);
    }
  }

 private:
  PagedLayout layout_;
  std::int64_t values_at_;
  std::vector<GuardedBuffer> buffers_;
  std::vector<std::vector<float>> expected_;
};

/// New keys or values between guard pages: a row per token and head.
Matrix new_rows(std::int64_t tokens, std::int64_t heads, std::int64_t d, Random& random) {
  Matrix rows(tokens * heads, d, d + 2);
  rows.fill([&] { return static_cast<float>(random.normal()); });
  return rows;
}

Layout layout_of(Matrix& rows, std::int64_t heads) {
  return {0, heads * rows.read().stride, rows.read().stride};
}

class AppendTest : public testing::Test {
 protected:
  AppendTest()
      : seed_(std::random_device()()),
        random_(seed_),
        trace_(__FILE__, __LINE__, testing::Message() << "seed " << seed_) {}

  /// Different slots of a pool in any order; about one in four negative.
  std::vector<std::int64_t> slots(std::int64_t tokens, std::int64_t all) {
    std::vector<std::int64_t> list(static_cast<std::size_t>(all));
    std::iota(list.begin(), list.end(), 0);
    for (std::size_t i = list.size(); i > 1; --i) {
      std::swap(list[i - 1],
                list[static_cast<std::size_t>(random_.below(static_cast<std::int64_t>(i)))]);
    }
    list.resize(static_cast<std::size_t>(tokens));
    for (std::int64_t& slot : list) {
      if (random_.below(4) == 0) slot = -1 - random_.below(3);
    }
    return list;
  }

  std::uint64_t seed_;
  Random random_;
  testing::ScopedTrace trace_;
};

TEST_F(AppendTest, EveryLayoutAndDimension) {
  constexpr std::int64_t heads = 3, pages = 7;
  for (const auto& [d, dv] : {std::pair<std::int64_t, std::int64_t>{1, 1},
                              {5, 7},
                              {16, 16},
                              {33, 2},
                              {64, 64},
                              {80, 130},
                              {512, 3}}) {
    for (const std::int64_t page_tokens : {1, 3, 16}) {
      for (const Places& where : places(pages, page_tokens, heads, d, dv)) {
        for (const Touching touching : {Touching::end, Touching::start}) {
          for (const std::string_view isa : supported_isas()) {
            SCOPED_TRACE(testing::Message() << where.name << ", dims " << d << " and " << dv
                                            << ", page_tokens " << page_tokens << " on " << isa);
            Pool pool(where, touching);
            const std::int64_t tokens = 1 + random_.below(pages * page_tokens);
            Matrix k = new_rows(tokens, heads, d, random_),
                   v = new_rows(tokens, heads, dv, random_);
            const std::vector<std::int64_t> to = slots(tokens, pages * page_tokens);
            const NewTokens fresh{k.write().data, v.write().data, layout_of(k, heads),
                                  layout_of(v, heads), to};
            const Status status = append(where.layout, pool.pages(), fresh, {.isa = isa});
            ASSERT_TRUE(status.ok()) << status.message();
            for (std::int64_t i = 0; i < tokens * heads; ++i) {
              const std::int64_t slot = to[static_cast<std::size_t>(i / heads)];
              if (slot < 0) continue;
              pool.expect_key(slot, i % heads, k.row(i));
              pool.expect_value(slot, i % heads, v.row(i));
            }
            pool.check();
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST_F(AppendTest, RotatesKeysOnTheirWay) {
  constexpr std::int64_t heads = 2, pages = 5, page_tokens = 4, tokens = 11;
  for (const RotaryPairs pairs : {RotaryPairs::adjacent, RotaryPairs::halves}) {
    for (const auto& [d, rotary_dim] :
         {std::pair<std::int64_t, std::int64_t>{2, 2}, {7, 4}, {64, 64}, {80, 32}, {130, 130}}) {
      Rotary rotary;
      ASSERT_TRUE(Rotary::create({rotary_dim, pairs, 10000.0, 1.0, 100}, rotary).ok());
      for (const Places& where : places(pages, page_tokens, heads, d, d)) {
        for (const std::string_view isa : supported_isas()) {
          SCOPED_TRACE(testing::Message() << where.name << ", dims " << d << " on " << isa);
          Pool pool(where, Touching::end);
          Matrix k = new_rows(tokens, heads, d, random_), v = new_rows(tokens, heads, d, random_);
          Matrix rotated(tokens * heads, d);
          const std::vector<std::int64_t> to = slots(tokens, pages * page_tokens);
          std::vector<std::int64_t> at(tokens), valid(tokens);
          for (std::size_t i = 0; i < at.size(); ++i) {
            valid[i] = random_.below(100);
            at[i] = to[i] < 0 ? -7 : valid[i];  // where nothing is written no position is needed
          }
          ASSERT_TRUE(rotate(rotary,
                             {k.write().data, rotated.write().data, heads, d, layout_of(k, heads),
                              layout_of(rotated, heads), valid},
                             {.isa = isa})
                          .ok());
          const NewTokens fresh{k.write().data,
                                v.write().data,
                                layout_of(k, heads),
                                layout_of(v, heads),
                                to,
                                &rotary,
                                at};
          const Status status = append(where.layout, pool.pages(), fresh, {.isa = isa});
          ASSERT_TRUE(status.ok()) << status.message();
          for (std::int64_t i = 0; i < tokens * heads; ++i) {
            const std::int64_t slot = to[static_cast<std::size_t>(i / heads)];
            if (slot < 0) continue;
            pool.expect_key(slot, i % heads, rotated.row(i));
            pool.expect_value(slot, i % heads, v.row(i));
          }
          pool.check();
          if (HasFailure()) return;
        }
      }
    }
  }
}

// Contiguous tensors need no layout, and a projection's [token, q k v] needs no copy.
TEST_F(AppendTest, DefaultAndInterleavedInputs) {
  constexpr std::int64_t heads = 2, d = 6, tokens = 5, width = 10 * d;
  const PagedLayout layout = PagedLayout::bshd(2, 3, heads, d);
  std::vector<float> qkv(tokens * width), k, v, plain_k(72), plain_v(72), from_k(72), from_v(72);
  for (float& x : qkv) x = static_cast<float>(random_.normal());
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto token = qkv.begin() + t * width;
    k.insert(k.end(), token + 6 * d, token + 8 * d);
    v.insert(v.end(), token + 8 * d, token + 10 * d);
  }
  const std::vector<std::int64_t> to = {4, 0, 3, 5, 1};
  const Layout strided{0, width, d};
  ASSERT_TRUE(
      append(layout, {plain_k.data(), plain_v.data()}, {.k = k.data(), .v = v.data(), .slots = to})
          .ok());
  ASSERT_TRUE(append(layout, {from_k.data(), from_v.data()},
                     {.k = qkv.data() + 6 * d,
                      .v = qkv.data() + 8 * d,
                      .k_layout = strided,
                      .v_layout = strided,
                      .slots = to})
                  .ok());
  EXPECT_EQ(plain_k, from_k);
  EXPECT_EQ(plain_v, from_v);
  EXPECT_TRUE(std::equal(k.begin(), k.begin() + heads * d, plain_k.begin() + 4 * heads * d));
}

TEST_F(AppendTest, WorkersAndBatchesLeaveTheSameBits) {
  constexpr std::int64_t heads = 4, d = 48, tokens = 700;
  const PagedLayout layout = PagedLayout::bhsd(50, 16, heads, d);
  Rotary rotary;
  ASSERT_TRUE(Rotary::create({.rotary_dim = 36, .positions = tokens}, rotary).ok());
  const std::size_t pool = 50 * 16 * heads * d;
  std::vector<float> k(tokens * heads * d), v(k.size());
  for (float& x : k) x = static_cast<float>(random_.normal());
  for (float& x : v) x = static_cast<float>(random_.normal());
  const std::vector<std::int64_t> to = slots(tokens, 800);
  std::vector<std::int64_t> at(tokens);
  std::iota(at.begin(), at.end(), 0);
  for (const std::string_view isa : supported_isas()) {
    std::vector<float> all_k(pool), all_v(pool), one_k(pool), one_v(pool);
    const NewTokens fresh{k.data(), v.data(), {}, {}, to, &rotary, at};
    const RunOptions options{.isa = isa, .workers = 3};
    ASSERT_TRUE(append(layout, {all_k.data(), all_v.data()}, fresh, options).ok());
    for (std::size_t i = 0; i < tokens; ++i) {
      const NewTokens single{
          &k[i * heads * d], &v[i * heads * d],          {}, {}, std::span(to).subspan(i, 1),
          &rotary,           std::span(at).subspan(i, 1)};
      ASSERT_TRUE(append(layout, {one_k.data(), one_v.data()}, single, options).ok());
    }
    expect_same_bits(all_k, one_k);
    expect_same_bits(all_v, one_v);
  }
}

TEST_F(AppendTest, LayersMayBeWrittenAtOnce) {
  constexpr std::int64_t heads = 2, d = 64, tokens = 300, layers = 3;
  KvCache cache;
  ASSERT_TRUE(
      KvCache::create(
          {.layout = PagedLayout::bshd(20, 16, heads, d), .layers = layers, .sequences = 1}, cache)
          .ok());
  std::int32_t id = -1;
  std::vector<std::int64_t> to(tokens);
  ASSERT_TRUE(cache.add(id).ok());
  ASSERT_TRUE(cache.extend(id, to).ok());
  const std::vector<float> k(tokens * heads * d, 1.5F), v(k.size(), 2.5F);
  std::vector<std::thread> threads;
  std::vector<char> fine(layers, 0);
  for (std::int64_t i = 0; i < layers; ++i) {
    threads.emplace_back([&, i] {
      fine[static_cast<std::size_t>(i)] =
          append(cache.layout(), cache.layer(i), {.k = k.data(), .v = v.data(), .slots = to}).ok();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::int64_t i = 0; i < layers; ++i) {
    EXPECT_TRUE(fine[static_cast<std::size_t>(i)]);
    const KvPages pages = cache.layer(i);
    const float* const k_pages = pages.k.as<float>();
    const float* const v_pages = pages.v.as<float>();
    EXPECT_TRUE(std::all_of(k_pages, k_pages + k.size(), [](float x) { return x == 1.5F; }));
    EXPECT_TRUE(std::all_of(v_pages, v_pages + v.size(), [](float x) { return x == 2.5F; }));
  }
}

TEST_F(AppendTest, NoTokens) { EXPECT_TRUE(append(PagedLayout::bshd(1, 1, 1, 1), {}, {}).ok()); }

}  // namespace
}  // namespace heed::tests

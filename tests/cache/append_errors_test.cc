// What append refuses, and that it says why and changes nothing.
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "heed/kv_cache.h"
#include "tests/support/attention_run.h"
#include "tests/support/this_build.h"

namespace heed::tests {
namespace {

constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();

class AppendErrors : public testing::Test {
 protected:
  AppendErrors() {
    k_pages_.fill(-5.0F);
    v_pages_.fill(-5.0F);
  }

  void expect_refused(const std::string& message, const RunOptions& options = {}) {
    SCOPED_TRACE(message);
    const Status status = append(layout_, pages_, tokens_, options);
    EXPECT_EQ(status.code(), StatusCode::invalid_argument);
    EXPECT_EQ(status.message(), message);
    for (const float v : k_pages_) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
    for (const float v : v_pages_) ASSERT_EQ(v, -5.0F) << "a refused call wrote";
  }

  std::array<float, 60> k_pages_{}, v_pages_{};
  std::array<float, 30> k_{}, v_{};
  std::array<std::int64_t, 3> slots_ = {0, 5, -1}, positions_ = {0, 1, 2};
  PagedLayout layout_ = PagedLayout::bshd(2, 3, 2, 5);
  KvPages pages_{k_pages_.data(), v_pages_.data()};
  NewTokens tokens_{.k = k_.data(), .v = v_.data(), .slots = slots_};
};

TEST_F(AppendErrors, NothingIsWrongWithTheRest) {
  EXPECT_TRUE(append(layout_, pages_, tokens_).ok());
}

TEST_F(AppendErrors, Slots) {
  for (const std::int64_t wrong : {std::int64_t{6}, std::int64_t{7}, kHuge}) {
    slots_[1] = wrong;
    expect_refused("slots[1] (" + std::to_string(wrong) +
                   ") must be below 6: there are 2 pages of 3 tokens");
  }
}

TEST_F(AppendErrors, SlotsThatAreThereTwice) {
  for (const auto& slots :
       {std::array<std::int64_t, 3>{5, 2, 5}, {2, 5, 5}, {4, 5, 4}, {5, 4, 5}}) {
    slots_ = slots;
    const std::int64_t twice = slots[2];
    expect_refused("slots: " + std::to_string(twice) + " is there twice; a slot takes one token");
  }
  slots_ = {-1, 5, -1};
  EXPECT_TRUE(append(layout_, pages_, tokens_).ok());
}

TEST_F(AppendErrors, PagesThatOverlap) {
  pages_.v = pages_.k;
  expect_refused("pages.v must not overlap pages.k");
  pages_.v = pages_.k + 59;
  expect_refused("pages.v must not overlap pages.k");
  pages_.v = v_pages_.data();
  tokens_.k = v_pages_.data() + 30;
  expect_refused("pages.v must not overlap k");
  tokens_.k = k_.data();
  tokens_.v = k_pages_.data() + 59;
  expect_refused("pages.k must not overlap v");
  tokens_.v = v_.data();
  tokens_.slots = {reinterpret_cast<const std::int64_t*>(k_pages_.data()), 1};
  EXPECT_FALSE(append(layout_, pages_, tokens_).ok());
  tokens_.slots = slots_;
  void* const odd = reinterpret_cast<std::byte*>(k_pages_.data()) + 1;
  pages_.k = static_cast<float*>(odd);
  expect_refused("pages.k must begin at a multiple of 4 bytes, as its elements do");
}

// Keys and values in one buffer, page by page, token by token or head by head.
TEST_F(AppendErrors, PagesThatInterleaveAreFine) {
  std::array<float, 120> both{};
  k_.fill(1.0F);
  v_.fill(2.0F);
  const auto expect_both = [&](const PagedLayout& layout, std::int64_t values) {
    both.fill(-5.0F);
    const Status status = append(layout, {both.data(), both.data() + values}, tokens_);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(std::ranges::count(both, 1.0F), 20);
    EXPECT_EQ(std::ranges::count(both, 2.0F), 20);
  };
  expect_both(PagedLayout::together(layout_), 30);
  layout_.k = layout_.v = {60, 20, 5};
  expect_both(layout_, 10);
  layout_.k = layout_.v = {60, 20, 10};
  expect_both(layout_, 5);
  EXPECT_FALSE(append(layout_, {both.data(), both.data() + 4}, tokens_).ok());
}

// More stretches than are compared: the slot gets elements of either token, and no other changes.
TEST_F(AppendErrors, DuplicatesAmongManyStretchesDoNoHarm) {
  constexpr std::int64_t count = 3000;
  const PagedLayout layout = PagedLayout::bshd(2 * count, 1, 1, 5);
  std::vector<float> k(2 * count * 5, -5.0F), v(2 * count * 5, -5.0F), x(count * 5);
  std::vector<std::int64_t> slots(count);
  for (std::int64_t i = 0; i < count; ++i) {
    slots[static_cast<std::size_t>(i)] = 2 * i;
    std::fill_n(x.begin() + i * 5, 5, static_cast<float>(i));
  }
  slots[2500] = slots[10];
  const NewTokens tokens{.k = x.data(), .v = x.data(), .slots = slots};
  EXPECT_TRUE(append(layout, {k.data(), v.data()}, tokens, {.workers = 1}).ok());
  for (std::int64_t i = 0; i < 2 * count * 5; ++i) {
    const std::int64_t token = i / 10;
    const auto number = static_cast<float>(token);
    const bool written = i / 5 % 2 == 0 && token != 2500;
    const float element = k[static_cast<std::size_t>(i)];
    ASSERT_TRUE(element == (written ? number : -5.0F) || (i / 5 == 20 && element == 2500.0F)) << i;
  }
}

TEST_F(AppendErrors, Pointers) {
  tokens_.k = nullptr;
  expect_refused("k must not be null");
  tokens_.k = k_.data();
  tokens_.v = nullptr;
  expect_refused("v must not be null");
  tokens_.v = v_.data();
  pages_.k = nullptr;
  expect_refused("pages.k must not be null");
  pages_.k = k_pages_.data();
  pages_.v = nullptr;
  expect_refused("pages.v must not be null");
}

TEST_F(AppendErrors, Rotation) {
  Rotary rotary;
  tokens_.positions = positions_;
  expect_refused("positions has 3 entries; without rotary it must be empty");
  tokens_.rotary = &rotary;
  expect_refused("rotary must be made by Rotary::create first");
  ASSERT_TRUE(Rotary::create({.rotary_dim = 6, .positions = 2}, rotary).ok());
  expect_refused("head_dim (5) must be at least rotary_dim (6)");
  ASSERT_TRUE(Rotary::create({.rotary_dim = 4, .positions = 2}, rotary).ok());
  tokens_.positions = std::span(positions_).first(2);
  expect_refused("positions has 2 entries; it must have one for each of 3 tokens");
  tokens_.positions = positions_;
  positions_[1] = 2;
  expect_refused("positions[1] (2) must be from 0 to 1, the last position of rotary");
  positions_[1] = -1;
  expect_refused("positions[1] (-1) must be from 0 to 1, the last position of rotary");
}

TEST_F(AppendErrors, Options) {
  expect_refused("workers (5000) must be from 0 to 4096", {.workers = 5000});
  expect_refused("isa (\"sse9\") must be one of " + std::string(kTestIsaNames), {.isa = "sse9"});
}

TEST_F(AppendErrors, Inputs) {
  tokens_.k_layout = Layout{0, kHuge / 4, 5};
  expect_refused(
      "the layout of k (sequence_stride 0, token_stride 2305843009213693951, head_stride 5) "
      "reaches beyond the address space");
  tokens_.k_layout = {};
  tokens_.v_layout = Layout{0, 10, -kHuge};
  expect_refused(
      "the layout of v (sequence_stride 0, token_stride 10, head_stride -9223372036854775807) "
      "reaches beyond the address space");
}

TEST_F(AppendErrors, ShapesOfPages) {
  const std::string counts = " must be from 1 to 2147483647";
  const PagedLayout valid = layout_;
  for (const std::int64_t wrong : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 31}) {
    std::string rest = " (";
    rest.append(std::to_string(wrong)).append(")").append(counts);
    layout_.pages = wrong;
    expect_refused("layout.pages" + rest);
    layout_ = valid;
    layout_.page_tokens = wrong;
    expect_refused("layout.page_tokens" + rest);
    layout_ = valid;
    layout_.kv_heads = wrong;
    expect_refused("layout.kv_heads" + rest);
    layout_ = valid;
  }
  for (const std::int64_t wrong : {0, -1, 1025}) {
    const std::string text = " (" + std::to_string(wrong) + ") must be from 1 to 1024";
    layout_.head_dim = wrong;
    expect_refused("layout.head_dim" + text);
    layout_ = valid;
    layout_.value_head_dim = wrong;
    expect_refused("layout.value_head_dim" + text);
    layout_ = valid;
  }
}

TEST_F(AppendErrors, StridesOfPages) {
  const PagedLayout valid = layout_;
  layout_.k.token = -10;
  expect_refused("layout.k.token (-10) must be 0 or more");
  layout_ = valid;
  layout_.v.page = 29;
  expect_refused(
      "the layout of v (page 29, token 10, head 5) lets elements overlap: a stride of 29 must be "
      "at least 30");
  layout_.v.page = kHuge / 2;
  expect_refused(
      "the layout of v (page 4611686018427387903, token 10, head 5) reaches beyond the address "
      "space");
  layout_ = valid;
  layout_.k.head = 4;
  expect_refused(
      "the layout of k (page 30, token 10, head 4) lets elements overlap: a stride of 4 must be "
      "at least 5");
  layout_ = PagedLayout::bshd(2, 1, 2, 5);  // a stride that is not used may be anything
  layout_.k.token = layout_.v.token = 0;
  slots_ = {0, 1, -1};
  EXPECT_TRUE(append(layout_, pages_, tokens_).ok());
}

}  // namespace
}  // namespace heed::tests

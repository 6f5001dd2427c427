#include <algorithm>
#include <initializer_list>
#include <limits>
#include <new>
#include <numeric>
#include <utility>

#include "heed/kv_cache.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/cache/prefix_table.h"

namespace heed {
namespace {

using detail::guarded;
using detail::invalid;

template <class... Parts>
Status exhausted(const Parts&... parts) {
  return detail::failure(StatusCode::exhausted, parts...);
}

/// count − 1 … 0: taken from the end, they come in ascending order.
std::vector<std::int32_t> descending(std::int64_t count) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.rbegin(), numbers.rend(), 0);
  return numbers;
}

Status check_budget(const PageBudget& budget) {
  HEED_RETURN_IF_ERROR(detail::check_range("pages", budget.pages, 1, detail::kMaxCount));
  HEED_RETURN_IF_ERROR(
      detail::check_range("page_tokens", budget.page_tokens, 1, detail::kMaxCount));
  HEED_RETURN_IF_ERROR(detail::check_range("sequences", budget.sequences, 1, detail::kMaxCount));
  if (budget.sequence_tokens >= 0) return {};
  return invalid("sequence_tokens (", budget.sequence_tokens, ") must be 0 or more");
}

Status no_prefixes() {
  return invalid("prefixes must be set when sequences are created that share pages by tokens");
}

/// Whether what is written lies apart from the ids that are read meanwhile.
Status check_apart(std::initializer_list<detail::Region> outputs,
                   std::span<const std::int32_t> ids) {
  const detail::Region input({"ids"}, ids);
  return detail::check_regions(outputs, {&input, 1});
}

}  // namespace

/// What sequences know of the pages that can be found.
struct detail::Prefixes {
  Prefixes(std::int64_t sequences, std::int64_t pages, std::int64_t page_tokens)
      : table(pages, page_tokens), published(static_cast<std::size_t>(sequences)) {}

  /// The first pages of a sequence that were published, and the last one's chain.
  struct Published {
    std::int64_t pages = 0;
    PrefixTable::Chain chain = {};
  };
  Published& of(std::int32_t id) { return published[static_cast<std::size_t>(id)]; }

  PrefixTable table;
  std::vector<Published> published;
};

PagedSequences::PagedSequences() noexcept = default;
PagedSequences::~PagedSequences() = default;
PagedSequences::PagedSequences(PagedSequences&&) noexcept = default;
PagedSequences& PagedSequences::operator=(PagedSequences&&) noexcept = default;

Status PagedSequences::create(const PageBudget& budget, PagedSequences& sequences) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_budget(budget));
    PagedSequences made;
    made.page_tokens_ = budget.page_tokens;
    const std::int64_t most = budget.pages * budget.page_tokens;
    made.sequence_tokens_ =
        budget.sequence_tokens == 0 ? most : std::min(budget.sequence_tokens, most);
    made.row_pages_ = made.pages_for(made.sequence_tokens_);
    const std::int64_t entries = budget.sequences * made.row_pages_;
    if (entries > detail::kMaxElements) {
      return invalid("sequences (", budget.sequences, ") with page tables of ", made.row_pages_,
                     " entries reach beyond the address space: sequence_tokens bounds them");
    }
    if (budget.prefixes && most > detail::kMaxElements) {
      return invalid("prefixes of ", budget.pages, " pages of ", budget.page_tokens,
                     " tokens reach beyond the address space");
    }
    try {
      // The largest first, and not initialised: what no sequence has used yet takes up no physical
      // memory.
      made.tables_ =
          std::make_unique_for_overwrite<std::int32_t[]>(static_cast<std::size_t>(entries));
      made.tokens_.assign(static_cast<std::size_t>(budget.sequences), -1);
      made.owners_.assign(static_cast<std::size_t>(budget.pages), 0);
      made.free_ids_ = descending(budget.sequences);
      made.free_pages_ = descending(budget.pages);
      if (budget.prefixes) {
        made.prefixes_ =
            std::make_unique<detail::Prefixes>(budget.sequences, budget.pages, budget.page_tokens);
      }
    } catch (const std::bad_alloc&) {
      return detail::failure(StatusCode::out_of_memory, "out of memory: ", budget.sequences,
                             " sequences with page tables of ", made.row_pages_, " entries, and ",
                             budget.pages, " pages; sequence_tokens bounds the tables");
    }
    sequences = std::move(made);
    return {};
  });
}

Status PagedSequences::add(std::int32_t& id) noexcept {
  return guarded([&]() -> Status {
    if (free_ids_.empty()) return exhausted("all ", tokens_.size(), " sequences are in use");
    id = free_ids_.back();
    free_ids_.pop_back();
    tokens_[static_cast<std::size_t>(id)] = 0;
    if (prefixes_ != nullptr) prefixes_->of(id) = {};
    return {};
  });
}

Status PagedSequences::begin(std::span<const std::int32_t> tokens, std::int32_t& id,
                             std::int64_t& found) noexcept {
  return guarded([&]() -> Status {
    if (prefixes_ == nullptr) return no_prefixes();
    const std::int64_t wanted = std::min(std::ssize(tokens) - 1, sequence_tokens_);
    HEED_RETURN_IF_ERROR(add(id));
    detail::Prefixes::Published& published = prefixes_->of(id);
    std::int32_t* const row = this->row(id);
    for (std::int64_t end = page_tokens_; end <= wanted; end += page_tokens_) {
      const auto first = static_cast<std::size_t>(end - page_tokens_);
      const std::int32_t page = prefixes_->table.find(
          published.chain, tokens.subspan(first, static_cast<std::size_t>(page_tokens_)));
      if (page < 0) break;
      hold_page(page);
      row[published.pages++] = page;
      published.chain = prefixes_->table.chain(page);
    }
    found = published.pages * page_tokens_;
    tokens_[static_cast<std::size_t>(id)] = found;
    return {};
  });
}

Status PagedSequences::publish(std::int32_t id, std::span<const std::int32_t> tokens) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_published(id, tokens));
    detail::PrefixTable& table = prefixes_->table;
    auto& [pages, chain] = prefixes_->of(id);
    for (; (pages + 1) * page_tokens_ <= std::ssize(tokens); ++pages) {
      const auto own = tokens.subspan(static_cast<std::size_t>(pages * page_tokens_),
                                      static_cast<std::size_t>(page_tokens_));
      const std::int32_t known = table.find(chain, own);
      const std::int32_t page = known >= 0 ? known : row(id)[pages];
      if (page == kForgottenPage) return {};
      if (known < 0 && table.listed(page)) table.unlist(page);  // what it followed is not there
      if (known < 0) table.list(chain, own, page);
      chain = table.chain(page);
    }
    return {};
  });
}

Status PagedSequences::forget(std::int32_t id, std::int64_t tokens,
                              std::int64_t keep_first) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_prefix(id, tokens));
    if (keep_first < 0) return invalid("keep_first (", keep_first, ") must be 0 or more");
    std::int32_t* const row = this->row(id);
    const std::int64_t first = pages_for(std::min(keep_first, tokens));
    for (std::int64_t i = tokens / page_tokens_; i > first; --i) {
      release_page(std::exchange(row[i - 1], kForgottenPage));
    }
    return {};
  });
}

Status PagedSequences::extend(std::int32_t id, std::span<std::int64_t> slots,
                              PageCopy& copy) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_id(id));
    std::int64_t& length = tokens_[static_cast<std::size_t>(id)];
    const auto more = static_cast<std::int64_t>(slots.size());
    if (more > sequence_tokens_ - length) {
      return exhausted("sequence ", id, " of ", length, " tokens has no room for ", more,
                       " more: a sequence may have ", sequence_tokens_);
    }
    std::int32_t* const row = this->row(id);
    const std::int64_t held = pages_for(length), wanted = pages_for(length + more);
    const std::int64_t filled = length % page_tokens_;
    const bool shared = more > 0 && filled > 0 && owners_[row[held - 1]] > 1;
    const std::int64_t needed = wanted - held + (shared ? 1 : 0);
    if (needed > free_pages()) {
      return exhausted("sequence ", id, " needs ", needed, " more pages for ", more,
                       " more tokens; free pages: ", free_pages(), " of ", owners_.size());
    }
    copy = {};
    const bool rewritten = more > 0 && filled > 0 && !shared && prefixes_ != nullptr;
    if (rewritten && prefixes_->table.listed(row[held - 1])) {
      prefixes_->table.unlist(row[held - 1]);  // its end is cut off, and other tokens come there
    }
    if (shared) {
      copy = {row[held - 1], take_page(), static_cast<std::int32_t>(filled)};
      release_page(copy.from);
      row[held - 1] = copy.to;
    }
    std::generate(row + held, row + wanted, [this] { return take_page(); });
    for (std::int64_t& slot : slots) {
      slot = row[length / page_tokens_] * page_tokens_ + length % page_tokens_;
      ++length;
    }
    return {};
  });
}

Status PagedSequences::fork(std::int32_t id, std::int64_t tokens, std::int32_t& child) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_prefix(id, tokens));
    HEED_RETURN_IF_ERROR(check_end(id, tokens));
    HEED_RETURN_IF_ERROR(add(child));
    const std::int32_t* const from = row(id);
    std::int32_t* const to = row(child);
    for (std::int64_t i = 0; i < pages_for(tokens); ++i) {
      to[i] = from[i];
      if (to[i] != kForgottenPage) ++owners_[to[i]];
    }
    tokens_[static_cast<std::size_t>(child)] = tokens;
    if (prefixes_ != nullptr && prefixes_->of(id).pages * page_tokens_ <= tokens) {
      prefixes_->of(child) = prefixes_->of(id);
    }
    return {};
  });
}

Status PagedSequences::truncate(std::int32_t id, std::int64_t tokens) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_prefix(id, tokens));
    HEED_RETURN_IF_ERROR(check_end(id, tokens));
    std::int64_t& length = tokens_[static_cast<std::size_t>(id)];
    const std::int32_t* const row = this->row(id);
    if (prefixes_ != nullptr && prefixes_->of(id).pages * page_tokens_ > tokens) {
      prefixes_->of(id) = {};
    }
    for (std::int64_t i = pages_for(length); i > pages_for(tokens); --i) release_page(row[i - 1]);
    length = tokens;
    return {};
  });
}

Status PagedSequences::remove(std::int32_t id) noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(truncate(id, 0));
    tokens_[static_cast<std::size_t>(id)] = -1;
    free_ids_.push_back(id);  // has room: its elements never exceed those it was created with
    return {};
  });
}

std::int64_t PagedSequences::tokens(std::int32_t id) const noexcept {
  const bool exists = id >= 0 && static_cast<std::size_t>(id) < tokens_.size();
  return exists ? tokens_[static_cast<std::size_t>(id)] : -1;
}

std::span<const std::int32_t> PagedSequences::pages(std::int32_t id) const noexcept {
  if (tokens(id) < 0) return {};
  return {row(id), static_cast<std::size_t>(pages_for(tokens(id)))};
}

Status PagedSequences::block_table(std::span<const std::int32_t> ids, std::int64_t stride,
                                   std::span<std::int32_t> table) const noexcept {
  return guarded([&]() -> Status {
    const auto room = static_cast<std::int64_t>(table.size());
    HEED_RETURN_IF_ERROR(check_ids(ids));
    HEED_RETURN_IF_ERROR(check_apart({{{"table"}, table}}, ids));
    for (const std::int32_t id : ids) {
      const auto used = static_cast<std::int64_t>(pages(id).size());
      if (stride < used) {
        return invalid("stride (", stride, ") must be at least the ", used, " pages of sequence ",
                       id);
      }
    }
    if (!ids.empty() && stride > room / static_cast<std::int64_t>(ids.size())) {
      return invalid("table has ", room, " elements; it must have ", ids.size(), " rows of ",
                     stride);
    }
    auto to = table.begin();
    for (const std::int32_t id : ids) {
      std::ranges::copy(pages(id), to);
      to += stride;
    }
    return {};
  });
}

Status PagedSequences::page_lists(std::span<const std::int32_t> ids, std::span<std::int32_t> indptr,
                                  std::span<std::int32_t> indices) const noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_ids(ids));
    HEED_RETURN_IF_ERROR(check_apart({{{"indptr"}, indptr}, {{"indices"}, indices}}, ids));
    if (indptr.size() != ids.size() + 1) {
      return invalid("indptr has ", indptr.size(), " elements; it must have ", ids.size() + 1,
                     ", one more than there are ids");
    }
    std::size_t count = 0;
    for (const std::int32_t id : ids) count += pages(id).size();
    if (count > indices.size() || count > static_cast<std::size_t>(detail::kMaxCount)) {
      return invalid("indices has ", indices.size(), " elements for ", count, " pages");
    }
    indptr[0] = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::span<const std::int32_t> list = pages(ids[i]);
      std::ranges::copy(list, indices.begin() + indptr[i]);
      indptr[i + 1] = indptr[i] + static_cast<std::int32_t>(list.size());
    }
    return {};
  });
}

Status PagedSequences::shared_prefixes(std::span<const std::int32_t> ids,
                                       std::span<std::int32_t> prefixes) const noexcept {
  return guarded([&]() -> Status {
    HEED_RETURN_IF_ERROR(check_ids(ids));
    HEED_RETURN_IF_ERROR(check_apart({{{"prefixes"}, prefixes}}, ids));
    if (prefixes.size() != ids.size()) {
      return invalid("prefixes has ", prefixes.size(), " elements; it must have one for each of ",
                     ids.size(), " ids");
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::int64_t tokens = i == 0 ? 0 : shared_tokens(ids[i - 1], ids[i]);
      prefixes[i] = static_cast<std::int32_t>(std::min(tokens, detail::kMaxCount));
    }
    return {};
  });
}

Status PagedSequences::check_id(std::int32_t id) const {
  return tokens(id) >= 0 ? Status() : invalid("sequence ", id, " is not in use");
}

Status PagedSequences::check_ids(std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids) HEED_RETURN_IF_ERROR(check_id(id));
  return {};
}

Status PagedSequences::check_prefix(std::int32_t id, std::int64_t prefix) const {
  HEED_RETURN_IF_ERROR(check_id(id));
  if (prefix >= 0 && prefix <= tokens(id)) return {};
  return invalid("tokens (", prefix, ") must be from 0 to the ", tokens(id), " of sequence ", id);
}

/// Whether more tokens could follow the first `prefix` ones.
Status PagedSequences::check_end(std::int32_t id, std::int64_t prefix) const {
  if (prefix % page_tokens_ == 0) return {};
  const std::int64_t page = prefix / page_tokens_;
  if (row(id)[page] != kForgottenPage) return {};
  return invalid("tokens (", prefix, ") must not end within page ", page, " of sequence ", id,
                 ", which was forgotten");
}

/// Whether a sequence may have these tokens: published pages have no others.
Status PagedSequences::check_published(std::int32_t id,
                                       std::span<const std::int32_t> tokens) const {
  if (prefixes_ == nullptr) return no_prefixes();
  HEED_RETURN_IF_ERROR(check_id(id));
  if (std::ssize(tokens) > this->tokens(id)) {
    return invalid("tokens has ", tokens.size(), " entries; sequence ", id, " has ",
                   this->tokens(id), " tokens");
  }
  const detail::PrefixTable& table = prefixes_->table;
  for (std::int64_t i = prefixes_->of(id).pages; (i + 1) * page_tokens_ <= std::ssize(tokens);
       ++i) {
    const std::int32_t page = row(id)[i];
    if (page == kForgottenPage || !table.listed(page)) continue;
    const auto first = static_cast<std::size_t>(i * page_tokens_);
    const auto own = tokens.subspan(first, static_cast<std::size_t>(page_tokens_));
    if (std::ranges::equal(table.tokens(page), own)) continue;
    return invalid("tokens: page ", i, " of sequence ", id, " was published with other tokens");
  }
  return {};
}

std::int64_t PagedSequences::pages_for(std::int64_t tokens) const {
  return (tokens + page_tokens_ - 1) / page_tokens_;
}

/// The first tokens that two sequences have in the same pages.
std::int64_t PagedSequences::shared_tokens(std::int32_t a, std::int32_t b) const {
  const std::span<const std::int32_t> of_a = pages(a), of_b = pages(b);
  std::int64_t same = std::ranges::mismatch(of_a, of_b).in1 - of_a.begin();
  while (same > 0 && of_a[static_cast<std::size_t>(same - 1)] == kForgottenPage) --same;
  return std::min({same * page_tokens_, tokens(a), tokens(b)});
}

std::int32_t* PagedSequences::row(std::int32_t id) const { return &tables_[id * row_pages_]; }

std::int64_t PagedSequences::free_pages() const noexcept {
  const std::int64_t resting = prefixes_ == nullptr ? 0 : prefixes_->table.resting();
  return static_cast<std::int64_t>(free_pages_.size()) + resting;
}

/// A free page, of which there is one; where pages can be found, the one that is missed the least.
std::int32_t PagedSequences::take_page() {
  std::int32_t page = -1;
  if (free_pages_.empty()) {
    page = prefixes_->table.forget_oldest();
  } else {
    page = free_pages_.back();
    free_pages_.pop_back();
  }
  owners_[page] = 1;
  return page;
}

/// One more sequence holds a page that can be found.
void PagedSequences::hold_page(std::int32_t page) {
  if (owners_[page]++ == 0) prefixes_->table.wake(page);
}

void PagedSequences::release_page(std::int32_t page) {
  if (page == kForgottenPage || --owners_[page] > 0) return;
  if (prefixes_ != nullptr && prefixes_->table.listed(page)) {
    prefixes_->table.rest(page);
  } else {
    free_pages_.push_back(page);
  }
}

}  // namespace heed

#include "runtime/run/page_tables.h"

#include <algorithm>

#include "heed/kv_cache.h"
#include "runtime/base/message.h"

namespace heed::detail {
namespace {

Status check_form(const PageTables& tables, std::int64_t sequences) {
  if (tables.indptr.empty()) {
    if (tables.stride >= 0) return {};
    return invalid("tables.stride (", tables.stride, ") must be 0 or more");
  }
  if (tables.indptr.size() == static_cast<std::size_t>(sequences) + 1) return {};
  return invalid("tables.indptr has ", tables.indptr.size(), " entries; it must have ",
                 sequences + 1, ", one more than sequences");
}

/// The entries of tables.pages that belong to a sequence.
Status find_entries(const PageTables& tables, std::int64_t sequence, std::int64_t needed,
                    Range& entries) {
  const auto size = static_cast<std::int64_t>(tables.pages.size());
  const auto b = static_cast<std::size_t>(sequence);
  if (!tables.indptr.empty()) {
    entries = {tables.indptr[b], tables.indptr[b + 1]};
  } else if (__builtin_mul_overflow(sequence, tables.stride, &entries.first) ||
             __builtin_add_overflow(entries.first, needed, &entries.last)) {
    entries = {-1, -1};
  }
  if (entries.first < 0 || entries.last < entries.first || entries.last > size) {
    return invalid("tables: the pages of sequence ", sequence, " (", entries.first, " … ",
                   entries.last, ") must lie within the ", size, " of tables.pages");
  }
  if (entries.last - entries.first >= needed) return {};
  return invalid("tables: sequence ", sequence, " has ", entries.last - entries.first,
                 " pages; its keys need ", needed);
}

/// All page numbers in range, looked at together: a run has thousands of them.
bool all_exist(std::span<const std::int32_t> pages, std::int64_t count) {
  std::uint32_t largest = 0;
  for (const std::int32_t page : pages) {
    const auto number = static_cast<std::uint32_t>(page);
    largest = largest < number ? number : largest;
  }
  return pages.empty() || largest < count;
}

/// The pages of keys [first, last) of a sequence, of which there are some.
Status check_pages(const PlanData& plan, const PageTables& tables, std::int64_t sequence,
                   const Range& keys) {
  const std::int64_t tokens = plan.pages->page_tokens;
  const Range used{keys.first / tokens, (keys.last - 1) / tokens + 1};
  Range entries;
  HEED_RETURN_IF_ERROR(find_entries(tables, sequence, used.last, entries));
  const std::span<const std::int32_t> pages =
      tables.pages.subspan(static_cast<std::size_t>(entries.first + used.first),
                           static_cast<std::size_t>(used.last - used.first));
  if (all_exist(pages, plan.pages->pages)) return {};
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (pages[i] >= 0 && pages[i] < plan.pages->pages) continue;
    return invalid(
        "tables.pages[", entries.first + used.first + static_cast<std::int64_t>(i), "] (", pages[i],
        "), page ", used.first + static_cast<std::int64_t>(i), " of sequence ", sequence,
        ", must be from 0 to pages.pages - 1 (", plan.pages->pages - 1, ")",
        pages[i] == kForgottenPage ? ": it was forgotten, and queries see its keys" : "");
  }
  return {};
}

/// The pages of all keys that queries see, and of those between them but for the gap.
Status check_sequence(const PlanData& plan, const PageTables& tables, std::int64_t sequence) {
  const Visibility& mask = plan.masks[static_cast<std::size_t>(sequence)];
  if (mask.rows() == 0) return {};
  const Range seen = mask.of_rows({0, mask.rows()}), gap = mask.gap_of({0, mask.rows()});
  if (seen.first >= seen.last) return {};
  if (gap.first >= gap.last) return check_pages(plan, tables, sequence, seen);
  for (const Range& keys : {Range{seen.first, std::min(seen.last, gap.first)},
                            Range{std::max(seen.first, gap.last), seen.last}}) {
    if (keys.first < keys.last) {
      HEED_RETURN_IF_ERROR(check_pages(plan, tables, sequence, keys));
    }
  }
  return {};
}

/// The pages of the keys [first, last) of a sequence whose entries have been checked.
std::span<const std::int32_t> pages_of_keys(const PlanData& plan, const PageTables& tables,
                                            std::int32_t sequence, const Range& keys) {
  const std::int64_t tokens = plan.pages->page_tokens;
  const auto first = static_cast<std::size_t>(keys.first / tokens);
  const auto last = static_cast<std::size_t>((keys.last - 1) / tokens + 1);
  return pages_of(tables, sequence).subspan(first, last - first);
}

/// Whether the pages that a group of sequences reads together are the same for all of them.
Status check_group(const PlanData& plan, const PageTables& tables, const PrefixGroup& group) {
  const auto pages = pages_of_keys(plan, tables, group.first, group.keys());
  for (std::int32_t b = group.first + 1; b < group.last; ++b) {
    const auto others = pages_of_keys(plan, tables, b, group.keys());
    const auto difference = std::ranges::mismatch(pages, others);
    if (difference.in1 == pages.end()) continue;
    const std::int64_t page =
        group.keys().first / plan.pages->page_tokens + (difference.in1 - pages.begin());
    return invalid("tables: page ", page, " of sequence ", b, " (", *difference.in2,
                   ") must be that of sequence ", group.first, " (", *difference.in1,
                   "): by shared_prefixes they have it in common");
  }
  return {};
}

}  // namespace

Status check_tables(const PlanData& plan, const PageTables& tables) {
  const auto sequences = static_cast<std::int64_t>(plan.sequences.size());
  HEED_RETURN_IF_ERROR(check_form(tables, sequences));
  for (std::int64_t b = 0; b < sequences; ++b) {
    HEED_RETURN_IF_ERROR(check_sequence(plan, tables, b));
  }
  for (const PrefixGroup& group : plan.schedule.groups) {
    HEED_RETURN_IF_ERROR(check_group(plan, tables, group));
  }
  return {};
}

}  // namespace heed::detail

// A plan in words.
#include <algorithm>
#include <cmath>
#include <locale>
#include <sstream>

#include "heed/attention.h"
#include "runtime/base/element_types.h"
#include "runtime/base/float_environment.h"
#include "runtime/plan/forecast.h"
#include "runtime/plan/plan_data.h"

namespace heed {
namespace {

/// The bits of masks that a plan keeps.
void describe_key_masks(std::ostream& text, const detail::PlanData& p) {
  if (!p.key_masks.exist()) return;
  text << "visible keys: a bit for each key and row of the mask"
       << (p.key_masks.per_head() ? ", of each head" : "") << ", " << p.key_masks.bytes()
       << " bytes (tiles that no row sees are skipped)\n";
}

void describe_masks(std::ostream& text, const AttentionConfig& c, bool prefixes) {
  const auto side = [&](std::int64_t keys) { keys == kUnlimited ? text << "all" : text << keys; };
  const bool window = c.window_left != kUnlimited || c.window_right != kUnlimited;
  const char* alignment = c.alignment == Alignment::end ? "end" : "start";
  text << "mask: ";
  if (!c.causal && !window) text << "none";
  if (c.causal) text << "causal, aligned to the " << alignment;
  if (window) {
    text << (c.causal ? "; " : "") << "window of ";
    side(c.window_left);
    text << " keys before and ";
    side(c.window_right);
    text << " after, aligned to the " << alignment;
  }
  if (c.window_left != kUnlimited && c.keep_first > 0) {
    text << ", and of the first " << c.keep_first;
  }
  if (prefixes) text << "; prefixes that all queries see";
  text << (c.causal || window ? " (tiles outside skipped, single scores only at its edges)\n"
                              : "\n");
}

/// The sizes of tiles and items, and of the caches that they are made for.
void describe_sizes(std::ostream& text, const detail::PlanData& p) {
  const detail::RowShape rows = p.row_shape();
  const detail::TileSizes sizes{p.shape.tile_keys, p.shape.item_rows};
  const detail::CacheSizes caches = detail::assumed(p.caches);
  const auto part = [&](std::int64_t bytes, std::int64_t cache, std::int64_t told) {
    text << (bytes + 1023) / 1024 << " of " << cache / 1024 << (told > 0 ? "" : " assumed")
         << " KiB of ";
  };
  text << "tiles: of " << sizes.tile_keys << " keys (";
  part(detail::l1d_bytes(rows, sizes.tile_keys), caches.l1d, p.caches.l1d);
  text << "L1d), for items of up to " << sizes.item_rows << " rows (with two tiles ";
  part(detail::l2_bytes(rows, sizes), caches.l2, p.caches.l2);
  text << "L2)\n";
}

/// The prefixes that are read once for several sequences, and what that saves.
void describe_prefixes(std::ostream& text, const detail::PlanData& p) {
  const std::vector<detail::PrefixGroup>& groups = p.schedule.groups;
  if (p.shared.empty()) return;
  std::int64_t once = 0, saved = 0;
  for (const detail::PrefixGroup& group : groups) {
    const std::int64_t keys = group.keys().last - group.keys().first;
    once += keys;
    saved += keys * (group.last - group.first - 1);
  }
  text << "shared prefixes: groups: " << groups.size() << ", keys read once: " << once
       << ", in place of " << once + saved << "\n";
}

/// The splits, and how evenly the work spreads over the workers by its estimated costs.
void describe_schedule(std::ostream& text, const detail::PlanData& p) {
  const detail::Schedule& s = p.schedule;
  std::size_t items = 0;
  for (const detail::PlannedSplit& split : s.splits) items += static_cast<std::size_t>(split.items);
  text << "splits: " << s.splits.size() << " into " << items << " items\n";
  if (s.items.empty()) return;
  const Forecast forecast = detail::forecast_of(p);
  const double share = forecast.work / p.workers;
  const auto percent = [](double part) { return std::round(1000 * part) / 10; };
  text << "balance: " << percent(share / forecast.makespan)
       << "% (fair share of a worker / time of the last), longest item: "
       << percent(forecast.longest / share) << "% of a share\n";
}

void describe(std::ostream& text, const detail::PlanData& p) {
  const kernels::KernelTable& k = *p.kernels;
  const kernels::AttentionShape& s = p.shape;
  text << "isa: " << k.name << "\n"
       << "heads: " << p.config.query_heads << " query, " << p.config.kv_heads
       << " key/value; head_dim " << s.head_dim << ", value_head_dim " << s.value_head_dim << "\n"
       << "types: q " << detail::name_of(p.config.q_type) << ", k "
       << detail::name_of(p.config.k_type) << ", v " << detail::name_of(p.config.v_type) << ", out "
       << detail::name_of(p.config.out_type) << "\n"
       << "path: " << (s.pairs ? "products of bf16" : "f32")
       << ", transposed scores, register tile " << k.tile_rows << " x " << k.lanes * k.block_vectors
       << "\n";
  if (p.pages) {
    text << "storage: " << p.pages->pages << " pages of " << p.pages->page_tokens
         << " tokens; tiles that cross pages are copied\n";
  }
  if (p.shard) text << "keys: a shard of longer sequences, at whose positions the mask stands\n";
  describe_sizes(text, p);
  const bool prefixes =
      std::any_of(p.masks.begin(), p.masks.end(), [](const auto& mask) { return mask.prefix > 0; });
  describe_masks(text, p.config, prefixes);
  describe_key_masks(text, p);
  text << "weights: "
       << (s.rule == kernels::WeightRule::argmax ? "argmax (temperature 0)"
                                                 : "softmax, temperature ");
  if (s.rule != kernels::WeightRule::argmax) text << p.config.temperature;
  const std::vector<detail::PlannedItem>& items = p.schedule.items;
  const auto decode_items =
      std::count_if(items.begin(), items.end(), [](const auto& item) { return item.decode; });
  text << "\nsequences: " << p.sequences.size() << ", visible scores: " << p.schedule.visible_scores
       << "\n"
       << "items: " << items.size() << ", longest first; kernels, whichever costs less: decode for "
       << decode_items << ", prefill for " << std::ssize(items) - decode_items << "\n";
  if (p.schedule.item_heads > 1) {
    text << "heads: up to " << p.schedule.item_heads
         << " KV heads in a decode item, whose keys and values are read in turn, "
         << (p.shape.whole_pages ? "a page" : "a block") << " of each\n";
  }
  describe_prefixes(text, p);
  describe_schedule(text, p);
  text << "workers: " << p.workers << ", started: " << p.shares << "\n"
       << "workspace: " << p.workspace.total << " bytes\n";
}

}  // namespace

std::string Plan::describe() const noexcept {
  try {
    const detail::FloatEnvironment environment;  // a host's traps are not for figures
    if (data_ == nullptr) return "empty";
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text.exceptions(std::ios_base::badbit);  // else a failed allocation cuts the text short
    heed::describe(text, *data_);
    return text.str();
  } catch (...) {
    return {};
  }
}

}  // namespace heed

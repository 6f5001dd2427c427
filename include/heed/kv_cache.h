// A paged cache of keys and values (Kwon et al., "Efficient Memory Management for Large Language
// Model Serving with PagedAttention", arXiv 2309.06180).
//
// Token t of a sequence lies in the (t / page_tokens)th page of the sequence, at offset t %
// page_tokens: in the slot page · page_tokens + offset. Sequences that share a prefix share its
// pages; a page that is partly filled is copied when one of them writes to it. Pages that a window
// has passed can be given back (forget), and full pages be found by their tokens (publish, begin).
//
//   PagedSequences   which page holds what, for storage that the caller has
//   KvCache          the same with memory for the keys and values of several layers
//   append           writes the keys and values of new tokens to their slots
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "heed/attention.h"
#include "heed/executor.h"
#include "heed/export.h"
#include "heed/paged_layout.h"
#include "heed/rotary.h"
#include "heed/status.h"

namespace heed {

namespace detail {
struct Prefixes;
}

/// What PagedSequences may hand out.
struct PageBudget {
  std::int64_t pages = 0;        ///< 1 … 2³¹ − 1
  std::int64_t page_tokens = 0;  ///< tokens of a page, 1 … 2³¹ − 1
  std::int64_t sequences = 0;    ///< at once, 1 … 2³¹ − 1
  /// The most tokens of one sequence; 0: as many as the pages hold. It bounds the page tables: four
  /// bytes for each page that each sequence may have.
  std::int64_t sequence_tokens = 0;
  /// Whether pages can be found by their tokens (PagedSequences::begin). It takes the memory of
  /// page_tokens + 12 numbers of four bytes for each page.
  bool prefixes = false;
};

/// A page that a sequence has given back by PagedSequences::forget, in the place of its number.
inline constexpr std::int32_t kForgottenPage = -1;

/// The first `tokens` tokens of page `from` must be copied to page `to`, in every layer. 0 tokens:
/// there is nothing to copy.
struct PageCopy {
  std::int32_t from = -1;
  std::int32_t to = -1;
  std::int32_t tokens = 0;
};

/// Sequences of tokens on a fixed number of pages that count their owners. Everything is allocated
/// by create; after that an operation costs a few instructions per page or token it touches. A call
/// that fails changes nothing: with StatusCode::exhausted where the budget does not suffice, and
/// with invalid_argument for an id that is not in use. Not for several threads at once, save for
/// const calls among themselves.
class HEED_API PagedSequences {
 public:
  PagedSequences() noexcept;
  ~PagedSequences();
  PagedSequences(PagedSequences&&) noexcept;
  PagedSequences& operator=(PagedSequences&&) noexcept;

  /// Allocates for the whole budget. All pages are free, and there is no sequence.
  static Status create(const PageBudget& budget, PagedSequences& sequences) noexcept;

  /// A new, empty sequence. Ids are 0 … sequences − 1, and used again after remove.
  Status add(std::int32_t& id) noexcept;

  /// A new sequence for a text with these tokens, which shares the pages of earlier texts that
  /// begin with the same ones, ended texts included, as far as they were published and are still
  /// there: `found` tokens, whole pages, and fewer than there are tokens, so that one is left to
  /// compute. The others follow by extend. Only where PageBudget::prefixes is set.
  ///
  /// Pages are found by a hash of their tokens and of all before them, and compared token by token:
  /// texts are never taken for each other. Published pages that no sequence holds are kept until
  /// there is no other free page; then the one goes first that has been without a sequence for
  /// longest, of one sequence its last one.
  Status begin(std::span<const std::int32_t> tokens, std::int32_t& id,
               std::int64_t& found) noexcept;

  /// Says what the first tokens of a sequence are, all of them from the first on, up to as many as
  /// it has: their keys and values have been written, in every layer. Full pages of them can be
  /// found from then on. Tokens that were published already are not looked at again, so that
  /// publishing a growing text costs what is new of it. Only where PageBudget::prefixes is set.
  Status publish(std::int32_t id, std::span<const std::int32_t> tokens) noexcept;

  /// Gives back the pages that hold only tokens before `tokens` (0 … all of the sequence), but for
  /// the first `keep_first` ones: attention does not see them any more, for it has a window
  /// (AttentionConfig::window_left, keep_first). The sequence keeps its length and its positions;
  /// pages() and page tables have kForgottenPage in the place of these pages. A run, or a step of
  /// heed::layer, that would see one of their keys fails. Nothing that was forgotten comes back.
  Status forget(std::int32_t id, std::int64_t tokens, std::int64_t keep_first = 0) noexcept;

  /// Makes room for slots.size() more tokens and writes their slots to `slots`. Where the sequence
  /// shares its last, partly filled page, it gets one of its own in place of it: the caller must
  /// then do `copy` before anything is appended, and several in the order of their calls.
  Status extend(std::int32_t id, std::span<std::int64_t> slots, PageCopy& copy) noexcept;

  /// A new sequence that shares the first `tokens` tokens of `id`, and needs no page for them. They
  /// may not end within a page that was forgotten, nor may those of truncate.
  Status fork(std::int32_t id, std::int64_t tokens, std::int32_t& child) noexcept;

  /// Forgets all but the first `tokens` tokens, for instance those that were speculated in vain.
  Status truncate(std::int32_t id, std::int64_t tokens) noexcept;

  /// Ends a sequence. Pages that no other sequence shares are free again.
  Status remove(std::int32_t id) noexcept;

  /// Tokens of a sequence; −1 where the id is not in use.
  std::int64_t tokens(std::int32_t id) const noexcept;
  /// The pages of a sequence, in the order of its tokens, kForgottenPage among them; valid until it
  /// changes.
  std::span<const std::int32_t> pages(std::int32_t id) const noexcept;
  /// Pages that no sequence holds, those that could be found by their tokens included.
  std::int64_t free_pages() const noexcept;

  /// The page tables of a batch, a row per sequence: row i is at i · stride and begins with the
  /// pages of ids[i]; what follows them stays as it is. `table` has ids.size() · stride
  /// elements.
  Status block_table(std::span<const std::int32_t> ids, std::int64_t stride,
                     std::span<std::int32_t> table) const noexcept;

  /// The page tables of a batch as CSR: the pages of ids[i] are indices[indptr[i]] …
  /// indices[indptr[i + 1] − 1]. `indptr` has ids.size() + 1 elements, `indices` at least as many
  /// as there are pages in all.
  Status page_lists(std::span<const std::int32_t> ids, std::span<std::int32_t> indptr,
                    std::span<std::int32_t> indices) const noexcept;

  /// What neighbours of a batch have in common, for Batch::shared_prefixes: prefixes[i] is how many
  /// tokens, the first ones, ids[i] has in the same pages as ids[i − 1], where pages that both have
  /// forgotten are the same if pages in common follow; prefixes[0] is 0. `prefixes` has ids.size()
  /// elements.
  Status shared_prefixes(std::span<const std::int32_t> ids,
                         std::span<std::int32_t> prefixes) const noexcept;

 private:
  Status check_id(std::int32_t id) const;
  Status check_ids(std::span<const std::int32_t> ids) const;
  Status check_prefix(std::int32_t id, std::int64_t prefix) const;
  Status check_end(std::int32_t id, std::int64_t prefix) const;
  Status check_published(std::int32_t id, std::span<const std::int32_t> tokens) const;
  std::int64_t pages_for(std::int64_t tokens) const;
  std::int64_t shared_tokens(std::int32_t a, std::int32_t b) const;
  std::int32_t* row(std::int32_t id) const;
  std::int32_t take_page();
  void hold_page(std::int32_t page);
  void release_page(std::int32_t page);

  std::int64_t page_tokens_ = 1;
  std::int64_t sequence_tokens_ = 0;
  std::int64_t row_pages_ = 0;              ///< a sequence has no more
  std::vector<std::int64_t> tokens_;        ///< of each sequence; −1 where the id is not in use
  std::vector<std::int32_t> owners_;        ///< of each page: sequences that hold it
  std::vector<std::int32_t> free_ids_;      ///< the next one last
  std::vector<std::int32_t> free_pages_;    ///< the next one last
  std::unique_ptr<std::int32_t[]> tables_;  ///< the pages of each sequence: rows of row_pages_
  std::unique_ptr<detail::Prefixes> prefixes_;  ///< where pages can be found
};

/// The pages of one layer, as PagedLayout describes them, with elements of any type.
struct KvPages {
  OutputData k = {};
  OutputData v = {};
  MutableScales k_scales = {}, v_scales = {};  ///< of int8 and int4; else null
};

/// What a KvCache holds.
struct KvCacheConfig {
  /// Of each layer. Keys and values get a buffer each, or one where the strides of both leave room
  /// for the other between them, as those of PagedLayout::together do.
  PagedLayout layout = {};
  std::int64_t layers = 1;           ///< 1 … 2³¹ − 1
  std::int64_t sequences = 0;        ///< as in PageBudget
  std::int64_t sequence_tokens = 0;  ///< as in PageBudget
  DType k_type = DType::f32, v_type = DType::f32;
  /// Whether keys and values of int8 and int4 have zero points beside their scales.
  bool k_zero_points = false, v_zero_points = false;
  bool prefixes = false;  ///< as in PageBudget
};

/// PagedSequences with memory for the keys and values of `layers` layers and for their scales: one
/// allocation, in huge pages where the system has them, which takes up physical memory only as it
/// is written to.
class HEED_API KvCache : private PagedSequences {
 public:
  KvCache() noexcept = default;

  /// Allocates everything; the memory is not initialised.
  static Status create(const KvCacheConfig& config, KvCache& cache) noexcept;

  using PagedSequences::add;
  using PagedSequences::begin;
  using PagedSequences::forget;
  using PagedSequences::fork;
  using PagedSequences::publish;
  using PagedSequences::remove;
  using PagedSequences::truncate;
  /// As PagedSequences::extend; a page that must be copied is copied, in all layers.
  Status extend(std::int32_t id, std::span<std::int64_t> slots) noexcept;

  using PagedSequences::block_table;
  using PagedSequences::free_pages;
  using PagedSequences::page_lists;
  using PagedSequences::pages;
  using PagedSequences::shared_prefixes;
  using PagedSequences::tokens;

  /// Those of the configuration.
  const PagedLayout& layout() const noexcept { return layout_; }
  std::int64_t layers() const noexcept { return layers_; }
  DType k_type() const noexcept { return k_type_; }
  DType v_type() const noexcept { return v_type_; }
  /// The pages of a layer; null for one that does not exist.
  KvPages layer(std::int64_t index) const noexcept;
  /// Of the memory for keys, values and their scales.
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept;
  };

  PagedLayout layout_;
  std::int64_t layers_ = 0;
  DType k_type_ = DType::f32, v_type_ = DType::f32;
  std::int64_t layer_bytes_ = 0;
  std::int64_t first_value_ = 0;  ///< of a layer, in bytes from its first key
  /// Likewise, of scales and of zero points; 0 where there are none.
  std::int64_t k_scales_ = 0, k_zero_points_ = 0, v_scales_ = 0, v_zero_points_ = 0;
  std::size_t bytes_ = 0;
  std::unique_ptr<std::byte[], Free> memory_;  ///< one layer after the other
};

/// Keys and values of new tokens, [token, head, dim], in f32, f16 or bf16.
struct NewTokens {
  InputData k = {};
  InputData v = {};
  /// Default: contiguous. The sequence stride is not used.
  std::optional<Layout> k_layout = {}, v_layout = {};
  /// One per token, no slot twice. A token whose slot is negative (padding) is skipped. A slot that
  /// is there twice is found where the slots are at most 1,024 stretches of consecutive ones; else
  /// it gets elements of either token, and nothing else suffers.
  std::span<const std::int64_t> slots = {};
  const Rotary* rotary = nullptr;  ///< rotates the keys on their way; null: they stay as they are
  /// One per token where rotary is given, else empty. Those of skipped tokens may be anything.
  std::span<const std::int64_t> positions = {};
};

/// Writes the keys and values of new tokens, all heads of one layer, to their slots in `pages`: one
/// pass, nothing else is written, nothing allocated. Elements become those of the pages after the
/// rotation, rounded to the nearest, ties to even: finite numbers beyond the range of f16 and bf16
/// become infinite, beyond that of fp8 the largest one; infinities stay, but for fp8_e4m3, which
/// has none and makes them NaN. The scale of a block of q8_0 is its largest magnitude / 127, of
/// q4_0 the element of the largest magnitude (of two, the positive one) / −8, both rounded to f16,
/// within its range; codes are the nearest ones to element / scale. A block with an infinity or a
/// NaN becomes NaN.
///
/// Scales of int8 and int4 that belong to one token alone are written: the largest magnitude of the
/// group / 127 or 7; with zero points, of which 0 is one of the values, (high − low) / 255 or 15,
/// where high ≥ 0 and low ≤ 0 are the ends of the group, and the zero point is the nearest code to
/// the least code − low / scale. Scales that several tokens share (a token stride of 0) are read,
/// as their zero points are. Codes are the nearest ones to element / scale + zero point, within
/// those of the type; the zero point's for a scale of 0 or NaN. A group with an infinity or a NaN
/// becomes NaN where its scale is written; else a NaN becomes the largest code.
///
/// New tokens, slots and positions may not overlap pages, nor keys' pages values',
/// though all may interleave in one buffer. Calls for different layers, or for different slots of
/// one, may run at once. Fails before anything is written where they do, or where a slot or
/// position does not exist.
HEED_API Status append(const PagedLayout& layout, const KvPages& pages, const NewTokens& tokens,
                       const RunOptions& options = {}) noexcept;

}  // namespace heed

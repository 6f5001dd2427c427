// The two products of the decode kernel, over one block of keys at a time:
//
//   score_block   logits[r][j] = Σ_x q[r][x] · k[j][x]   lanes are keys, transposed in registers
//   add_values    o[r][x] += Σ_j p[r][j] · v[j][x]       lanes are the values' dimensions
//
// Both keep the canonical order: one fma chain along x for a logit, along the keys for an output.
//
// Memory decides the speed, and three things make it slow. A block is read several times, in many
// short streams that no hardware prefetcher follows. Software prefetches are dropped where many
// lines are under way. And a core that runs ahead with loads of lines that are missing takes what
// prefetches need, so that still more of them are dropped, and missing later. So what is read half
// a block later comes to L1, in the order in which it is read, and the block after the next one to
// L2, in the order in which it lies, a few lines at a time; and where a core could run far ahead,
// adding floats for a single query row, as much of a row as there is room for sums of is read at
// once, each row after the one before has come. On cores whose hardware does better when blocks are
// read in the order in which they lie, that is done (core_traits.h), of keys in a pass before the
// products: its loads leave no lines for L1 to prefetch. bench/README.md has figures.
#pragma once

#include "kernels/attention/register_tile.inl.h"
#include "kernels/attention/tile_loader.inl.h"
#include "kernels/elements/block_scales.inl.h"
#include "kernels/elements/columns.inl.h"
#include "kernels/elements/elements.inl.h"
#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/lanes.inl.h"

namespace heed::kernels {
namespace {

/// Rows of elements, a number of bytes apart.
struct ElementRows {
  DType type;
  std::int32_t dims;
  const std::byte* data;
  std::ptrdiff_t stride;
  BlockScales scales;  ///< of codes
};

/// Rows of a block of keys or of values, to be prefetched.
struct ComingRows {
  const std::byte* data = nullptr;
  std::int32_t count = 0;
  std::ptrdiff_t stride = 0, bytes = 0;  ///< from row to row, and of a row
};

/// Bytes that are prefetched together: two lines.
inline constexpr std::int32_t kChunk = 2 * kAlignment;

/// Blocks that are prefetched while one before them is used, as far as there are any.
struct ComingBlocks {
  ComingRows to_l1, to_l2;
};

/// A block of rows.
struct KeyBlock {
  ElementRows rows;
  std::int32_t count;
  ComingBlocks coming;
  /// Whether the rows lie without gaps and are read in that order: keys by read_lines(), so that
  /// they need no prefetches into L1, and the values of a single query row without any prefetches.
  bool lines_in_order;
};

/// Reads the lines of a block without gaps.
inline void read_lines(const KeyBlock& block) {
  const std::ptrdiff_t bytes = block.count * block.rows.stride;
  for (std::ptrdiff_t x = 0; x < bytes; x += static_cast<std::ptrdiff_t>(kAlignment)) {
    const std::byte read = block.rows.data[x];
    asm volatile("" ::"r"(read));
  }
}

/// Rows that are prefetched chunk by chunk, in the order in which they lie.
template <Cache Into>
class Chunks {
 public:
  HEED_INLINE explicit Chunks(const ComingRows& rows)
      : row_(rows.data), left_(rows.count), stride_(rows.stride), bytes_(rows.bytes) {
    if (stride_ != bytes_ || left_ == 0) return;
    bytes_ *= left_;
    left_ = 1;
  }

  /// Prefetches the next chunk. Every row begins with a new chunk; rows without gaps are one row.
  HEED_INLINE void prefetch() {
    if (left_ == 0) return;
#pragma GCC unroll 2
    for (std::int32_t x = 0; x < kChunk; x += static_cast<std::int32_t>(kAlignment)) {
      __builtin_prefetch(row_ + x_ + x, 0, static_cast<int>(Into));
    }
    x_ += kChunk;
    if (x_ < bytes_) return;
    x_ = 0;
    row_ += stride_;
    --left_;
  }
  HEED_INLINE void prefetch_rest() {
    while (left_ > 0) prefetch();
  }

 private:
  const std::byte* row_;
  std::int32_t left_;
  std::ptrdiff_t stride_, bytes_, x_ = 0;
};

/// Which lines are prefetched while a block is read column by column: of every row some bytes, then
/// of every row the next ones. In that order those that are read half a block later come to L1, or
/// a block later, where halves of rows are not read in whole steps. The block after the next one
/// comes to L2, in the order in which it lies. Where there is no such block it is this one again.
/// Of keys whose lines are read in order nothing comes to L1, and where there is no block after the
/// next one, that one comes to L2.
class Prefetcher {
 public:
  /// For rows of so many bytes, which are read `step` bytes at a time.
  HEED_INLINE Prefetcher(const KeyBlock& block, std::ptrdiff_t row_bytes, std::ptrdiff_t step)
      : here_(block.rows.data),
        next_(block.coming.to_l1.count > 0 ? block.coming.to_l1.data : here_),
        farther_(block.coming.to_l2.count > 0 ? block.coming.to_l2.data
                 : block.lines_in_order       ? next_
                                              : here_),
        stride_(block.rows.stride),
        row_bytes_(row_bytes),
        in_order_(block.lines_in_order),
        ahead_(row_bytes % (2 * step) == 0 ? row_bytes / 2 : row_bytes) {}

  HEED_INLINE bool contiguous() const { return stride_ == row_bytes_; }

  /// The bytes of the first row that come to L1 while those from x on are read.
  HEED_INLINE const std::byte* near(std::ptrdiff_t x) const {
    const std::ptrdiff_t to = x + ahead_;
    return to < row_bytes_ ? here_ + to : next_ + (to - row_bytes_);
  }
  /// Those that come to L2, when `done` bytes of the block have been read.
  HEED_INLINE const std::byte* far(std::ptrdiff_t x, std::ptrdiff_t done) const {
    return farther_ + (contiguous() ? done : x);
  }

  /// Prefetches the lines of `Lines` rows from `row` on, while the line at x of each is read.
  template <int Lines>
  HEED_INLINE void prefetch(std::ptrdiff_t x, std::ptrdiff_t row, std::ptrdiff_t done) const {
    if (!in_order_) prefetch_each<Cache::l1, Lines>(near(x) + row * stride_, stride_);
    if (contiguous()) return prefetch_each<Cache::l2, Lines>(far(x, done), kAlignment);
    prefetch_each<Cache::l2, Lines>(far(x, done) + row * stride_, stride_);
  }

 private:
  template <Cache Into, int Lines>
  static HEED_INLINE void prefetch_each(const std::byte* line, std::ptrdiff_t step) {
#pragma GCC unroll 16
    for (int i = 0; i < Lines; ++i, line += step) {
      __builtin_prefetch(line, 0, static_cast<int>(Into));
    }
  }

  const std::byte *here_, *next_, *farther_;
  std::ptrdiff_t stride_, row_bytes_;
  bool in_order_;
  std::ptrdiff_t ahead_;
};

/// Makes addresses wait for memory: the core, which does not know that an offset is 0, computes it
/// only when the bytes that it is made of have come.
class Wait {
 public:
  HEED_INLINE Wait() { asm("" : "+r"(nothing_)); }

  /// 0, after the four bytes at p.
  HEED_INLINE std::ptrdiff_t until_read(const std::byte* p) const {
    std::int32_t bytes = 0;
    __builtin_memcpy(&bytes, p, sizeof bytes);
    return bytes & nothing_;
  }

 private:
  std::int32_t nothing_ = 0;
};

/// Query rows, padded with zeros to whole vectors, and their logits, which are written for whole
/// blocks of keys.
struct DecodeQueries {
  const float* q;
  std::ptrdiff_t stride;
  float* logits;
  std::ptrdiff_t logits_stride;
};

/// Dimensions of floats that are copied together where some are missing, or keys are: 4 KiB of 16
/// keys, an eighth of the smallest L1 cache.
inline constexpr std::int32_t kCopiedDims = 64;

/// Copies the dimensions [x, end) of a block of floats, and fills them up with zeros: to whole
/// vectors, and to all keys, whose zeros are there from the first copy on. Nobody uses the logits
/// of keys that are missing; the zeros are read in the place of what was never written.
template <class Arch, int Keys>
__attribute__((noinline)) void copy_floats(const KeyBlock& block, std::int32_t x, std::int32_t end,
                                           float (&copy)[Keys][kCopiedDims]) {
  const std::byte* row = block.rows.data + x * static_cast<std::ptrdiff_t>(sizeof(float));
  for (std::int32_t j = 0; j < block.count && j < Keys; ++j, row += block.rows.stride) {
    const auto* const from = reinterpret_cast<const float*>(row);
    for_each_vector<Arch, 1>(end - x, [&](auto access, int, std::int64_t i) {
      store<Arch>(copy[j] + i, access.load(from + i, 0.0F));
    });
  }
  for (std::int32_t j = block.count; x == 0 && j < Keys; ++j) {
    for (float& zero : copy[j]) zero = 0.0F;
  }
}

/// The columns from x on of the packed keys from `first` on; zeros where there are none.
template <class Arch, class E>
HEED_INLINE void load_columns(const KeyBlock& block, std::int32_t first, std::int32_t x,
                              Columns<Arch, E>& columns) {
  using C = Columns<Arch, E>;
  if constexpr (C::kLoadDims > C::kDims) {
    if (x % C::kLoadDims != 0) return columns.next();
  }
  const std::byte* const row = block.rows.data + first * block.rows.stride;
  const std::int32_t keys = block.count - first, dims = block.rows.dims - x;
  std::ptrdiff_t stride = block.rows.stride;
  // Else compilers keep the address of each row, and run out of registers for them.
  asm("" : "+r"(stride));
  if (keys >= kLanes<Arch> && dims >= C::kLoadDims) return columns.load(row, stride, x);
  PaddedRows<Arch, E> padded;
  padded.fill(row + x / E::kBlock * E::kBytes, stride, keys, dims);
  columns.load(padded.data(), padded.kBytes, x % E::kBlock);
}

/// The logits of the first `Vectors` vectors of a block of keys, which are summed step by step.
template <class Arch, class E, int Queries, int Vectors>
class BlockScores {
 public:
  HEED_INLINE BlockScores(const DecodeQueries& queries, const KeyBlock& k)
      : queries_(queries),
        k_(k),
        prefetcher_(k, row_bytes(k.rows.type, k.rows.dims), kAlignment),
        next_(kByLines ? ComingRows() : k.coming.to_l1),
        after_next_(kByLines ? ComingRows() : k.coming.to_l2) {
    clear(sum_);
  }

  HEED_INLINE void add_packed() {
    if constexpr (E::kPacking == Packing::codes) {
#pragma GCC unroll 4
      for (int b = 0; b < Vectors; ++b) columns_[b].set_scales(k_.rows.scales, b);
    }
    for (std::int32_t x = 0; x < k_.rows.dims; x += kDims) {
      prefetch(x);
#pragma GCC unroll 4
      for (int b = 0; b < Vectors; b += kTogether) {
#pragma GCC unroll 2
        for (int c = b; c < b + kTogether; ++c) {
          load_columns<Arch, E>(k_, c * kWidth, x, columns_[c]);
          if constexpr (E::kPacking == Packing::codes) columns_[c].seek(x);
        }
        add_columns(x, b);
      }
    }
  }

  /// Of floats: dimensions that all keys have, in whole vectors, are read where they lie.
  HEED_INLINE void add_floats() {
    alignas(kAlignment) float copy[Vectors * kWidth][kCopiedDims];
    const std::int32_t dims = k_.rows.dims;
    const std::int32_t whole = k_.count >= Vectors * kWidth ? dims - dims % kDims : 0;
    for (std::int32_t begin = 0; begin < dims;) {
      const std::byte* rows = k_.rows.data;
      std::ptrdiff_t stride = k_.rows.stride;
      std::int32_t end = whole;
      if (begin >= whole) {
        end = dims - begin < kCopiedDims ? dims : begin + kCopiedDims;
        copy_floats<Arch>(k_, begin, end, copy);
        rows = reinterpret_cast<const std::byte*>(copy);
        stride = sizeof copy[0];
      }
      for (std::int32_t x = begin; x < end; x += kDims) {
        prefetch(x);
#pragma GCC unroll 4
        for (int b = 0; b < Vectors; ++b) {
          columns_[b].load(rows + b * kWidth * stride, stride, x - begin);
          add_columns(x, b);
        }
      }
      begin = end;
    }
  }

  HEED_INLINE void finish() {
    next_.prefetch_rest();
    after_next_.prefetch_rest();
#pragma GCC unroll 16
    for (int b = 0; b < Vectors; ++b) {
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        store<Arch>(queries_.logits + r * queries_.logits_stride + b * kWidth, sum_[b][r]);
      }
    }
  }

 private:
  using C = Columns<Arch, E>;
  static constexpr int kWidth = kLanes<Arch>, kDims = C::kDims;
  static constexpr int kTogether = C::kVectors < Vectors ? C::kVectors : Vectors;
  static constexpr int kStepBytes = kDims * E::kBytes / E::kBlock;
  // A line of each key is prefetched in the steps that it takes to read one; where steps do not
  // divide lines, or are more than keys, blocks are prefetched in the order in which they lie.
  static constexpr int kSteps = static_cast<int>(kAlignment) / kStepBytes;
  static constexpr int kLines = Vectors * kWidth / kSteps;
  static constexpr bool kByLines = E::kPacking != Packing::blocks && kLines > 0;
  static constexpr int kChunks = (Vectors * kWidth * kStepBytes + kChunk - 1) / kChunk;

  HEED_INLINE void prefetch(std::int32_t x) {
    if constexpr (kByLines) {
      const std::int32_t step = x / kDims;
      prefetcher_.template prefetch<kLines>(step / kSteps * kAlignment, step % kSteps * kLines,
                                            step * kLines * kAlignment);
    }
#pragma GCC unroll 16
    for (int i = 0; !kByLines && i < kChunks; ++i) {
      next_.prefetch();
      after_next_.prefetch();
    }
  }

  /// Adds the products of the dimensions of a step from x on, for the vectors from b on.
  HEED_INLINE void add_columns(std::int32_t x, int b) {
    const float* query[Queries];
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      query[r] = queries_.q + r * queries_.stride + x;
      // Else compilers keep elements of queries for the next vectors, and sums in memory, or the
      // address of each element.
      asm volatile("" : "+r"(query[r]));
    }
#pragma GCC unroll 16
    for (int step = 0; step < kDims; ++step) {
      const int i = kInPairs<E> ? step ^ 1 : step;
      Vec<Arch> column[kTogether];
#pragma GCC unroll 2
      for (int c = 0; c < kTogether; ++c) column[c] = columns_[b + c].column(i);
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        const Vec<Arch> q = splat<Arch>(query[r][i]);
#pragma GCC unroll 2
        for (int c = 0; c < kTogether; ++c) {
          sum_[b + c][r] = Ops<Arch>::fma(q, column[c], sum_[b + c][r]);
        }
      }
    }
  }

  const DecodeQueries queries_;
  const KeyBlock& k_;
  Prefetcher prefetcher_;
  Chunks<Cache::l1> next_;
  Chunks<Cache::l2> after_next_;
  Vec<Arch> sum_[Vectors][Queries];
  C columns_[Vectors];
};

/// Scores the first `Vectors` vectors of a block of keys.
template <class Arch, class E, int Queries, int Vectors>
HEED_INLINE void score_vectors(const DecodeQueries& queries, const KeyBlock& k) {
  BlockScores<Arch, E, Queries, Vectors> scores(queries, k);
  if constexpr (E::kPacking == Packing::none) {
    scores.add_floats();
  } else {
    scores.add_packed();
  }
  scores.finish();
}

/// Scores a block of keys.
template <class Arch, class E, int Queries>
__attribute__((noinline)) void score_block(const DecodeQueries& queries, const KeyBlock& k) {
  constexpr int vectors = kBlockKeysOf<Arch, E> / kLanes<Arch>;
  if constexpr (Columns<Arch, E>::kVectors > 1) {
    if (k.count <= kLanes<Arch>) return score_vectors<Arch, E, Queries, 1>(queries, k);
  }
  score_vectors<Arch, E, Queries, vectors>(queries, k);
}

/// Weights of few query rows and their outputs, whose rows are padded to whole vectors.
struct DecodeOutputs {
  const float* weights;
  std::ptrdiff_t weights_stride;
  float* o;
  std::ptrdiff_t stride;
};

/// How `Vectors` vectors of a value's elements, from x on, become its values.
template <class Arch, class E, int Vectors>
class ValueScales {
 public:
  HEED_INLINE ValueScales(const BlockScales& scales, std::int32_t x) : scales_(scales) {
    if constexpr (E::kPacking == Packing::codes && !kOneScale<E>) {
      constexpr std::int32_t lanes = kLanes<Arch>;
#pragma GCC unroll 8
      for (int i = 0; i < Vectors; ++i) {
        const std::int32_t dim = x + i * lanes;
        offset_[i] = scales.unit == 1 ? dim : dim / scales.unit * lanes;
      }
    }
  }
  /// Vector i of value j.
  HEED_INLINE Vec<Arch> value(Vec<Arch> elements, std::int32_t j, int i) const {
    if constexpr (E::kPacking != Packing::codes) return elements;
    if constexpr (kOneScale<E>) return elements * splat<Arch>(scales_.scale[j * scales_.step]);
    const std::ptrdiff_t at = j * scales_.step + offset_[i];
    return scaled<Arch>(elements, load<Arch>(scales_.scale + at),
                        load<Arch>(scales_.zero_point + at));
  }

 private:
  BlockScales scales_;
  std::ptrdiff_t offset_[Vectors];  // NOLINT: of codes that have several scales or zero points
};

/// The jth of `count` keys in the order in which their values are added. Where they are in pairs,
/// the first of them is the first of a pair, or the only one.
template <class E>
HEED_INLINE std::int32_t in_order(std::int32_t j, std::int32_t count) {
  return kInPairs<E> && (j ^ 1) < count ? j ^ 1 : j;
}

/// add_values for `vectors` vectors of dimensions, `Vectors` at a time. Without `Prefetches` that
/// is left to hardware.
template <class Arch, class E, int Queries, int Vectors, bool Prefetches = true>
HEED_INLINE void add_columns(DecodeOutputs out, const ElementRows& v, std::ptrdiff_t x,
                             std::int32_t count, const Prefetcher& prefetcher,
                             std::int32_t vectors) {
  constexpr int lanes = kLanes<Arch>;
  constexpr int bytes = (Vectors * lanes * E::kBytes + E::kBlock - 1) / E::kBlock;
  constexpr bool floats = E::kPacking == Packing::none;
  const bool contiguous = prefetcher.contiguous();
  const Wait wait;
  for (; vectors >= Vectors; vectors -= Vectors) {
    const std::ptrdiff_t first = Vectors * lanes % E::kBlock == 0 ? 0 : x % E::kBlock;
    const std::byte* row = v.data + x / E::kBlock * E::kBytes;
    const ValueScales<Arch, E, Vectors> scales(v.scales, static_cast<std::int32_t>(x));
    Vec<Arch> sum[Queries][Vectors];
    load_rows<Arch>(sum, out.o, out.stride);
    // Where whole rows are read one after the other, the hardware prefetches more than the next.
    const std::ptrdiff_t done = x * E::kBytes / E::kBlock;
    const bool whole = floats && contiguous && bytes >= v.stride;
    const std::ptrdiff_t ahead = whole ? v.stride : prefetcher.near(done) - row;
    const std::byte* far = prefetcher.far(done, done * count);
    const std::ptrdiff_t far_step = contiguous ? bytes : v.stride;
    for (std::int32_t j = 0; j < count; ++j, row += v.stride, far += far_step) {
      const std::int32_t key = in_order<E>(j, count);
      const std::byte* const value = row + (key - j) * v.stride;
      Vec<Arch> values[Vectors];
#pragma GCC unroll 16
      for (int i = 0; i < Vectors; ++i) {
        values[i] = scales.value(E::template widen<Arch>(value, first + i * lanes), j, i);
      }
#pragma GCC unroll 8
      for (int r = 0; r < Queries; ++r) {
        const Vec<Arch> weight = splat<Arch>(out.weights[r * out.weights_stride + key]);
#pragma GCC unroll 16
        for (int i = 0; i < Vectors; ++i) Ops<Arch>::accumulate(weight, values[i], sum[r][i]);
      }
      if constexpr (!Prefetches) continue;
      if constexpr (floats && Queries == 1) {
        row += wait.until_read(value + bytes - lanes * static_cast<int>(sizeof(float)));
      }
#pragma GCC unroll 16
      for (int i = 0; i < bytes; i += static_cast<int>(kAlignment)) {
        __builtin_prefetch(row + ahead + i, 0, static_cast<int>(Cache::l1));
        __builtin_prefetch(far + i, 0, static_cast<int>(Cache::l2));
      }
    }
    store_rows<Arch>(sum, out.o, out.stride);
    x += Vectors * lanes;
    out.o += Vectors * lanes;
  }
  if constexpr (Vectors > 1) {
    if (vectors > 0) {
      add_columns<Arch, E, Queries, Vectors / 2, Prefetches>(out, v, x, count, prefetcher, vectors);
    }
  }
}

/// The most vectors of dimensions, a power of two, whose sums, values and one weight fit the
/// registers; 8 are enough to hide the latency of a single row's chains. Of floats for a single row
/// it is 16 where vectors have 8 floats or more, so that rows of 128 (AVX2) or 256 (AVX-512) are
/// read whole: with AVX2 three sums are in memory then.
template <class Arch, class E>
constexpr int value_vectors(int queries) {
  if (E::kPacking == Packing::none && queries == 1 && kLanes<Arch> >= 8) return 16;
  int vectors = 8;
  while (queries * vectors + vectors + 1 > Ops<Arch>::kRegisters) vectors /= 2;
  return vectors;
}

/// add_values for the last dimensions of rows that do not end with a whole vector: those of v,
/// fewer than a vector has.
template <class Arch, class E, int Queries>
HEED_INLINE void add_last_columns(const DecodeOutputs& out, const ElementRows& v, std::int32_t x,
                                  std::int32_t count) {
  const ValueScales<Arch, E, 1> scales(v.scales, x);
  Vec<Arch> sum[Queries][1];
  load_rows<Arch>(sum, out.o, out.stride);
  for (std::int32_t j = 0; j < count; ++j) {
    const std::int32_t key = in_order<E>(j, count);
    const Vec<Arch> value =
        scales.value(widen_first<Arch, E>(v.data + key * v.stride, x, v.dims - x), j, 0);
#pragma GCC unroll 8
    for (int r = 0; r < Queries; ++r) {
      Ops<Arch>::accumulate(splat<Arch>(out.weights[r * out.weights_stride + key]), value,
                            sum[r][0]);
    }
  }
  store_rows<Arch>(sum, out.o, out.stride);
}

/// Adds a block of values.
template <class Arch, class E, int Queries>
__attribute__((noinline)) void add_values(DecodeOutputs out, const KeyBlock& v) {
  constexpr int lanes = kLanes<Arch>;
  const std::int32_t vectors = v.rows.dims / lanes, whole = vectors * lanes;
  constexpr int most = value_vectors<Arch, E>(Queries);
  constexpr int bytes = (most * lanes * E::kBytes + E::kBlock - 1) / E::kBlock;
  constexpr int step = bytes > static_cast<int>(kAlignment) ? bytes : static_cast<int>(kAlignment);
  const Prefetcher prefetcher(v, std::ptrdiff_t{v.rows.dims} / E::kBlock * E::kBytes, step);
  constexpr bool floats_of_one = E::kPacking == Packing::none && Queries == 1;
  if (floats_of_one && v.lines_in_order && vectors <= most) {
    add_columns<Arch, E, Queries, most, !floats_of_one>(out, v.rows, 0, v.count, prefetcher,
                                                        vectors);
  } else {
    add_columns<Arch, E, Queries, most>(out, v.rows, 0, v.count, prefetcher, vectors);
  }
  if (whole < v.rows.dims) {
    out.o += whole;
    add_last_columns<Arch, E, Queries>(out, v.rows, whole, v.count);
  }
}

}  // namespace
}  // namespace heed::kernels

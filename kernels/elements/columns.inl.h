// Keys as lanes: the columns of a block of keys, which the decode kernel multiplies with elements
// of the queries.
//
// Floats are transposed as they are. Narrow elements are transposed while they are packed, two or
// four to a lane, and become floats when they are used: that takes 2 to 5 instructions for a column
// of a vector (floats take 2 shuffles and 4 loads, floats that were widened before 5 to 10), and
// leaves room for two vectors of keys, twice as many chains of multiply-adds, in the registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/elements/block_scales.inl.h"
#include "kernels/elements/elements.inl.h"
#include "kernels/elements/rows.inl.h"
#include "kernels/interface.h"
#include "kernels/vector/simd.inl.h"

namespace heed::kernels {
namespace {

/// Columns x … x + kDims − 1 of as many keys as there are lanes.
///
///     kLoadDims               dimensions that are read together, if more than kDims: the others
///                             are the next ones, after which `next` goes on to them
///     kVectors                so many vectors of keys are multiplied side by side
///     void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x)
///                             the keys at row, row + stride, …; x steps through multiples of kDims
///     Vec<Arch> column(int i) column x + i as floats; i is known when compiling, and ascends
template <class Arch, class E>
class WidenedColumns {
 public:
  static constexpr int kDims = kLanes<Arch>, kLoadDims = kDims, kVectors = 1;

  HEED_INLINE void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    if constexpr (E::kPacking == Packing::none) return load_floats(row, stride, x);
#pragma GCC unroll 16
    for (int i = 0; i < kDims; ++i) floats_[i] = E::template widen<Arch>(row + i * stride, x);
    Ops<Arch>::transpose(floats_);
  }
  HEED_INLINE Vec<Arch> column(int i) const { return floats_[i]; }

 private:
  HEED_INLINE void load_floats(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    const std::byte* fours[kDims / 4];
#pragma GCC unroll 4
    for (int i = 0; i < kDims / 4; ++i) {
      fours[i] = row + x * static_cast<std::ptrdiff_t>(sizeof(float)) + 4 * i * stride;
      // Else compilers keep the address of each row, and run out of registers for them.
      asm volatile("" : "+r"(fours[i]));
    }
    const auto row_of = [&](int i) {
      return reinterpret_cast<const float*>(fours[i / 4] + i % 4 * stride);
    };
    Ops<Arch>::load_transposed(row_of, floats_);
  }

  Vec<Arch> floats_[kDims];
};

/// f16: 16 columns as the words of 8 registers.
template <class Arch>
class HalfColumns {
 public:
  static constexpr int kDims = kPackedDims, kLoadDims = kDims, kVectors = 2;

  HEED_INLINE void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    Ops<Arch>::transpose_words(row + 2 * x, stride, words_[0]);
    Ops<Arch>::transpose_words(row + 2 * x + 16, stride, words_[1]);
  }
  HEED_INLINE Vec<Arch> column(int i) const {
    return Ops<Arch>::halves_to_floats(words_[i / 8][i % 8 / 2], i % 2);
  }

 private:
  Integers<Arch> words_[2][4];
};

/// bf16: 16 columns as the upper and lower halves of 8 vectors.
template <class Arch>
class BFloatColumns {
 public:
  static constexpr int kDims = kPackedDims, kLoadDims = kDims, kVectors = 2;

  HEED_INLINE void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    Ops<Arch>::transpose_dwords(row + 2 * x, stride, pairs_[0]);
    Ops<Arch>::transpose_dwords(row + 2 * x + 16, stride, pairs_[1]);
  }
  HEED_INLINE Vec<Arch> column(int i) const {
    const Integers<Arch> pairs = pairs_[i / 8][i % 8 / 2];
    return Ops<Arch>::as_floats(i % 2 == 0 ? pairs << 16 : pairs & Integers<Arch>(-0x10000));
  }

 private:
  Integers<Arch> pairs_[2][4];
};

/// fp8: 16 columns as the bytes of 4 registers of words. E::halves makes the upper bytes of words
/// halves, and E::from_halves makes these elements.
template <class Arch, class E>
class Float8Columns {
 public:
  static constexpr int kDims = kPackedDims, kLoadDims = kDims, kVectors = 2;

  HEED_INLINE void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    Ops<Arch>::transpose_words(row + x, stride, words_);
  }
  HEED_INLINE Vec<Arch> column(int i) const {
    const Integers<Arch> pairs = words_[i / 4];
    const Integers<Arch> upper =
        i % 2 == 0 ? Ops<Arch>::lower_bytes_up(pairs) : pairs & Integers<Arch>(-0x00FF0100);
    return E::template from_halves<Arch>(
        Ops<Arch>::halves_to_floats(E::template halves<Arch>(upper), i % 4 / 2));
  }

 private:
  Integers<Arch> words_[4];
};

/// Blocks of codes with a scale: 16 columns as the bytes of 4 vectors. E::kCodeBits are the upper
/// ones of each byte, once E::place_codes has placed them.
template <class Arch, class E>
class BlockColumns {
 public:
  static constexpr int kDims = kPackedDims, kLoadDims = kDims, kVectors = 2;

  HEED_INLINE void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    const std::byte* const block = row + x / E::kBlock * E::kBytes;
    if (x % E::kBlock == 0) scale_ = Ops<Arch>::gather_halves(block, stride);
    Ops<Arch>::transpose_dwords(block + E::kHeader + E::byte_of(x % E::kBlock), stride, codes_);
#pragma GCC unroll 4
    for (Integers<Arch>& codes : codes_) {
      codes = E::template place_codes<Arch>(codes, x % E::kBlock);
    }
  }
  HEED_INLINE Vec<Arch> column(int i) const {
    const Integers<Arch> top = codes_[i / 4] << (24 - 8 * (i % 4));
    return Ops<Arch>::to_floats(top >> (32 - E::kCodeBits)) * scale_;
  }

 private:
  Integers<Arch> codes_[4];
  Vec<Arch> scale_;
};

/// Codes of 8 or of 4 bits: 16 or 32 columns as the bytes of 4 vectors.
template <class Arch, class E>
class CodeColumns {
 public:
  static constexpr int kDims = kPackedDims, kVectors = 2;
  static constexpr int kOfVector = 32 / E::kCodeBits, kLoadDims = 4 * kOfVector;

  HEED_INLINE void load(const std::byte* row, std::ptrdiff_t stride, std::int32_t x) {
    Ops<Arch>::transpose_dwords(row + x / E::kBlock, stride, codes_);
  }
  HEED_INLINE void next() {
    codes_[0] = codes_[2];
    codes_[1] = codes_[3];
  }
  HEED_INLINE Vec<Arch> column(int i) const {
    const Integers<Arch> top = codes_[i / kOfVector]
                               << (32 - E::kCodeBits - E::kCodeBits * (i % kOfVector));
    return Ops<Arch>::to_floats(top >> (32 - E::kCodeBits));
  }

 private:
  Integers<Arch> codes_[4];
};

/// The values of codes, whose columns are those of `Codes`, with the scales of a block of keys.
template <class Arch, class Codes>
class ScaledColumns : public Codes {
 public:
  /// The scales of the `b`th vector of keys.
  HEED_INLINE void set_scales(const BlockScales& scales, int b) {
    scales_ = scales;
    scales_.scale += b * scales.step;
    scales_.zero_point += b * scales.step;
  }
  /// Goes to columns x …
  HEED_INLINE void seek(std::int32_t x) {
    constexpr std::ptrdiff_t lanes = kLanes<Arch>;
    at_ = (scales_.unit == 1 ? x : x / scales_.unit) * lanes;
    column_step_ = scales_.unit == 1 ? lanes : 0;
  }
  HEED_INLINE Vec<Arch> column(int i) {
    const std::ptrdiff_t at = at_;
    at_ += column_step_;
    return scaled<Arch>(Codes::column(i), kernels::load<Arch>(scales_.scale + at),
                        kernels::load<Arch>(scales_.zero_point + at));
  }

 private:
  BlockScales scales_;
  std::ptrdiff_t at_ = 0, column_step_ = 0;
};

/// The same where each key has one scale, and no zero point.
template <class Arch, class Codes>
class OneScaleColumns : public Codes {
 public:
  HEED_INLINE void set_scales(const BlockScales& scales, int b) {
    constexpr int lanes = kLanes<Arch>;
    const float* const from = scales.scale + b * lanes * scales.step;
    const std::int32_t keys = scales.count - b * lanes;
    if (scales.step == 1 && keys >= lanes) {
      scale_ = kernels::load<Arch>(from);
      return;
    }
    scale_ = gather(from, scales.step, keys);
  }
  HEED_INLINE void seek(std::int32_t) {}
  HEED_INLINE Vec<Arch> column(int i) const { return Codes::column(i) * scale_; }

 private:
  /// The first `count` of numbers a step apart, and zeros.
  static __attribute__((noinline)) Vec<Arch> gather(const float* from, std::ptrdiff_t step,
                                                    std::int32_t count) {
    alignas(kAlignment) float lane[kLanes<Arch>];
    for (std::int32_t i = 0; i < kLanes<Arch>; ++i) lane[i] = i < count ? from[i * step] : 0.0F;
    return kernels::load<Arch>(lane);
  }

  Vec<Arch> scale_;
};

template <class Arch, class E, class Codes>
using ColumnsOfCodes =
    std::conditional_t<kOneScale<E>, OneScaleColumns<Arch, Codes>, ScaledColumns<Arch, Codes>>;

/// How the columns of an element type are made.
template <class Arch, class E>
HEED_INLINE auto columns_of() {
  if constexpr (E::kPacking == Packing::codes && Ops<Arch>::kTransposesPacked) {
    return ColumnsOfCodes<Arch, E, CodeColumns<Arch, E>>();
  } else if constexpr (E::kPacking == Packing::codes) {
    return ColumnsOfCodes<Arch, E, WidenedColumns<Arch, E>>();
  } else if constexpr (!Ops<Arch>::kTransposesPacked || E::kPacking == Packing::none) {
    return WidenedColumns<Arch, E>();
  } else if constexpr (E::kPacking == Packing::halves) {
    return HalfColumns<Arch>();
  } else if constexpr (E::kPacking == Packing::bfloats) {
    return BFloatColumns<Arch>();
  } else if constexpr (E::kPacking == Packing::bytes) {
    return Float8Columns<Arch, E>();
  } else {
    return BlockColumns<Arch, E>();
  }
}
template <class Arch, class E>
using Columns = decltype(columns_of<Arch, E>());

/// Rows of packed elements of fewer keys, or of fewer dimensions, filled up with zeros: as many
/// rows as there are lanes, of kDims elements or of a block.
template <class Arch, class E>
class PaddedRows {
 public:
  static constexpr std::int32_t kDims = Columns<Arch, E>::kLoadDims;
  static constexpr std::int32_t kBytes =
      E::kPacking == Packing::blocks ? E::kBytes : kDims * E::kBytes / E::kBlock;

  __attribute__((noinline)) void fill(const std::byte* row, std::ptrdiff_t stride,
                                      std::int32_t rows, std::int32_t dims) {
    const std::int32_t bytes =
        E::kPacking == Packing::blocks || dims >= kDims ? kBytes : dims / E::kBlock * E::kBytes;
    for (std::byte& byte : data_) byte = std::byte{0};
    std::byte* to = data_;
    for (std::int32_t r = 0; r < rows && r < kLanes<Arch>; ++r, row += stride, to += kBytes) {
      std::int32_t i = 0;
      for (; i + kWord <= bytes; i += kWord) __builtin_memcpy(to + i, row + i, kWord);
      for (; i < bytes; ++i) to[i] = row[i];
    }
  }
  HEED_INLINE const std::byte* data() const { return data_; }

 private:
  static constexpr std::int32_t kWord = 8;

  alignas(kAlignment) std::byte data_[kLanes<Arch> * kBytes];
};

/// Keys that the decode kernel takes at a time of an element type.
template <class Arch, class E>
inline constexpr std::int32_t kBlockKeysOf =
    Columns<Arch, E>::kVectors* kLanes<Arch> > kBlockKeys ? Columns<Arch, E>::kVectors* kLanes<Arch>
                                                          : kBlockKeys;

}  // namespace
}  // namespace heed::kernels

// The vector layer of the kernels: xsimd's batch, and the contract of the operations that xsimd
// lacks, renames from version to version, or does in more instructions than an ISA needs. Each ISA
// fulfils it in kernels/isa/<name>.inl.h.
//
// Everything is in an anonymous namespace and inlined: an object compiled for AVX must not export a
// function that the linker could hand to baseline code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <xsimd/xsimd.hpp>

#ifdef __FAST_MATH__
#error \
    "the order of operations is part of a result: heed's kernels must not be built with fast-math"
#endif

#define HEED_INLINE inline __attribute__((always_inline))

namespace heed::kernels {
namespace {

/// A vector of floats.
template <class Arch>
using Vec = xsimd::batch<float, Arch>;

/// A vector of integers, in as many lanes.
template <class Arch>
using Integers = xsimd::batch<std::int32_t, Arch>;

/// One truth value for each lane of a vector.
template <class Arch>
using Mask = xsimd::batch_bool<float, Arch>;

/// Floats of a vector.
template <class Arch>
inline constexpr int kLanes = static_cast<int>(Vec<Arch>::size);

/// A vector with x in every lane.
template <class Arch>
HEED_INLINE Vec<Arch> splat(float x) {
  return Vec<Arch>(x);
}

/// The vector at p, which may have any alignment.
template <class Arch>
HEED_INLINE Vec<Arch> load(const float* p) {
  return Vec<Arch>::load_unaligned(p);
}

/// Writes x to p, which may have any alignment.
template <class Arch>
HEED_INLINE void store(float* p, Vec<Arch> x) {
  x.store_unaligned(p);
}

/// The operations that differ from ISA to ISA, as static members. V is Vec<Arch>, M is Mask<Arch>.
///
///     kRegisters              vector registers of the ISA
///     kScalesAnyExponent      whether scale_weight has no limits (see there)
///
///     V max(V a, V b)         the larger one; b where either is NaN, as the instruction does, so
///                             that max(x, running) ignores a NaN in x
///     V min(V a, V b)         the smaller one; b where either is NaN
///     V fma(V a, V b, V c)    a · b + c, rounded once, or twice where the ISA has no FMA
///     V fms(V a, V b, V c)    a · b − c, likewise
///     void accumulate(V a, V b, V& sum)
///                             sum = fma(a, b, sum) in the form that overwrites the sum: left to
///                             themselves, compilers overwrite a factor here and there, and then
///                             copy sums from register to register
///     V divide(V a, V b)      a / b, rounded once; xsimd's operator is less exact for some ISAs
///     V floor(V x)            the largest integer ≤ x; infinities and NaN as they are
///     V select(M m, V a, V b) a where m is true, else b
///     bool any(M m)           whether m is true anywhere
///     std::uint32_t bits(M m) bit i says whether m is true in lane i
///     M not_less(V a, V b)    true where not (a < b): also where either is NaN
///     kCompresses             whether the ISA has compress
///     V compress(std::uint32_t lanes, V x, I& numbers)
///                             the lanes of x whose bits are set, one after the other from the
///                             first lane on; numbers tells which they are
///     V scale_weight(V p, V n, V lowest)
///                             p · 2^n for integers n and p in [1, 2]: 0 where n < lowest
///                             (≥ −125), NaN where n or p is NaN, infinite or NaN where n > 127.
///                             With kScalesAnyExponent p may be any number and n and lowest any
///                             integers, and the result is rounded once, as that of a product
///
///     void store_nontemporal(float* p, V x)
///                             writes x to p, which is aligned to a vector, past the caches: the
///                             line is not read first
///     void fence_nontemporal_stores()
///                             makes them visible to other cores before anything that follows
///
///     float reduce(V x, combine)
///                             combine(lower half, upper half) of the lanes, until one is left;
///                             combine takes two vectors of any ISA with as many lanes or fewer
///     void transpose(V (&rows)[kLanes<Arch>])
///                             rows[i][j] and rows[j][i] change places
///     void load_transposed(row, V (&columns)[kLanes<Arch>])
///                             columns[i] has the floats at row(lane) + i; row(lane) is where as
///                             many floats as there are lanes begin
///
///     V load_twice(const float* p)
///                             p[0], p[0], p[1], p[1], …: each of half a vector of floats twice
///     V rotate_pairs(V x, V cosines, V sines)
///                             each pair (a, b) of adjacent lanes becomes (fms(a, cos, b · sin),
///                             fma(b, cos, a · sin)); both lanes of a pair have the same angle
///
///     V as_floats(I x)        the same bits; I is Integers<Arch>
///     I as_integers(V x)      the same bits
///     V to_floats(I x)        the same numbers, where floats have them
///     I to_integers(V x)      the nearest ones, ties to even, of numbers below 2³¹
///     I shift_right(I x, int n)
///                             n zeros come in from the left
///     M less(I a, I b)        a < b
///     I load_bytes(const std::byte* p)
///                             as many bytes as there are lanes, each from 0 to 255
///     I load_signed_bytes(const std::byte* p)
///                             the same, each from −128 to 127
///     I load_signed_nibbles(const std::byte* p)
///                             half as many bytes, whose lower and upper halves are from −8 to 7
///     I load_words(const std::byte* p)
///                             as many pairs of bytes, each from 0 to 65535
///     void store_words(std::byte* p, I x)
///                             the lower half of each lane
///     void store_bytes(std::byte* p, I x)
///                             the lowest byte of each lane
///     V load_halves(const std::byte* p)
///                             as many half-precision floats; denormal ones as they are
///     V load_upper_halves(const std::byte* p)
///                             the same from their upper bytes, the lower ones being 0
///     V load_e4m3(const std::byte* p)
///                             as many numbers of fp8_e4m3
///     u32 nonzero_bytes(const u8*)    one bit for each of 32 bytes that are not 0
///     u64 ones(u64 x)         how many bits are set
///     V splat_half(const std::byte* p)
///                             one half-precision float in every lane
///     void store_halves(std::byte* p, V x)
///                             rounded to the nearest, ties to even
///
///     kTransposesPacked       whether the ISA has what follows
///     void transpose_dwords(const std::byte* row, std::ptrdiff_t stride, I (&dwords)[4])
///                             16 bytes of as many rows as there are lanes: lane r of dwords[i] is
///                             the ith 4 bytes of row r
///     void transpose_words(const std::byte* row, std::ptrdiff_t stride, I (&words)[4])
///                             the same: words[i] has the (2 · i)th 2 bytes of all rows in its
///                             lower half, and those after them in its upper half
///     V halves_to_floats(I words, int half)
///                             half-precision floats of the lower half (0) or the upper one (1)
///     I lower_bytes_up(I words)
///                             the lower bytes of words become the upper ones, 0 the lower ones
///     I e4m3_halves(I words)  half-precision floats, 2⁻⁸ times the fp8_e4m3 in the upper bytes
///     V gather_halves(const std::byte* p, std::ptrdiff_t stride)
///                             the half-precision floats at p, p + stride, …
template <class Arch>
struct Ops;

/// Access to the first lanes of a vector, for the ragged end of a row.
///
///     explicit MaskedVector(std::int64_t count)
///                             count = 1 … kLanes<Arch>
///     Vec<Arch> load(const float* p, float rest) const
///                             the first `count` lanes are those at p, the others `rest`
///     void store(float* p, Vec<Arch> x) const
///                             writes the first `count` lanes of x to p
///
/// What lies past them in memory is neither read nor written.
template <class Arch>
class MaskedVector;

}  // namespace
}  // namespace heed::kernels

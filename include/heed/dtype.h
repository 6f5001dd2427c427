// Element types: what the numbers of a tensor are.
//
// A row of any type means the row of floats that it widens to: exactly, for floating-point types;
// code · scale, rounded to float once, for quantised ones; (code − zero point) · scale where these
// have zero points. heed computes with these floats, so the bits of a result follow from them
// alone.
#pragma once

#include <cstdint>

#include "heed/export.h"

namespace heed {

/// The element types that heed knows. Queries and outputs are f32, f16 or bf16; keys and values may
/// have any.
enum class DType : std::int32_t {
  f32,       ///< IEEE 754 binary32: float
  f16,       ///< IEEE 754 binary16: Float16
  bf16,      ///< the upper half of a float: BFloat16
  int8,      ///< codes −128 … 127 with scales in a tensor of their own (heed/scales.h): int8_t
  int4,      ///< codes −8 … 7, likewise: Int4Pair
  fp8_e4m3,  ///< 4 bits of exponent, 3 of fraction, up to 448, no infinities: Float8E4M3
  fp8_e5m2,  ///< 5 bits of exponent, 2 of fraction, the upper half of f16: Float8E5M2
  q8_0,      ///< ggml's blocks of 32 bytes with one scale: BlockQ8
  q4_0,      ///< ggml's blocks of 32 half bytes with one scale: BlockQ4
};

/// An element of DType::f16, by its bits.
struct Float16 {
  std::uint16_t bits;
};

/// An element of DType::bf16, by its bits.
struct BFloat16 {
  std::uint16_t bits;
};

/// Two elements of DType::int4, numbers in two's complement: the lower half has the first one.
struct Int4Pair {
  std::uint8_t bits;
};

/// An element of DType::fp8_e4m3 (E4M3FN of the Open Compute Project's 8-bit formats), by its bits.
struct Float8E4M3 {
  std::uint8_t bits;
};

/// An element of DType::fp8_e5m2 (of the same specification), by its bits.
struct Float8E5M2 {
  std::uint8_t bits;
};

/// 32 elements of DType::q8_0 as ggml and llama.cpp store them: element i is codes[i] · scale.
struct BlockQ8 {
  Float16 scale;
  std::int8_t codes[32];
};

/// 32 elements of DType::q4_0 as ggml and llama.cpp store them: the lower half c of codes[i] is
/// element i, the upper half element i + 16, and their values are (c − 8) · scale.
struct BlockQ4 {
  Float16 scale;
  std::uint8_t codes[16];
};

}  // namespace heed

// What functions of token vectors share (rotate, append, convert, normalise_heads): the vectors of
// a list of tokens, checked and described for kernels.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "heed/rotary.h"
#include "heed/tensor_data.h"
#include "kernels/interface.h"
#include "runtime/base/regions.h"

namespace heed::detail {

/// A tensor [token, head, dims] by the caller's name for it.
struct TokenTensor {
  const char* name;
  InputData data;
  const std::optional<Layout>& layout;  ///< default: contiguous
  std::int64_t tokens, heads, dims;
};

/// The places of a tensor's elements, by its layout.
Region region_of(const TokenTensor& tensor);

/// Checks a tensor that is read, and completes its strides, in bytes.
Status check_input(const TokenTensor& tensor, kernels::Strides& strides);

/// The same for one that is written, in which no element may be another.
Status check_output(const TokenTensor& tensor, kernels::Strides& strides);

/// Checks the rotation of `vectors`, whose tokens, dims and slots are set, and fills it in. A token
/// that is skipped may have any position.
Status set_rotation(const Rotary& rotary, std::span<const std::int64_t> positions,
                    kernels::TokenVectors& vectors);

/// Rows of `dims` elements, one after the other, that become those of another type.
kernels::TokenVectors contiguous_rows(const InputData& from, const OutputData& to,
                                      std::int64_t rows, std::int64_t dims);

/// The tokens first … first + count − 1.
kernels::TokenVectors rows_from(kernels::TokenVectors vectors, std::int64_t first,
                                std::int64_t count);

}  // namespace heed::detail

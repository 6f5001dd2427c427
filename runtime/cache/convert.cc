#include "heed/convert.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "heed/attention.h"
#include "kernels/interface.h"
#include "runtime/base/check_executor.h"
#include "runtime/base/element_types.h"
#include "runtime/base/message.h"
#include "runtime/base/regions.h"
#include "runtime/base/strides.h"
#include "runtime/cache/token_vectors.h"
#include "runtime/cpu/dispatch.h"
#include "runtime/threads/parallel_for_rows.h"

namespace heed {
namespace {

using detail::invalid;

/// Numbers that a kernel converts at a time: as many as fit its buffer, whole blocks of every type.
constexpr std::int64_t kRow = kMaxHeadDim;

/// The numbers of one side, as a list.
detail::StridedShape list_of(std::int64_t elements) {
  return {{{{"sequence_stride", 0, 1}, {"token_stride", 0, 1}, {"head_stride", 0, 1}}}, elements};
}

template <class Void>
Status check_side(const char* name, const TypedData<Void>& data, std::int64_t elements) {
  if (elements > 0 && data == nullptr) return invalid(name, " must not be null");
  HEED_RETURN_IF_ERROR(detail::check_type_of(name, data.type(), false));
  const DTypeInfo& type = dtype_info(data.type());
  if (type.scaled) {
    return invalid(name, " is of ", type.name,
                   ", whose scales lie apart: heed::append writes them");
  }
  if (elements % type.block_elements == 0) return {};
  return invalid("elements (", elements, ") must be a multiple of ", type.block_elements, ": ",
                 name, " is of ", type.name);
}

Status check(const InputData& from, const OutputData& to, std::int64_t elements) {
  if (elements < 0) return invalid("elements (", elements, ") must not be negative");
  HEED_RETURN_IF_ERROR(check_side("from", from, elements));
  HEED_RETURN_IF_ERROR(check_side("to", to, elements));
  if (elements > INT64_MAX / static_cast<std::int64_t>(sizeof(float))) {
    return invalid("elements (", elements, ") are more than memory can hold");
  }
  if (elements == 0) return {};
  const detail::Region output[] = {{{"to"}, to.data(), list_of(elements), to.type()}};
  const detail::Region input[] = {{{"from"}, from.data(), list_of(elements), from.type()}};
  return detail::check_regions(output, input);
}

/// Rows first … first + count − 1 of kRow numbers, as far as there are so many. Numbers of the same
/// type are copied: blocks would else get another scale.
void convert_rows(const kernels::KernelTable& table, const InputData& from, const OutputData& to,
                  std::int64_t elements, std::int64_t first, std::int64_t count) {
  if (from.type() == to.type()) {
    const std::int64_t numbers = std::min(count * kRow, elements - first * kRow);
    if (numbers <= 0) return;
    std::memcpy((to + first * kRow).data(), (from + first * kRow).data(),
                static_cast<std::size_t>(dtype_info(to.type()).bytes(numbers)));
    return;
  }
  const std::int64_t whole = std::min(count, elements / kRow - first);
  const auto write = [&](std::int64_t row, std::int64_t rows, std::int64_t dims) {
    table.write_kv_slots(detail::contiguous_rows(from + row * kRow, to + row * kRow, rows, dims));
  };
  if (whole > 0) write(first, whole, kRow);
  if (whole < count) write(first + whole, 1, elements % kRow);
}

}  // namespace

Status convert(const InputData& from, const OutputData& to, std::int64_t elements,
               const RunOptions& options) noexcept {
  return detail::guarded([&]() -> Status {
    int workers = 1;
    const kernels::KernelTable* table = nullptr;
    HEED_RETURN_IF_ERROR(check(from, to, elements));
    HEED_RETURN_IF_ERROR(detail::check_executor(options.executor));
    HEED_RETURN_IF_ERROR(detail::complete_workers(options.workers, workers));
    HEED_RETURN_IF_ERROR(detail::select_kernels(options.isa, table));
    const std::int64_t rows = elements / kRow + (elements % kRow != 0 ? 1 : 0);
    return detail::parallel_for_rows(rows, kRow, workers, options.executor,
                                     [&](std::int64_t first, std::int64_t count) {
                                       convert_rows(*table, from, to, elements, first, count);
                                     });
  });
}

}  // namespace heed

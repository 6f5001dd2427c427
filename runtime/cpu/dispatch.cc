#include "runtime/cpu/dispatch.h"

#include <cstdlib>
#include <string>

#include "heed/cpu.h"
#include "runtime/base/message.h"
#include "runtime/cpu/machine.h"

// heed_isa_rows.inc is written by CMake, one HEED_ISA_ROW(name, features, slow_on) for each
// heed_isa() in kernels/CMakeLists.txt, in that order.
namespace heed::kernels {
#define HEED_ISA_ROW(name, features, slow_on) extern const KernelTable table_##name;
#include "heed_isa_rows.inc"
#undef HEED_ISA_ROW
}  // namespace heed::kernels

namespace heed {
namespace detail {
namespace {

constexpr IsaRow kRows[] = {
#define HEED_ISA_ROW(name, features, slow_on) {#name, features, &kernels::table_##name, slow_on},
#include "heed_isa_rows.inc"
#undef HEED_ISA_ROW
};

bool supported(const IsaRow& row, FeatureSet usable) { return (row.features - usable).empty(); }

bool slow(const IsaRow& row, std::string_view vendor) {
  return !row.slow_on.empty() && row.slow_on == vendor;
}

void append_item(std::string& list, std::string_view item) {
  if (!list.empty()) list += ", ";
  list += item;
}

Status unknown(std::span<const IsaRow> rows, const IsaRequest& request) {
  std::string names;
  for (const IsaRow& row : rows) append_item(names, row.name);
  return invalid(request.source, " (\"", request.name, "\") must be one of ", names);
}

Status unsupported(std::span<const IsaRow> rows, FeatureSet usable, const IsaRequest& request,
                   const IsaRow& row) {
  const FeatureSet missing = row.features - usable;
  std::string lacking;
  for (int i = 0; i < kFeatures; ++i) {
    const auto feature = static_cast<Feature>(i);
    if (missing.has(feature)) append_item(lacking, feature_name(feature));
  }
  std::string names;
  for (const IsaRow& other : rows) {
    if (supported(other, usable)) append_item(names, other.name);
  }
  std::string message(request.source);
  message.append(" (\"").append(request.name).append("\") needs ").append(lacking);
  message.append(", which this processor or its operating system does not provide; it can run ");
  message.append(names);
  return {StatusCode::unsupported, std::move(message)};
}

IsaRequest request_of(std::string_view name) {
  if (!name.empty()) return {"isa", name};
  // A program that runs with more rights than whoever started it takes no orders from his
  // environment.
  const char* forced = secure_getenv("HEED_ISA");
  return {"HEED_ISA", forced != nullptr ? forced : ""};
}

Status select_here(std::string_view name, const IsaRow*& row) noexcept {
  return select_row(isa_rows(), {machine_features(), machine_vendor()}, request_of(name), row);
}

}  // namespace

std::span<const IsaRow> isa_rows() noexcept { return kRows; }

Status select_row(std::span<const IsaRow> rows, const Processor& processor,
                  const IsaRequest& request, const IsaRow*& row) noexcept {
  return guarded([&]() -> Status {
    for (const IsaRow& candidate : rows) {
      const bool wanted = request.name.empty() ? !slow(candidate, processor.vendor)
                                               : request.name == candidate.name;
      if (wanted && supported(candidate, processor.features)) {
        row = &candidate;
        return {};
      }
      if (wanted && !request.name.empty()) {
        return unsupported(rows, processor.features, request, candidate);
      }
    }
    return unknown(rows, request);
  });
}

Status select_kernels(std::string_view name, const kernels::KernelTable*& table) noexcept {
  const IsaRow* row = nullptr;
  Status status = select_here(name, row);
  if (row != nullptr) table = row->table;
  return status;
}

}  // namespace detail

std::vector<IsaInfo> isas() noexcept {
  const detail::IsaRow* chosen = nullptr;
  // Where HEED_ISA is at fault none is chosen; chosen_isa says why.
  (void)detail::select_here({}, chosen);
  std::vector<IsaInfo> list;
  try {
    list.reserve(detail::isa_rows().size());
    for (const detail::IsaRow& row : detail::isa_rows()) {
      list.push_back(
          {row.name, detail::supported(row, detail::machine_features()), &row == chosen});
    }
  } catch (...) {
    return {};
  }
  return list;
}

Status chosen_isa(std::string_view& name) noexcept {
  const detail::IsaRow* row = nullptr;
  Status status = detail::select_here({}, row);
  if (row != nullptr) name = row->name;
  return status;
}

}  // namespace heed

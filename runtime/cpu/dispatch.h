// From ISA names to kernel tables.
#pragma once

#include <span>
#include <string_view>

#include "heed/status.h"
#include "kernels/interface.h"
#include "runtime/cpu/features.h"

namespace heed::detail {

/// One ISA of this build.
struct IsaRow {
  std::string_view name;
  FeatureSet features;  ///< what its kernels were compiled for
  const kernels::KernelTable* table;
  /// The vendor whose processors run a later row sooner, or empty: it runs there only by its name.
  std::string_view slow_on = {};
};

/// What an ISA is chosen for.
struct Processor {
  FeatureSet features;  ///< usable ones
  std::string_view vendor;
};

/// Every ISA of this build, best first.
std::span<const IsaRow> isa_rows() noexcept;

/// Who asks for an ISA, for the sentence that says why not: "isa" or "HEED_ISA".
struct IsaRequest {
  std::string_view source;
  std::string_view name;  ///< empty: the first row whose features are usable, and which is not slow
};

/// The row that `request` names. Allocates only on failure.
Status select_row(std::span<const IsaRow> rows, const Processor& processor,
                  const IsaRequest& request, const IsaRow*& row) noexcept;

/// The kernel table of the ISA `name`; where that is empty, of HEED_ISA, else of the first
/// supported one that is not slow here. Unknown and unsupported names fail with a sentence.
/// Allocates only on failure.
Status select_kernels(std::string_view name, const kernels::KernelTable*& table) noexcept;

}  // namespace heed::detail

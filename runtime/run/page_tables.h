// The page tables of a run.
#pragma once

#include <cstdint>
#include <span>

#include "heed/attention.h"
#include "runtime/plan/plan_data.h"

namespace heed::detail {

/// The pages of a sequence, and, in a block table, whatever follows them.
inline std::span<const std::int32_t> pages_of(const PageTables& tables, std::int64_t sequence) {
  const std::int64_t first = tables.indptr.empty()
                                 ? sequence * tables.stride
                                 : tables.indptr[static_cast<std::size_t>(sequence)];
  return tables.pages.subspan(static_cast<std::size_t>(first));
}

/// Whether the tables have a page of the pool for each key that a query of the plan sees. This is
/// the one place where page numbers are checked, before any work of a run.
Status check_tables(const PlanData& plan, const PageTables& tables);

}  // namespace heed::detail

// Kernels of all instruction sets, for tests that call them by themselves.
#pragma once

#include <gtest/gtest.h>

#include "runtime/cpu/dispatch.h"
#include "tests/support/attention_run.h"

namespace heed::tests {

/// Calls check(table) for each ISA that this machine can run.
template <class Check>
void on_every_table(Check check) {
  for (const std::string_view isa : f32_isas()) {
    SCOPED_TRACE(isa);
    const kernels::KernelTable* table = nullptr;
    ASSERT_TRUE(detail::select_kernels(isa, table).ok());
    check(*table);
  }
}

}  // namespace heed::tests

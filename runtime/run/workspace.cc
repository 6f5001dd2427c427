#include <cstdlib>
#include <new>
#include <utility>

#include "heed/attention.h"
#include "kernels/interface.h"
#include "runtime/base/message.h"
#include "runtime/run/run_control.h"

namespace heed {

Workspace::~Workspace() { std::free(data_); }

Workspace::Workspace(Workspace&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Workspace& Workspace::operator=(Workspace&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Status Workspace::reserve(const Plan& plan) noexcept { return reserve(plan.workspace_bytes()); }

Status Workspace::reserve(std::size_t bytes) noexcept {
  return detail::guarded([&]() -> Status {
    if (data_ != nullptr) {
      HEED_RETURN_IF_ERROR(static_cast<detail::RunControl*>(data_)->forget());
    }
    if (bytes <= bytes_) return {};
    void* data = std::aligned_alloc(kernels::kAlignment, bytes);
    if (data == nullptr) {
      return detail::failure(StatusCode::out_of_memory, "out of memory: the workspace takes ",
                             bytes, " bytes");
    }
    new (data) detail::RunControl;
    std::free(data_);
    data_ = data;
    bytes_ = bytes;
    return {};
  });
}

}  // namespace heed

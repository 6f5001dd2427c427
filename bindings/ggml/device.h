// heed as a device of ggml's: of the type ACCEL, for attention alone.
#pragma once

#include "bindings/ggml/host.h"
#include "ggml-backend-impl.h"

namespace heed::plugin {

/// A registry with one device, whose backends compute attention with heed and on the threads of CPU
/// backends of their own. Both must outlive it.
ggml_backend_reg_t with_device(const Host& host, ggml_backend_dev_t cpu);

}  // namespace heed::plugin

#!/usr/bin/env bash
# includes_self_test.sh ROOT: each of these, planted in a copy of the sources, is caught by includes.sh.
set -euo pipefail
gates=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd "$1"
find include kernels runtime bindings tests bench tools \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 cp --parents -t "$copy"
"$gates/includes.sh" "$copy"

while read -r file header; do
  cp "$copy/$file" "$copy/saved"
  echo "#include $header" >>"$copy/$file"
  "$gates/expect_failure.sh" "$file may not include $header" "$gates/includes.sh" "$copy" "$file"
  mv "$copy/saved" "$copy/$file"
done <<'PLANTED'
include/heed/status.h "kernels/interface.h"
include/heed/cpu.h <oneapi/tbb/info.h>
include/heed/heed.h <immintrin.h>
include/heed/heed_c.h <vector>
include/heed/heed_c.h "heed/status.h"
include/heed/c/status.h "heed/status.h"
include/heed/c/status.h <string.h>
include/heed/status.h "heed/c/status.h"
kernels/vector/simd.inl.h "runtime/cpu/dispatch.h"
kernels/vector/simd.inl.h <algorithm>
kernels/vector/simd.inl.h "kernels/isa/generic.inl.h"
kernels/vector/lanes.inl.h "kernels/attention/weights.inl.h"
kernels/vector/lanes.inl.h <xsimd/xsimd.hpp>
kernels/isa/generic.inl.h "kernels/interface.h"
kernels/isa/avx2.inl.h "kernels/attention/weights.inl.h"
kernels/isa/avx2.cc "kernels/isa/avx512.inl.h"
kernels/softmax/softmax.inl.h "kernels/isa/avx2.inl.h"
kernels/softmax/softmax.inl.h <immintrin.h>
kernels/softmax/softmax.inl.h <arm_neon.h>
kernels/softmax/softmax.inl.h "kernels/attention/weights.inl.h"
kernels/attention/prefill.inl.h "kernels/softmax/softmax.inl.h"
kernels/sampling/sampling.inl.h "kernels/softmax/softmax.inl.h"
kernels/interface.h "heed/status.h"
runtime/base/strides.cc "runtime/cpu/cpu.h"
runtime/cpu/cpu.cc <oneapi/tbb/info.h>
runtime/cpu/cpu.cc "runtime/threads/executor.h"
runtime/cpu/dispatch.cc "kernels/vector/simd.inl.h"
runtime/cpu/features.cc "tests/proof/oracle.h"
runtime/threads/executor.cc <xsimd/xsimd.hpp>
runtime/threads/executor.h "runtime/schedule/schedule.h"
runtime/schedule/schedule.cc "runtime/run/run_control.h"
runtime/schedule/schedule.cc "runtime/plan/plan_data.h"
runtime/schedule/schedule.cc "runtime/threads/executor.h"
runtime/plan/plan.cc "runtime/run/run_control.h"
runtime/plan/plan.cc <oneapi/tbb/info.h>
runtime/run/run.cc "runtime/cache/token_vectors.h"
runtime/run/run.cc <oneapi/tbb/task_arena.h>
runtime/run/run.cc <cblas.h>
runtime/run/run.cc "runtime/layer/step.h"
runtime/cache/append.cc "runtime/plan/plan_data.h"
runtime/softmax/softmax.cc "runtime/plan/plan_data.h"
runtime/sampling/sampling.cc "runtime/softmax/softmax_validate.h"
runtime/layer/step.cc <cblas.h>
runtime/layer/step.cc "runtime/cpu/dispatch.h"
bindings/c/run.cc "runtime/base/message.h"
bindings/c/run.cc <oneapi/tbb/info.h>
bindings/c/arguments.h "kernels/interface.h"
bindings/c/run.cc "ggml.h"
bindings/ggml/node.cc "bindings/c/status.h"
bindings/ggml/node.cc <dlfcn.h>
bindings/ggml/takeover.cc "runtime/run/run.h"
tests/ggml/mask_test.cc "bindings/ggml/takeover.h"
tests/ggml/node_test.cc <dlfcn.h>
tests/ggml/takeover_test.cc "ggml-backend-impl.h"
tools/llama/model.cc <cblas.h>
tools/llama/model.cc "tools/command.h"
tests/proof/reference.cc "kernels/vector/simd.inl.h"
tests/proof/reference.cc "kernels/interface.h"
tests/base/regions_test.cc "runtime/base/paged_layout.h"
tests/cpu/dispatch_test.cc "kernels/table.inl.h"
tests/toy/toy.cc "kernels/isa/avx2.inl.h"
runtime/plan/masks.cc <emmintrin.h>
tests/run/attention_edges_test.cc "runtime/plan/tiles.h"
tests/run/attention_edges_test.cc <xmmintrin.h>
tests/cpu/control_groups_test.cc "runtime/base/message.h"
tests/threads/thread_limit_test.cc "runtime/cpu/cpu.h"
tests/base/message_test.cc <oneapi/tbb/info.h>
tests/layer/layer_threads_test.cc <cblas.h>
bench/runner.cc <cblas.h>
bench/runner.cc "runtime/cpu/dispatch.h"
bench/limits.cc <immintrin.h>
bench/micro_softmax.cc <cblas.h>
bench/micro_openblas.cc "kernels/interface.h"
bench/runner.cc "bench/peers/peer.h"
bench/peers/ggml.cc <cblas.h>
bench/peers/openblas.cc <dlfcn.h>
bench/peers/peer.cc "kernels/interface.h"
tools/info.cc "runtime/cpu/features.h"
tools/info.cc <benchmark/benchmark.h>
PLANTED

#!/usr/bin/env bash
# includes_self_test.sh ROOT: each of these, planted in a copy of the sources, is caught by includes.sh.
set -euo pipefail
gates=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd "$1"
find include kernels runtime tests bench tools \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 cp --parents -t "$copy"
"$gates/includes.sh" "$copy"

while read -r file header; do
  cp "$copy/$file" "$copy/saved"
  echo "#include $header" >>"$copy/$file"
  "$gates/expect_failure.sh" "$file may not include $header" "$gates/includes.sh" "$copy"
  mv "$copy/saved" "$copy/$file"
done <<'PLANTED'
include/heed/status.h "kernels/abi.h"
include/heed/cpu.h <oneapi/tbb/info.h>
include/heed/heed.h <immintrin.h>
kernels/simd.inl.h "runtime/dispatch.h"
kernels/simd.inl.h <algorithm>
kernels/abi.h "heed/status.h"
runtime/cpu.cc <oneapi/tbb/info.h>
runtime/dispatch.cc "kernels/simd.inl.h"
runtime/executor.cc <xsimd/xsimd.hpp>
runtime/features.cc "tests/proof/oracle.h"
runtime/run.cc <cblas.h>
runtime/run.cc "runtime/layer/step.h"
runtime/layer/step.cc <cblas.h>
runtime/layer/step.cc "runtime/dispatch.h"
tools/llama/model.cc <cblas.h>
tools/llama/model.cc "tools/command.h"
tests/proof/reference.cc "kernels/simd.inl.h"
tests/proof/reference.cc "kernels/abi.h"
tests/dispatch_test.cc "kernels/table.inl.h"
bench/runner.cc <cblas.h>
bench/runner.cc "runtime/dispatch.h"
bench/limits.cc <immintrin.h>
bench/micro_softmax.cc <cblas.h>
bench/micro_openblas.cc "kernels/abi.h"
bench/runner.cc "bench/peers/peer.h"
bench/peers/ggml.cc <cblas.h>
bench/peers/openblas.cc <dlfcn.h>
bench/peers/peer.cc "kernels/abi.h"
tools/info.cc "runtime/features.h"
tools/info.cc <benchmark/benchmark.h>
PLANTED

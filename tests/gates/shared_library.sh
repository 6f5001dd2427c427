#!/usr/bin/env bash
# shared_library.sh SOURCE_DIR BUILD_DIR CXX BUILT_DIR: builds heed alone as a shared library, for
# installed.sh. Objects that BUILT_DIR has, compiled by the same command, are taken from there; others are compiled
# in few pieces (a unity build), to save time.
set -euo pipefail
export HEED_BUILT_DIR=$4
launcher=$1/tools/reuse_object.sh
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_CXX_COMPILER="$3" -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=24 -DBUILD_SHARED_LIBS=ON \
  -DHEED_BUILD_TOOLS=OFF -DHEED_BUILD_TESTS=OFF -DHEED_BUILD_BENCH=OFF >/dev/null
cmake --build "$2"

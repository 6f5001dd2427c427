#!/usr/bin/env bash
# shared_library.sh SOURCE_DIR BUILD_DIR CXX BUILT_DIR: builds heed alone as a shared library, for
# installed.sh. Objects that BUILT_DIR has, compiled by the same command, are taken from there.
set -euo pipefail
export HEED_BUILT_DIR=$4
launcher=$1/tools/reuse_object.sh
cmake --preset install -S "$1" -B "$2" -DCMAKE_CXX_COMPILER="$3" -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" \
  -DBUILD_SHARED_LIBS=ON -DHEED_BUILD_TOOLS=OFF >/dev/null
cmake --build "$2"

#!/usr/bin/env bash
# shared_library.sh SOURCE_DIR BUILD_DIR CXX: builds heed alone as a shared library, for installed.sh.
set -euo pipefail
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_CXX_COMPILER="$3" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
  -DHEED_BUILD_TOOLS=OFF -DHEED_BUILD_TESTS=OFF -DHEED_BUILD_BENCH=OFF >/dev/null
cmake --build "$2"

#!/usr/bin/env bash
# readme_examples.sh README PREFIX WORK_DIR CXX: takes every C++ block that follows a line
# <!-- example: NAME --> out of README, and compiles and runs it against the heed installed in PREFIX.
set -euo pipefail
readme=$1 prefix=$2 work=$3 cxx=$4
rm -rf "$work"
mkdir -p "$work"
awk -v work="$work" '
  /^<!-- example: [a-z_0-9]+ -->$/ { name = $3; next }
  /^```cpp$/ && name != "" { file = work "/" name ".cc"; next }
  /^```$/ && file != "" { close(file); file = ""; name = "" }
  file != "" { print > file }
' "$readme"

pkgconfig=$(dirname "$(find "$prefix" -name heed.pc)")
flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed)
layer_flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed-layer 2>/dev/null || true)
shopt -s nullglob
examples=("$work"/*.cc)
if ((${#examples[@]} == 0)); then
  echo "no examples in $readme: nothing was checked"
  exit 1
fi
for example in "${examples[@]}"; do
  echo "$(basename "$example" .cc):"
  needed=$flags
  if grep -qF '<heed/layer.h>' "$example"; then
    if [[ -z $layer_flags ]]; then
      echo "this build has no heed::layer: not checked"
      continue
    fi
    needed=$layer_flags
  fi
  # shellcheck disable=SC2086
  "$cxx" -std=c++20 -Wall -Wextra -Werror "$example" -o "${example%.cc}" $needed
  LD_LIBRARY_PATH=$(dirname "$pkgconfig") "${example%.cc}"
done

#!/usr/bin/env bash
# c_header.sh PREFIX WORK_DIR CC CXX: heed_c.h, and each header of heed/c by itself, is C99 without extensions,
# and C++ of any standard that has its integers; heed_c.h has them all but the layer's.
set -euo pipefail
prefix=$1 work=$2 cc=$3 cxx=$4
rm -rf "$work"
mkdir -p "$work"
warnings=(-pedantic -Wall -Wextra -Wconversion -Wshadow -Wundef -Werror -fsyntax-only -I "$prefix/include")
for header in "$prefix"/include/heed/heed_c.h "$prefix"/include/heed/c/*.h; do
  header=${header#"$prefix/include/"}
  if [[ $header != heed/heed_c.h && $header != heed/c/layer.h ]] && ! grep -qF "#include \"$header\"" "$prefix/include/heed/heed_c.h"; then
    echo "heed_c.h does not include $header"
    exit 1
  fi
  printf '#include <%s>\nint main(void) { return 0; }\n' "$header" >"$work/header.c"
  cp "$work/header.c" "$work/header.cc"
  for standard in c99 c11 gnu17; do
    "$cc" -std=$standard -Wstrict-prototypes -Wmissing-prototypes "${warnings[@]}" "$work/header.c"
  done
  for standard in c++11 c++20; do "$cxx" -std=$standard "${warnings[@]}" "$work/header.cc"; done
done

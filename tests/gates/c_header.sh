#!/usr/bin/env bash
# c_header.sh PREFIX WORK_DIR CC CXX: heed_c.h is C99 without extensions, and C++ of any standard that
# has its integers.
set -euo pipefail
prefix=$1 work=$2 cc=$3 cxx=$4
rm -rf "$work"
mkdir -p "$work"
printf '#include <heed/heed_c.h>\nint main(void) { return HEED_OK; }\n' >"$work/header.c"
cp "$work/header.c" "$work/header.cc"
warnings=(-pedantic -Wall -Wextra -Wconversion -Wshadow -Wundef -Werror -fsyntax-only -I "$prefix/include")
for standard in c99 c11 gnu17; do
  "$cc" -std=$standard -Wstrict-prototypes -Wmissing-prototypes "${warnings[@]}" "$work/header.c"
done
for standard in c++11 c++20; do "$cxx" -std=$standard "${warnings[@]}" "$work/header.cc"; done

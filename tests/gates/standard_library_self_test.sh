#!/usr/bin/env bash
# standard_library_self_test.sh PREFIX WORK_DIR CXX: headers without their checks do not pass
# standard_library.sh.
set -euo pipefail
gates=$(cd "$(dirname "$0")" && pwd)
prefix=$1 work=$2 cxx=$3
export_header=$work/include/heed/export.h
check() {
  rm -rf "$work"
  mkdir -p "$work/include/heed"
  sed "$2" "$prefix/include/heed/export.h" >"$export_header"
  "$gates/expect_failure.sh" "$1" "$gates/standard_library.sh" "$prefix" "$work" "$cxx" -I "$work/include"
}
check 'does not refuse C++17' '/^#error/d'
check 'a program with -D_GLIBCXX_DEBUG links' 's/abi_tag("GLIBCXX_DEBUG")//'
check 'a program with -D_GLIBCXX_USE_CXX11_ABI=0 links' 's/abi_tag("GLIBCXX_OLD_STRINGS")//'

#!/usr/bin/env bash
# kernel_symbols.sh TABLE OBJECT...: the objects of one ISA define nothing that the linker could give to
# code for another one. No weak symbol (an inline function left out of line), no global one but
# TABLE, no static initialiser, and no call but to the C library's memory functions. The table of
# another ISA, whose kernels it takes over, it may name.
set -euo pipefail
table=$1
shift
if (($# == 0)); then
  echo "no objects: nothing was checked"
  exit 1
fi

memory='^(_ZN4heed7kernels[0-9]+table_[a-z0-9_]+E|memcpy|memmove|memset|memcmp|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail)$'

faults=$(nm --format=posix "$@" | awk -v memory="$memory" '
  NF < 2 { next }
  $2 ~ /^[vVwWu]$/ { print "weak symbol: " $1; next }
  $2 == "U" { if ($1 !~ memory) print "call out of the kernels: " $1; next }
  $1 ~ /^_GLOBAL__sub_I_|__cxx_global_var_init/ { print "static initialiser: " $1; next }
  $2 ~ /^[A-Z]$/ { print "global symbol: " $1 }
' | c++filt | grep -vxF "global symbol: $table" || true)
if [[ -n $faults ]]; then
  echo "$faults"
  exit 1
fi
if ! grep -qE " [RD] $table\$" <<<"$(nm --demangle "$@")"; then
  echo "no table: $table is not defined"
  exit 1
fi

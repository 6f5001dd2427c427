#!/usr/bin/env bash
# c_symbols_self_test.sh WORK_DIR CC: c_symbols.sh fails for each of these.
set -euo pipefail
work=$1 cc=$2
gates=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work"
cd "$work"
echo 'HEED_C_1 { global: heed_*; local: *; };' >good.map
echo '{ global: *; };' >bad.map
echo 'int heed_a(void) { return 1; } int heed_b(void) { return 2; }' >both.c
printf 'HEED_C_API int heed_a(void);\nHEED_C_API const char* heed_b(int a,\n    int b);\n' >both.h
printf 'heed_a\nheed_b\n' >both.txt
build() { "$cc" -shared -fPIC "$1" -o "$2" -Wl,--version-script="$3"; }
planted() { "$gates/expect_failure.sh" "$1" "$gates/c_symbols.sh" "$2" HEED_C_1 "${@:3}"; }

build both.c good.so good.map
"$gates/c_symbols.sh" good.so HEED_C_1 both.txt both.h
build both.c bad.so bad.map
planted "not of the version HEED_C_1" bad.so both.txt both.h
echo heed_a >one.txt
echo heed_b >other.txt
"$gates/c_symbols.sh" good.so HEED_C_1 other.txt one.txt both.h
planted "exported, and not in the list: heed_b" good.so one.txt both.h
printf 'heed_a\nheed_b\nheed_c\n' >three.txt
planted "in the list, and not exported: heed_c" good.so three.txt both.h
printf 'heed_b\nheed_a\n' >unsorted.txt
planted "is not sorted" good.so unsorted.txt both.h
printf 'HEED_C_API int heed_a(void);\n' >one.h
planted "in the list, and not declared: heed_b" good.so both.txt one.h
printf 'HEED_C_INIT(heed_struct);\n' >struct.h
planted "declared, and not in the list: heed_struct_init_sized" good.so both.txt both.h struct.h
echo 'int nothing;' >nothing.c
build nothing.c nothing.so good.map
planted "nothing was checked" nothing.so both.txt both.h

#!/usr/bin/env bash
# hardened.sh PROGRAM...: programs that read the files of strangers are position-independent, bind all
# symbols before they start and make their table read-only, and check their stack and copies.
set -euo pipefail
if (($# == 0)); then
  echo "no programs: nothing was checked"
  exit 1
fi
faults=0
lacks() {
  echo "$program $1"
  faults=1
}
for program; do
  dynamic=$(readelf -dW "$program") symbols=$(nm --dynamic "$program")
  grep -q 'FLAGS_1.*PIE' <<<"$dynamic" || lacks "is not position-independent"
  grep -q 'FLAGS_1.*NOW' <<<"$dynamic" || lacks "binds symbols late"
  grep -q GNU_RELRO <<<"$(readelf -lW "$program")" || lacks "leaves its tables writable"
  grep -q ' __stack_chk_fail' <<<"$symbols" || lacks "does not check its stack"
  grep -qE ' __(mem|str|v?f?s?n?printf|read|fread)[a-z_]*_chk' <<<"$symbols" || lacks "does not check its copies"
done
exit "$faults"

#!/usr/bin/env bash
# c_symbols.sh LIBRARY LIST HEADER...: the C interface's library exports the functions of LIST, which may
# only grow, and nothing else, all of the version HEED_C_1; the headers declare each of them.
set -euo pipefail
library=$1 list=$2
shift 2
faults=0
fault() {
  echo "$1"
  faults=1
}
exported=$(nm --dynamic --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }' |
  LC_ALL=C sort)
names=$(sed 's/@.*//' <<<"$exported")
listed=$(<"$list")
declared=$({
  grep -hoE '^HEED_C_API [^(]+\(' "$@" | sed -E 's/.*[ *]//; s/\($//'
  sed -nE 's/^HEED_C_INIT\((.*)\);/\1_init_sized/p' "$@"
} | LC_ALL=C sort)

if [[ -z $names || -z $declared ]]; then
  echo "no functions: nothing was checked"
  exit 1
fi
LC_ALL=C sort --check --unique "$list" || fault "$list is not sorted"
# difference A B TEXT: what A has and B does not.
difference() {
  local only
  only=$(LC_ALL=C comm -23 <(echo "$1") <(echo "$2"))
  if [[ -n $only ]]; then fault "$3: $only"; fi
}
difference "$names" "$listed" "exported, and not in the list"
difference "$listed" "$names" "in the list, and not exported"
difference "$listed" "$declared" "in the list, and not declared"
difference "$declared" "$listed" "declared, and not in the list"
if grep -v '@@HEED_C_1$' <<<"$exported"; then fault "these are not of the version HEED_C_1"; fi
exit $faults

#!/usr/bin/env bash
# c_symbols.sh LIBRARY VERSION FILE...: a library of the C interface exports the functions of the lists among
# the files (.txt), which may only grow, and nothing else, all of this version; the headers (.h) declare each
# of them.
set -euo pipefail
library=$1 version=$2
shift 2
lists=() headers=()
for file in "$@"; do
  if [[ $file == *.txt ]]; then lists+=("$file"); else headers+=("$file"); fi
done
faults=0
fault() {
  echo "$1"
  faults=1
}
exported=$(nm --dynamic --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }' |
  LC_ALL=C sort)
names=$(sed 's/@.*//' <<<"$exported")
listed=$(LC_ALL=C sort "${lists[@]}")
declared=$({
  grep -hoE '^HEED_C_API [^(]+\(' "${headers[@]}" | sed -E 's/.*[ *]//; s/\($//'
  sed -nE 's/^HEED_C_INIT\((.*)\);/\1_init_sized/p' "${headers[@]}"
} | LC_ALL=C sort)

if [[ -z $names || -z $declared ]]; then
  echo "no functions: nothing was checked"
  exit 1
fi
for list in "${lists[@]}"; do
  LC_ALL=C sort --check --unique "$list" || fault "$list is not sorted"
done
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
if grep -v "@@$version\$" <<<"$exported"; then fault "these are not of the version $version"; fi
exit $faults

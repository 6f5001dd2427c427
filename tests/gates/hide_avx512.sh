#!/usr/bin/env bash
# hide_avx512.sh HIDER HEED: HIDER, preloaded into heed, hides what comes after AVX2, and nothing else; where the
# processor does not let Linux do that, it says so and runs nothing.
set -euo pipefail
hider=$1 heed=$2
of() { sed -n 's/^features *//p' <<<"$1" | tr ' ' '\n'; }

if ! hidden=$(env LD_PRELOAD="$hider" "$heed" info 2>&1); then
  if [[ $hidden == "AVX-512 cannot be hidden here: cpuid cannot be intercepted" ]]; then
    echo "not tested: $hidden"
    exit
  fi
  echo "$hidden"
  exit 1
fi
expected=$(of "$("$heed" info)" | grep -vE '^(avx512|amx)' || true)
if [[ $(of "$hidden") != "$expected" ]]; then
  echo "heed sees $(of "$hidden" | tr '\n' ' '), not $(tr '\n' ' ' <<<"$expected")"
  exit 1
fi

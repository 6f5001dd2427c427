#!/usr/bin/env bash
# hide_avx512.sh HIDER TRAP HEED WORK_DIR: HIDER, preloaded into a copy of heed that TRAP makes, hides what comes after
# AVX2, and nothing else; where it can hide nothing, it says so and ends the program.
set -euo pipefail
hider=$1 trap=$2 heed=$3 work=$4
of() { sed -n 's/^features *//p' <<<"$1" | tr ' ' '\n'; }
fail() {
  echo "$1"
  exit 1
}
hidden() { env LD_PRELOAD="$hider" "$@" info 2>&1; }

rm -rf "$work"
node "$trap" "$heed" "$work/trapped/heed"
expected=$(of "$("$heed" info)" | grep -vE '^(avx512|amx)' || true)
said=$(hidden HEED_TRAPPED="$work/trapped" "$work/trapped/heed") || fail "heed said: $said"
seen=$(of "$said")
[[ $seen == "$expected" ]] || fail "heed sees $(tr '\n' ' ' <<<"$seen"), not $(tr '\n' ' ' <<<"$expected")"

says() {
  local sentence=$1 said
  shift
  if said=$(hidden "$@"); then fail "$* ended well"; fi
  grep -qF "$sentence" <<<"$said" || fail "$* said: $said"
}
says "AVX-512 cannot be hidden: HEED_TRAPPED must name" "$work/trapped/heed"
says "AVX-512 was not hidden: nobody asked" HEED_TRAPPED="$work/trapped" "$heed"
# Instructions that trap elsewhere are no cpuid. The shell of its own is there to report the signal.
if (hidden HEED_TRAPPED="$work/elsewhere" "$work/trapped/heed") &>/dev/null; then fail "a trap was taken for a cpuid"; fi

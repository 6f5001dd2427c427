#!/usr/bin/env bash
# sanitized_objects.sh PRESET OWN SOURCE_DIR BUILT_DIR WORK_DIR CXX [OPTION...]: a preset with sanitizers compiles
# tests and proofs by the same commands as BUILT_DIR, whose objects it takes (HEED_BUILT_DIR), but for the programs
# that OWN, a regular expression, is for, and the operators new and delete, which sanitizers have. OPTION is for CMake.
set -euo pipefail
preset=$1 own=$2 source=$3 built=$4 work=$5 cxx=$6
shift 6
# commands FOLDER: those that compile them, with BUILD in the place of the build folder, and which sources are compiled
# in one piece.
commands() {
  local command
  sed -nE 's,^ *"command": "(.* -o tests/(proof/)?CMakeFiles/(heed_proof|[a-z0-9_]+_test)\.dir/.*)"\,$,\1,p' \
    "$1/compile_commands.json" | grep -vE " -o [^ ]*/($own)\.dir/|/allocation_count\.cc$" | while read -r command; do
    echo "$command $([[ $command != *.cxx ]] || sed -n 's|#include||p' "${command##* }" | tr -d '\n')"
  done | sed "s|$1|BUILD|g; s| -Werror | |" || true
}
(cd "$source" && cmake --preset "$preset" -B "$work" -DCMAKE_CXX_COMPILER="$cxx" "$@" >/dev/null)
mkdir -p "$work/commands"
commands "$work" >"$work/commands/own"
commands "$built" >"$work/commands/built"
again=$(grep -vxF -f "$work/commands/built" "$work/commands/own" | sed 's|.* -c ||' || true)
if [[ ! -s $work/commands/own ]]; then
  echo "no test was found"
  exit 1
elif [[ -n $again ]]; then
  echo "the preset $preset compiles again what it could take:"
  echo "$again"
  exit 1
fi

#!/usr/bin/env bash
# sanitized_objects.sh PRESET OWN SOURCE_DIR BUILT_DIR WORK_DIR CXX [OPTION...]: a preset with sanitizers compiles
# tests and proofs by the same commands as BUILT_DIR, whose objects it takes (HEED_BUILT_DIR), but for the programs
# that OWN, a regular expression, is for. OPTION is for CMake.
set -euo pipefail
preset=$1 own=$2 source=$3 built=$4 work=$5 cxx=$6
shift 6
# commands FOLDER: those that compile them, with BUILD in the place of the build folder.
commands() {
  sed -nE 's,^ *"command": "(.* -c [^ ]*(/tests/proof/[^ ]*|_test)\.cc)"\,$,\1,p' "$1/compile_commands.json" |
    grep -vE " -o [^ ]*/($own)\.dir/" | sed "s|$1|BUILD|g; s| -Werror | |" || true
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

#!/usr/bin/env bash
# sanitized_objects.sh PRESET SOURCE_DIR BUILT_DIR WORK_DIR CXX: a preset with sanitizers compiles tests by the same
# commands as BUILT_DIR, whose objects it takes (HEED_BUILT_DIR).
set -euo pipefail
preset=$1 source=$2 built=$3 work=$4 cxx=$5
# commands FOLDER: those that compile tests, with BUILD in the place of the build folder.
commands() {
  sed -n 's|^ *"command": "\(.* -c [^ ]*_test\.cc\)",$|\1|p' "$1/compile_commands.json" |
    sed "s|$1|BUILD|g; s| -Werror | |"
}
(cd "$source" && cmake --preset "$preset" -B "$work" -DCMAKE_CXX_COMPILER="$cxx" >/dev/null)
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

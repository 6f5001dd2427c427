#!/usr/bin/env bash
# doors.sh [--debian DEBIAN] [DOOR...]: runs the commands by which the documents say that one gets heed, as they
# are written there, in a bare Debian 12 for each DOOR, and tries what came of them. The doors are those of
# `documents` below; by default all of them. debootstrap makes the Debian, or it is a copy of the folder DEBIAN.
# For root, with a network.
# doors.sh --show: prints the commands of all doors.
set -euo pipefail
cd "$(dirname "$0")/../.."
declare -A documents=(
  [packages]=README.md [cmake]=README.md [wheel]=bindings/python/README.md [llama.cpp]=README.md
)

# commands DOOR: the block of shell commands that follows the line <!-- commands: DOOR --> of its document.
commands() {
  awk -v line="<!-- commands: $1 -->" '
    $0 == line { meant = 1; next }
    meant && /^```sh$/ { inside = 1; next }
    inside && /^```$/ { exit }
    inside { print; found = 1; next }
    NF > 0 { meant = 0 }
    END { exit !found }
  ' "${documents[$1]}" || {
    echo "${documents[$1]} has no commands after <!-- commands: $1 -->" >&2
    return 1
  }
}

show() {
  local door text
  for door in packages cmake wheel llama.cpp; do
    text=$(commands "$door")
    bash -n <<<"$text"
    printf '%s\n%s\n\n' "# $door" "$text"
  done
}

# proof DOOR: commands that use what the door's commands have left, in the same shell, which expands them.
# shellcheck disable=SC2016
proof() {
  local examples='tests/gates/readme_examples.sh .'
  case $1 in
    packages)
      echo 'heed info | sed -n 1,3p'
      echo 'apt install pkg-config python3-numpy >&2'
      echo "$examples /usr /tmp/examples c++ README.md docs/manual.md >&2"
      echo 'python3 tests/python/examples_test.py'
      ;;
    cmake)
      echo 'heed info | sed -n 1,3p'
      echo "$examples /usr/local /tmp/examples c++ README.md docs/manual.md >&2"
      ;;
    wheel) echo '$HOME/heed-python/bin/python3 tests/python/examples_test.py' ;;
    llama.cpp) echo 'test -f "$GGML_BACKEND_PATH" && tools/llama.cpp --check' ;;
  esac
}

# The sources as somebody has them who has fetched them, and beside them the models of the checks.
bring_sources() {
  tar -c --exclude=./build --exclude=./.git . | tar -x -C "$root/root/heed"
  if [[ -d ../shared/models ]]; then
    mkdir "$root/root/shared"
    cp -rL ../shared/models "$root/root/shared"
  fi
  # What a person answers whom apt asks whether to go on.
  echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/90yes"
}

try() {
  local door=$1 text
  text=$(commands "$door")
  # Each door has a Debian of its own.
  (
    # shellcheck source=tests/packages/debian.sh
    source tests/packages/debian.sh
    say "$door: a bare Debian"
    make_debian "$debian"
    bring_sources
    say "$door: as ${documents[$door]} says"
    echo "$text"
    SECONDS=0
    there "exec 3>&1 >/tmp/log 2>&1; $text"$'\n'"exec >&3; $(proof "$door")" || {
      tail -n 30 "$root/tmp/log"
      exit 1
    }
    echo "== $door: works, in $SECONDS seconds"
  )
}

debian=''
if [[ ${1:-} == --show ]]; then
  show
  exit
fi
if [[ ${1:-} == --debian ]]; then
  debian=$(realpath -e -- "$2")
  shift 2
fi
if (($# == 0)); then set -- packages cmake wheel llama.cpp; fi
for door in "$@"; do try "$door"; done

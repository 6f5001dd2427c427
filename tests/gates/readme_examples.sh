#!/usr/bin/env bash
# readme_examples.sh ROOT PREFIX WORK_DIR CXX FILE...: takes every block of C++ or C that follows a line
# <!-- example: NAME --> out of these Markdown files below ROOT, and compiles and runs it against the
# heed installed in PREFIX. Each of the files must have an example, and no Markdown file of the
# project may have C++ or C that is not one, or that is not in these files.
set -euo pipefail
root=$1 prefix=$2 work=$3 cxx=$4
shift 4
if (($# == 0)); then
  echo "no files: nothing was checked"
  exit 1
fi
cd "$root"
rm -rf "$work"
mkdir -p "$work"

# extract FILE: its examples as NAME.cc or NAME.c in WORK_DIR.
extract() {
  awk -v work="$work" -v readme="$1" '
    function fault(text) { print readme ":" NR ": " text; faults = 1 }
    /^<!-- example: [a-z_0-9]+ -->$/ { name = $3; next }
    /^```(cpp|c$)/ {
      language = /^```c$/ ? "C" : "C++"
      if (name == "") fault(language " without a line <!-- example: NAME --> before it")
      stem = work "/" (name == "" ? "unnamed" : name)
      if ((getline line < (stem ".cc")) >= 0 || (getline line < (stem ".c")) >= 0) {
        fault("there is another example " name)
      }
      file = stem (language == "C" ? ".c" : ".cc")
      close(file)
      next
    }
    /^```$/ && file != "" { close(file); file = name = ""; next }
    file != "" { print > file; examples++; next }
    name != "" && NF > 0 { fault("example " name " is not C++ or C"); name = "" }
    END {
      if (!examples) fault("no example")
      exit faults
    }
  ' "$1"
}
faults=0
for file in "$@"; do
  extract "$file" || faults=1
done
for file in *.md docs/*.md bench/*.md; do
  if [[ -e $file && " $* " != *" $file "* ]] && grep -qE '^```(cpp|c$)' "$file"; then
    echo "$file: C++ or C that is not compiled: $file is not one of the files with examples"
    faults=1
  fi
done
if ((faults)); then exit 1; fi

pkgconfig=$(dirname "$(find "$prefix" -name heed.pc)")
flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed)
c_flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed_c 2>/dev/null || true)
layer_c_flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed_layer_c 2>/dev/null || true)
layer_flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed-layer 2>/dev/null || true)
shopt -s nullglob
for example in "$work"/*.cc "$work"/*.c; do
  echo "$(basename "$example"):"
  needed=$flags
  compile=("$cxx" -std=c++20)
  if [[ $example == *.c ]]; then
    if [[ -z $c_flags ]]; then
      echo "this build has no heed::heed_c: not checked"
      continue
    fi
    needed=$c_flags
    compile=(cc -std=c99 -pedantic)
  fi
  if grep -qE '<heed/(c/)?layer.h>' "$example"; then
    needed=$layer_flags
    if [[ $example == *.c ]]; then needed=$layer_c_flags; fi
    if [[ -z $needed ]]; then
      echo "this build has no heed::layer: not checked"
      continue
    fi
  fi
  # shellcheck disable=SC2086
  "${compile[@]}" -Wall -Wextra -Werror "$example" -o "${example%.*}" $needed
  LD_LIBRARY_PATH=$(dirname "$pkgconfig") "${example%.*}"
done

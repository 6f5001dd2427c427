#!/usr/bin/env bash
# docs.sh ROOT: what the documents of the project say of its files is true.
#
#   - Every relative link leads to a file or folder, and `code` that is the text of a link to a source
#     file occurs in that file.
#   - Every path in `code` that begins with a folder of the project exists; in it `<name>` stands for
#     any name.
#   - Every test program in `code` (`…_test`) and every test in `code` (`Suite.Name`) is one of tests/.
#   - README.md has at most 200 lines.
#   - Pictures are drawn from their sources (tools/docs/draw --check).
set -euo pipefail
root=$1
cd "$root"
faults=0
fault() {
  echo "$1"
  faults=1
}

documents=()
for file in *.md docs/*.md bench/*.md; do
  [[ -e $file ]] && documents+=("$file")
done
if ((${#documents[@]} == 0)); then
  echo "no documents under $root: nothing was checked"
  exit 1
fi

# prose FILE: its lines without blocks of code.
prose() { awk '/^ *```/ { code = !code; next } !code' "$1"; }

check_links() {
  local file=$1 link text target path
  while IFS= read -r link; do
    text=${link%%](*} target=${link##*](}
    text=${text#[} target=${target%)} path=${target%%#*}
    [[ $target == *://* || $target == mailto:* || -z $path ]] && continue
    path=$(dirname "$file")/$path
    if [[ ! -e $path ]]; then
      fault "$file links to $target, which does not exist"
    elif [[ $text =~ ^\`([^\`]+)\`$ && -f $path && $path == *.@(h|cc|inc|txt|cmake|sh) ]]; then
      text=${BASH_REMATCH[1]%%(*}
      [[ $text == */* || $text == *.h || $text == *.cc ]] && continue
      grep -qF -- "${text##*::}" "$path" || fault "$file: $target does not contain $text"
    fi
  done < <(prose "$file" | grep -oE '\[[^][]+\]\([^)]+\)')
}

check_code() {
  local file=$1 code path
  while IFS= read -r code; do
    code=${code#\`} code=${code%\`}
    if [[ $code =~ ^(include|kernels|runtime|tests|bench|tools|docs|cmake)/[A-Za-z0-9_./\<\>*-]*$ ]]; then
      path=${code//<*([!>])>/*}
      compgen -G "$path" >/dev/null || fault "$file: $code does not exist"
    elif [[ $code =~ ^[a-z_0-9]+_test$ ]]; then
      grep -rqE "(heed_test\(|add_test\(NAME )$code\b" tests --include=CMakeLists.txt ||
        fault "$file: there is no test $code"
    elif [[ $code =~ ^([A-Z][A-Za-z0-9]+)\.([A-Z][A-Za-z0-9]+)$ ]]; then
      grep -rqE "TEST(_F|_P)?\(${BASH_REMATCH[1]}, ${BASH_REMATCH[2]}\)" tests --include='*.cc' ||
        fault "$file: there is no test $code"
    fi
  done < <(prose "$file" | grep -oE $'`[^`]+`')
}

shopt -s extglob
for file in "${documents[@]}"; do
  check_links "$file"
  check_code "$file"
done
lines=$(wc -l <README.md)
((lines <= 200)) || fault "README.md has $lines lines; what is longer than 200 belongs in docs/"
tools/docs/draw --check || faults=1
if ((faults)); then exit 1; fi

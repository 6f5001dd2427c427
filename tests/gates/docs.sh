#!/usr/bin/env bash
# docs.sh ROOT: what the documents of the project say of its files is true.
#
#   - Every relative link leads to a file, folder or heading, and `code` that is the text of a link to a
#     source file occurs in that file.
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
for file in *.md docs/*.md bench/*.md bindings/*/*.md; do
  [[ -e $file ]] && documents+=("$file")
done
if ((${#documents[@]} == 0)); then
  echo "no documents under $root: nothing was checked"
  exit 1
fi

shopt -s extglob
# The names of tests, one a line.
programs=$(grep -rhoE "(heed_(python_)?test\(|add_test\(NAME )[a-z_0-9]+" tests --include=CMakeLists.txt | sed -E 's/.*[( ]//')
cases=$(grep -rhoE "TEST(_F|_P)?\([A-Za-z0-9]+, [A-Za-z0-9]+" tests --include='*.cc' | sed -E 's/.*\(//; s/, /./')
# is_in LIST NAME: whether NAME is a line of LIST.
is_in() { [[ $'\n'$1$'\n' == *$'\n'"$2"$'\n'* ]]; }

# anchors FILE: its headings as links name them, one a line.
anchors() {
  awk '/^```/ { code = !code } !code && /^#+ / {
    sub(/^#+ /, ""); text = tolower($0); gsub(/[^a-z0-9 _-]/, "", text); gsub(/ /, "-", text); print text
  }' "$1"
}

# check_link FILE [TEXT](TARGET)
check_link() {
  local file=$1 text=${2%%](*} target=${2##*](} path folder=.
  text=${text#[} target=${target%)} path=${target%%#*}
  [[ $target == *://* || $target == mailto:* ]] && return
  [[ $file == */* ]] && folder=${file%/*}
  path=$folder/$path
  [[ $target == \#* ]] && path=$file
  if [[ ! -e $path ]]; then
    fault "$file links to $target, which does not exist"
  elif [[ $target == *\#* ]] && ! is_in "$(anchors "$path")" "${target#*#}"; then
    fault "$file links to $target, but there is no such heading"
  elif [[ $text =~ ^\`([^\`]+)\`$ && -f $path && $path == *.@(h|cc|inc|txt|cmake|sh) ]]; then
    text=${BASH_REMATCH[1]%%(*}
    if [[ $text != */* && $text != *.@(h|cc) && $(<"$path") != *"${text##*::}"* ]]; then
      fault "$file: $target does not contain $text"
    fi
  fi
}

# check_code FILE CODE
check_code() {
  local file=$1 code=$2
  if [[ $code =~ ^(include|kernels|runtime|bindings|tests|bench|tools|docs|cmake)/[A-Za-z0-9_./\<\>*-]*$ ]]; then
    compgen -G "${code//<*([!>])>/*}" >/dev/null || fault "$file: $code does not exist"
  elif [[ $code =~ ^[a-z_0-9]+_test$ ]]; then
    is_in "$programs" "$code" || fault "$file: there is no test $code"
  elif [[ $code =~ ^[A-Z][A-Za-z0-9]+\.[A-Z][A-Za-z0-9]+$ ]]; then
    is_in "$cases" "$code" || fault "$file: there is no test $code"
  fi
}

for file in "${documents[@]}"; do
  prose=$(awk '/^ *```/ { code = !code; next } !code' "$file")
  while IFS= read -r link; do
    check_link "$file" "$link"
  done < <(grep -oE '\[[^][]+\]\([^)]+\)' <<<"$prose" | sort -u)
  while IFS= read -r code; do
    check_code "$file" "${code//\`/}"
  done < <(grep -oE $'`[^`]+`' <<<"$prose" | sort -u)
done
lines=$(wc -l <README.md)
((lines <= 200)) || fault "README.md has $lines lines; what is longer than 200 belongs in docs/"
tools/docs/draw --check || faults=1
if ((faults)); then exit 1; fi

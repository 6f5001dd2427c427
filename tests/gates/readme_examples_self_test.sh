#!/usr/bin/env bash
# readme_examples_self_test.sh WORK_DIR: readme_examples.sh fails for each of these, before it
# compiles anything.
set -euo pipefail
gates=$(cd "$(dirname "$0")" && pwd)
root=$1/root
rm -rf "$1"
mkdir -p "$root/docs"

# planted TEXT FILE...: examples in these files are refused with this text.
planted() {
  local text=$1
  shift
  "$gates/expect_failure.sh" "$text" "$gates/readme_examples.sh" "$root" "$root/../prefix" "$root/../work" \
    false "$@"
}

good=$'<!-- example: good -->\n```cpp\nint main() {}\n```\n'
planted "no files"
echo "$good" >"$root/README.md"
echo "nothing to compile" >"$root/docs/manual.md"
planted "docs/manual.md:1: no example" README.md docs/manual.md
echo "$good" >"$root/docs/manual.md"
planted "there is another example good" README.md docs/manual.md
planted "docs/manual.md: C++ or C that is not compiled" README.md
echo $'<!-- example: other -->\n```cpp\n```' >"$root/docs/manual.md"
planted "no example" README.md docs/manual.md
echo "${good/good/other}"$'\n```cpp\nint x;\n```' >"$root/docs/manual.md"
planted "C++ without a line" README.md docs/manual.md
echo $'<!-- example: lost -->\nSome text.\n'"${good/good/other}" >"$root/docs/manual.md"
planted "example lost is not C++ or C" README.md docs/manual.md
echo "${good/good/other}" >"$root/docs/manual.md"
echo "${good/good/other}"$'\n```c\nint x;\n```' >"$root/docs/manual.md"
planted "C without a line" README.md docs/manual.md
echo "${good/good/other}" >"$root/docs/manual.md"
echo "${good/good/third}" >"$root/docs/more.md"
planted "docs/more.md: C++ or C that is not compiled" README.md docs/manual.md

#!/usr/bin/env bash
# doors_self_test.sh ROOT WORK_DIR: doors.sh finds it out where a document no longer has the commands of one of its
# doors, or has some that bash cannot read.
set -euo pipefail
root=$1 work=$2
gates=$(cd "$(dirname "$0")" && pwd)

# plant TEXT DOCUMENT EXPRESSION: in a copy of the documents, changed so by sed, doors.sh says TEXT.
plant() {
  rm -rf "$work"
  mkdir -p "$work"
  (cd "$root" && cp -r --parents README.md bindings/python/README.md tests/packages "$work")
  sed -i "$3" "$work/$2"
  "$gates/expect_failure.sh" "$1" "$work/tests/packages/doors.sh" --show
}
for door in packages cmake wheel llama.cpp; do
  document=README.md
  if [[ $door == wheel ]]; then document=bindings/python/README.md; fi
  line="<!-- commands: $door -->"
  plant "$document has no commands after $line" $document "s/^$line$//"
  plant "$document has no commands after $line" $document "s/^$line$/&\nMore words./"
  plant "syntax error" $document "/^$line$/,/^\`\`\`$/s/^\`\`\`sh$/&\nif/"
done

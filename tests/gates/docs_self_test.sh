#!/usr/bin/env bash
# docs_self_test.sh ROOT: each of these, planted in a copy of the project, is caught by docs.sh.
set -euo pipefail
gates=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cd "$1"
cp -r ./*.md LICENSE bench cmake docs include kernels runtime bindings tests tools "$copy"
"$gates/docs.sh" "$copy"

# planted TEXT FILE LINE: with this line at the end of the file docs.sh says TEXT.
planted() {
  local text=$1 file=$copy/$2
  cp "$file" "$copy/saved"
  printf '%s\n' "$3" >>"$file"
  "$gates/expect_failure.sh" "$text" "$gates/docs.sh" "$copy"
  mv "$copy/saved" "$file"
}
planted "docs/manual.md links to lost.md" docs/manual.md "[lost](lost.md)"
planted "links to manual.md#lost, but there is no such heading" docs/kernels.md "[lost](manual.md#lost)"
planted "does not contain PrefillKernel::lost" docs/kernels.md $'[`PrefillKernel::lost`](../kernels/attention/prefill.inl.h)'
planted "kernels/lost.h does not exist" docs/architecture.md $'See `kernels/lost.h`.'
planted "kernels/isa/<name>.lost does not exist" docs/how-to-add.md $'See `kernels/isa/<name>.lost`.'
planted "there is no test lost_test" docs/how-to-add.md $'See `lost_test`.'
planted "there is no test Lost.Test" docs/how-to-add.md $'See `Lost.Test`.'
planted "README.md has" README.md "$(seq 200)"
planted "tile.svg is not drawn from" docs/pictures/tile.dot "// changed"
planted "includes.dot is not what the sources include" runtime/schedule/schedule.cc '#include "runtime/cpu/cpu.h"'
"$gates/expect_failure.sh" "nothing was checked" "$gates/docs.sh" "$gates"

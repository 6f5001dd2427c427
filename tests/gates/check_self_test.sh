#!/usr/bin/env bash
# check_self_test.sh: tools/check fails on a fault of each kind.
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build
# Within the tree, where the tools find their settings.
planted=$(mktemp -d build/check-XXXXXX)
trap 'rm -rf "$planted"' EXIT

printf 'int   f();\n' >"$planted/format.h"
# shellcheck disable=SC2016  # an unquoted $1 is the fault
printf '#!/usr/bin/env bash\nrm $1\n' >"$planted/script"
printf 'let x = ;\n' >"$planted/script.js"
printf 'int* Start() {\n  int* p = 0;\n  return p;\n}\n' >"$planted/tidy.cc"
printf '#include <cblas.h>\n' >"$planted/includes.h"
printf '#include <immintrin.h>\n' >"$planted/aarch64.cc"
printf 'int f() { return g(); }\n' >"$planted/clang.cc"

fails() { tests/gates/expect_failure.sh "$1" tools/check "${@:2}"; }
fails 'clang-format-violations' format "$planted/format.h"
fails 'SC2086' scripts "$planted/script"
if command -v node >/dev/null; then fails 'SyntaxError' javascript "$planted/script.js"; fi
fails 'modernize-use-nullptr' tidy "$planted/tidy.cc"
fails 'readability-identifier-naming' tidy "$planted/tidy.cc"
fails 'may not include <cblas.h>' includes "$planted/includes.h"
if command -v aarch64-linux-gnu-g++ >/dev/null; then
  fails 'immintrin.h: No such file' aarch64 "$planted/aarch64.cc"
fi
if [[ $(uname -m) == x86_64 ]]; then fails "undeclared identifier 'g'" clang "$planted/clang.cc"; fi

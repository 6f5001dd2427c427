#!/usr/bin/env bash
# forbidden_symbols.sh OBJECT...: the library never aborts, exits or prints, and never changes how many
# threads others use, so its objects do not refer to what does. GCC calls std::terminate where it sees
# that a function that promises not to throw may do so, which it does not always; clang does so
# wherever it cannot prove the promise, through __clang_call_terminate, which tells nothing.
set -euo pipefail
if (($# == 0)); then
  echo "no objects: nothing was checked"
  exit 1
fi
forbidden='abort|exit|_exit|_Exit|quick_exit|raise|__assert_fail|std::__glibcxx_assert_fail.*'
forbidden+='|(__)?v?f?d?printf(_chk)?|puts|fputs|putchar|putc|fputc|fwrite|perror|std(out|err)|write'
forbidden+='|std::(cout|cerr|clog|wcout|wcerr|wclog)(\[abi:.*\])?|std::ios_base::Init::Init\(\)'
forbidden+='|(openblas|goto|omp)_set_num_threads(_|_local)?'
if ! nm --defined-only "$@" | grep -q '__clang_call_terminate'; then forbidden+='|std::terminate\(\)'; fi
found=$(nm --undefined-only --demangle "$@" | sed -n 's/^ *U //p' | grep -xE "$forbidden" | sort -u || true)
if [[ -n $found ]]; then
  echo "forbidden: $found"
  exit 1
fi

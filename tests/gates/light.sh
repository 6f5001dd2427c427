#!/usr/bin/env bash
# light.sh PROGRAM ARGUMENT...: the program does not load OpenBLAS, and runs in 100 MB of address space.
set -euo pipefail
if ldd "$1" | grep -i blas; then
  echo "$1 loads this"
  exit 1
fi
ulimit -v 100000
timeout 60 "$@" >/dev/null

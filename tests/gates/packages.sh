#!/usr/bin/env bash
# packages.sh BUILD_DIR WORK_DIR: makes the Debian packages of BUILD_DIR in WORK_DIR, as somebody does whose
# files nobody else may read.
set -euo pipefail
umask 077
rm -rf "$2"
cpack --config "$1/CPackConfig.cmake" -B "$2" >/dev/null

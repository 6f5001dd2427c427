#!/usr/bin/env bash
# packages.sh BUILD_DIR WORK_DIR [NAME]: makes the Debian packages of BUILD_DIR, or NAME alone, in WORK_DIR, as
# somebody does whose files nobody else may read.
set -euo pipefail
umask 077
rm -rf "$2"
cpack --config "$1/CPackConfig.cmake" ${3:+-D CPACK_COMPONENTS_ALL="$3"} -B "$2" >/dev/null

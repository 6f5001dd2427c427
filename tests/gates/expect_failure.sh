#!/usr/bin/env bash
# expect_failure.sh TEXT COMMAND...: succeeds where COMMAND fails and says TEXT. What shows that a gate
# can close.
set -euo pipefail
text=$1
shift
if output=$("$@" 2>&1); then
  echo "this should have failed: $*"
  exit 1
fi
if [[ $output != *"$text"* ]]; then
  echo "failed without saying '$text': $output"
  exit 1
fi

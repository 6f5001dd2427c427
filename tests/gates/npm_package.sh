#!/usr/bin/env bash
# npm_package.sh ROOT WORK_DIR: cmake/npm_package.cmake takes files out of archives that have the bytes of the
# lock file, and says why where one has others or cannot be had.
set -euo pipefail
root=$(realpath "$1") work=$2
rm -rf "$work"
mkdir -p "$work/package/dist"
cd "$work"

cat >take.cmake <<'END'
include(${ROOT}/cmake/npm_package.cmake)
heed_npm_package(some.js lock.json FILES dist/some.js LICENSE FOLDER folder FAULT fault)
if(fault)
  message("fault: ${fault}")
else()
  file(READ ${folder}/dist/some.js text)
  message("text: ${text}")
endif()
END

# pack TEXT: the archive some.tgz, and the lock file that has its bytes.
pack() {
  local bytes
  echo "$1" >package/dist/some.js
  echo "licence" >package/LICENSE
  tar -czf some.tgz package
  bytes=$(sha512sum <some.tgz | cut -d ' ' -f 1 | sed 's/../\\x&/g')
  # shellcheck disable=SC2059  # the bytes are escapes of a format
  cat >lock.json <<END
{"packages": {"node_modules/some.js": {
  "resolved": "file://$PWD/some.tgz", "integrity": "sha512-$(printf "$bytes" | base64 -w 0)"}}}
END
}

# expect PART: taking the package says PART.
expect() {
  local said
  said=$(cmake -D ROOT="$root" -D PROJECT_BINARY_DIR="$PWD/build" -P take.cmake 2>&1)
  if [[ $said != *"$1"* ]]; then
    echo "expected: $1"
    echo "was: $said"
    exit 1
  fi
}

# Each checksum has other letters.
for text in {1..20}; do
  rm -rf build
  pack "$text"
  expect "text: $text"
done
# What was downloaded serves without the registry.
rm some.tgz
expect "text: 20"
rm -r build
expect "fault: file://$PWD/some.tgz: "
if [[ -s build/npm/some.tgz ]]; then
  echo "what is no archive stayed"
  exit 1
fi
pack other
sed -i 's/sha512-./sha512-_/' lock.json
"$root/tests/gates/expect_failure.sh" "the integrity of some.js must be one SHA-512" \
  cmake -D ROOT="$root" -D PROJECT_BINARY_DIR="$PWD/build" -P take.cmake
pack other
cp some.tgz others.tgz
pack another
cp others.tgz some.tgz
expect "fault: file://$PWD/some.tgz: the bytes are not those of the lock file"

#!/usr/bin/env bash
# components.sh PREFIX WORK_DIR CXX: find_package says why it finds no heed::layer, does without where it is
# optional, finds heed::heed_layer_c without OpenBLAS's files, and takes a heed of the wanted minor version
# only.
set -euo pipefail
prefix=$1 work=$2 cxx=$3
gates=$(cd "$(dirname "$0")" && pwd)
rm -rf "$work"
mkdir -p "$work/nothing"
find_heed=(cmake --fresh -S "$gates/consumer" -B "$work/build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx"
  -DCMAKE_PREFIX_PATH="$prefix")
without_openblas=(env PKG_CONFIG_LIBDIR="$work/nothing" "${find_heed[@]}")
"$gates/expect_failure.sh" "heed's component layer" "${without_openblas[@]}" -DCOMPONENTS=layer
"$gates/expect_failure.sh" "heed has no component head" "${find_heed[@]}" -DCOMPONENTS=head
"${without_openblas[@]}" -DCOMPONENTS="OPTIONAL_COMPONENTS;layer" >/dev/null
if [[ -n $(find "$prefix" -name heed_layer_c.pc) ]]; then
  "${without_openblas[@]}" -DCOMPONENTS=layer_c >/dev/null
fi

IFS=. read -r major minor _ < <(sed -n 's/^Version: //p' "$(find "$prefix" -name heed.pc)")
"${find_heed[@]}" -DWANTED_VERSION="$major.$minor" >/dev/null
for other in $((minor + 1)) $((minor - 1)); do
  if ((other < 0)); then continue; fi
  "$gates/expect_failure.sh" "requested version \"$major.$other\"" "${find_heed[@]}" -DWANTED_VERSION="$major.$other"
done

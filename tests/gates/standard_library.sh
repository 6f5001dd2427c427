#!/usr/bin/env bash
# standard_library.sh PREFIX WORK_DIR CXX [FLAG...]: the headers of the heed installed in PREFIX refuse
# C++17, each by itself and in a sentence (but for that of C), and a program whose vectors or strings
# differ from the library's does not link.
set -euo pipefail
prefix=$1 work=$2 cxx=$3
shift 3
gates=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work"

for header in "$prefix"/include/heed/*.h; do
  [[ ${header##*/} == heed_c.h ]] && continue
  # The first message is what the reader sees.
  said=$(echo "#include <heed/$(basename "$header")>" |
    "$cxx" -std=c++17 -E "$@" -I "$prefix/include" -x c++ - 2>&1 >/dev/null | grep -m1 error || true)
  if [[ $said != *"heed's headers are C++20"* ]]; then
    echo "$(basename "$header") does not refuse C++17: $said"
    exit 1
  fi
done

pkgconfig=$(dirname "$(find "$prefix" -name heed.pc)")
flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed)
# Word splitting is meant: flags are several arguments.
# shellcheck disable=SC2086
link() { "$cxx" -std=c++20 "$@" "$gates/consumer/consumer.cc" -o "$work/consumer" $flags; }
link "$@"
refuses() {
  local tag=$1 said
  shift
  if said=$(link "$@" 2>&1); then
    echo "a program with ${*: -1} links"
    exit 1
  fi
  grep -qF "heed::plan_attention[abi:$tag" <<<"$said"
}
refuses GLIBCXX_DEBUG "$@" -D_GLIBCXX_DEBUG
refuses GLIBCXX_OLD_STRINGS "$@" -D_GLIBCXX_USE_CXX11_ABI=0

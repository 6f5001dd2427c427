#!/usr/bin/env bash
# plugin.sh static|shared PREFIX WORK_DIR CXX [FLAG...]: a plug-in with the heed installed in PREFIX can be
# loaded, run on two threads and unloaded again and again; with a static heed it exports nothing of
# heed's, and never runs the heed of another plug-in. FLAGs are linked with in the place of what
# pkg-config says about unloading.
set -euo pipefail
kind=$1 prefix=$2 work=$3 cxx=$4
shift 4
source=$(cd "$(dirname "$0")" && pwd)/plugin
rm -rf "$work"
mkdir -p "$work"
pkgconfig=$(dirname "$(find "$prefix" -name heed.pc)")
flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed)
if (($# > 0)); then flags=${flags/-Wl,-z,nodelete/}; fi
for name in plugin copy; do
  # Word splitting is meant: flags are several arguments.
  # shellcheck disable=SC2086
  "$cxx" -std=c++20 -fPIC -shared "$source/plugin.cc" -o "$work/$name.so" "$@" $flags
done
"$cxx" -std=c++20 "$source/main.cc" -o "$work/main" -ldl

LD_LIBRARY_PATH=$(dirname "$pkgconfig")
export LD_LIBRARY_PATH
stays=$work/plugin.so
if [[ $kind == shared ]]; then stays=$LD_LIBRARY_PATH/libheed.so; fi
if ! readelf -d "$stays" | grep -q NODELETE; then
  echo "$stays may be unloaded"
  exit 1
fi
timeout 120 "$work/main" "$work/plugin.so"

if [[ $kind == static ]]; then
  # Inline functions of the headers are the plug-in's own.
  if nm --dynamic --defined-only --demangle "$work/plugin.so" | grep ' T heed::'; then
    echo "the plug-in exports these"
    exit 1
  fi
  said=$("$work/main" "$work/plugin.so" "$work/copy.so")
  if [[ $said != "a heed each" ]]; then
    echo "two plug-ins run $said"
    exit 1
  fi
fi

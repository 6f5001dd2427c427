#!/usr/bin/env bash
# installed.sh static|shared BUILD_DIR WORK_DIR CXX: installs BUILD_DIR under WORK_DIR, checks what came, and
# builds and runs the consumers against it, by find_package and by pkg-config.
set -euo pipefail
kind=$1 build=$2 work=$3 cxx=$4
consumer=$(cd "$(dirname "$0")" && pwd)/consumer
prefix=$work/prefix
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$prefix" >/dev/null

library=$(find "$prefix" -name 'libheed.*' -type f)
case $kind:$library in
  static:*.a) ;;
  shared:*.so.*)
    exported=$(nm --dynamic --defined-only --demangle "$library" | sed 's/^[0-9a-f]* [A-Za-z] //')
    grep -q '^heed::plan_attention(' <<<"$exported"
    if grep -vE '^heed::' <<<"$exported" || grep -E '^heed::(detail|kernels)::' <<<"$exported"; then
      echo "these should not be exported"
      exit 1
    fi
    needed=$(readelf -d "$library" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]$/\1/p')
    grep -q '^libtbb' <<<"$needed"
    if grep -vE '^(libtbb|libstdc\+\+|libm|libgcc_s|libc|ld-linux-[a-z0-9-]+)\.so' <<<"$needed"; then
      echo "these should not be needed at run time"
      exit 1
    fi
    ;;
  *)
    echo "expected one $kind library, found '$library'"
    exit 1
    ;;
esac

for text in LICENSE THIRD_PARTY_NOTICES; do
  if [[ ! -s $prefix/share/doc/heed/$text ]]; then
    echo "$text is not installed"
    exit 1
  fi
done
if [[ -x $prefix/bin/heed ]]; then
  "$prefix/bin/heed" info >/dev/null
  "$prefix/bin/heed" generate --help >/dev/null || [[ ! -e $prefix/libexec/heed/heed-generate ]]
fi

layer=$(find "$prefix" -name 'libheed_layer.*' -type f)
if [[ $kind:$layer == shared:*.so.* ]]; then
  exported=$(nm --dynamic --defined-only --demangle "$layer" | sed 's/^[0-9a-f]* [A-Za-z] //')
  grep -q '^heed::MultiHeadAttention::forward(' <<<"$exported"
  if grep -vE '^heed::' <<<"$exported" || grep -E '^heed::detail::' <<<"$exported"; then
    echo "these should not be exported by the layer"
    exit 1
  fi
fi

c=$(find "$prefix" -name 'libheed_c.so.1')
layer_c=$(find "$prefix" -name 'libheed_layer_c.so.1')
for file in $c $layer_c; do
  if readelf -d "$file" | grep -F '(NEEDED)' | grep -F '[libheed'; then
    echo "the library for C should contain heed"
    exit 1
  fi
done
if [[ -n $c ]] && readelf -d "$c" | grep -F '(NEEDED)' | grep -F blas; then
  echo "only the library with the layer should need OpenBLAS"
  exit 1
fi

cmake -S "$consumer" -B "$work/cmake" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCOMPONENTS="${layer:+layer}" >/dev/null
cmake --build "$work/cmake"
for program in "$work"/cmake/*consumer; do "$program"; done

pkgconfig=$(dirname "$(find "$prefix" -name heed.pc)")
libraries=$(dirname "$library")
if [[ $kind == shared ]]; then
  # What a shared library needs need not be there to compile against it.
  PKG_CONFIG_LIBDIR=$pkgconfig pkg-config --cflags --libs heed ${layer:+heed-layer} >/dev/null
fi
flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed)
# Word splitting is meant: flags are several arguments.
# shellcheck disable=SC2086
"$cxx" -std=c++20 "$consumer/consumer.cc" -o "$work/consumer" $flags
LD_LIBRARY_PATH=$libraries "$work/consumer"
if [[ -n $c ]]; then
  cmake -S "$consumer/c" -B "$work/c" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
  cmake --build "$work/c"
  "$work/c/c_consumer"
  flags=$(PKG_CONFIG_LIBDIR=$pkgconfig pkg-config --cflags --libs heed_c)
  # shellcheck disable=SC2086
  cc -std=c99 "$consumer/c/c_consumer.c" -o "$work/c_consumer" $flags
  LD_LIBRARY_PATH=$libraries "$work/c_consumer"
fi
if [[ -n $layer_c ]]; then
  "$work/c/layer_c_consumer"
  flags=$(PKG_CONFIG_LIBDIR=$pkgconfig pkg-config --cflags --libs heed_layer_c)
  # shellcheck disable=SC2086
  cc -std=c99 "$consumer/c/layer_c_consumer.c" -o "$work/layer_c_consumer" $flags
  LD_LIBRARY_PATH=$libraries "$work/layer_c_consumer"
fi
if [[ -n $layer ]]; then
  flags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --cflags --libs heed-layer)
  # shellcheck disable=SC2086
  "$cxx" -std=c++20 "$consumer/layer_consumer.cc" -o "$work/layer_consumer" $flags
  LD_LIBRARY_PATH=$libraries "$work/layer_consumer"
fi

#!/usr/bin/env bash
# c_libraries.sh PREFIX WORK_DIR CC: a process may have both libraries for C, in whatever order it loads them:
# what is linked against one never calls the other.
set -euo pipefail
prefix=$1 work=$2 cc=$3
rm -rf "$work"
mkdir -p "$work"
pkgconfig=$(dirname "$(find "$prefix" -name heed_c.pc)")
# user LIBRARY: libLIBRARY_user.so, whose LIBRARY_fails makes a call of the library fail, and whose
# LIBRARY_message is the sentence of its last failure.
user() {
  local flags
  flags=$(PKG_CONFIG_LIBDIR=$pkgconfig pkg-config --cflags --libs "$1")
  printf '#include <heed/heed_c.h>\nvoid %s_fails(void) { heed_plan_create(0); }\n' "$1" >"$work/$1.c"
  printf 'const char* %s_message(void) { return heed_last_message(); }\n' "$1" >>"$work/$1.c"
  # Word splitting is meant: flags are several arguments.
  # shellcheck disable=SC2086
  "$cc" -shared -fPIC "$work/$1.c" -o "$work/lib$1_user.so" $flags
}
user heed_c
user heed_layer_c
cat >"$work/main.c" <<'MAIN'
#include <stdio.h>
void heed_c_fails(void);
const char* heed_c_message(void);
const char* heed_layer_c_message(void);
int main(void) {
  heed_c_fails();
  printf("%s|%s\n", heed_c_message(), heed_layer_c_message());
  return 0;
}
MAIN
for order in "heed_c heed_layer_c" "heed_layer_c heed_c"; do
  read -r first second <<<"$order"
  "$cc" "$work/main.c" -o "$work/main" -L "$work" "-l${first}_user" "-l${second}_user" \
    -Wl,-rpath-link,"$(dirname "$pkgconfig")"
  said=$(LD_LIBRARY_PATH=$work:$(dirname "$pkgconfig") "$work/main")
  if [[ $said != "plan must not be null|" ]]; then
    echo "with $first loaded before $second: $said"
    exit 1
  fi
done

#!/usr/bin/env bash
# reuse_object.sh COMPILER ARGUMENT...: a compiler launcher of CMake's. Takes the object from
# HEED_BUILT_DIR where its compile_commands.json has the same command, and compiles where not. The name of the
# build folder may differ, heed may be built in the folder heed of a project, and warnings may be no errors. Sources
# that builds make must be the same in both. Without HEED_BUILT_DIR everything is compiled.
set -euo pipefail
[[ -n ${HEED_BUILT_DIR:-} ]] || exec "$@"
object='' depfile=''
for ((i = 1; i < $#; ++i)); do
  next=$((i + 1))
  case ${!i} in
    -o) object=${!next} ;;
    -MF) depfile=${!next} ;;
  esac
done
built=$HEED_BUILT_DIR/${object#heed/}
# What writes dependencies is not in compile_commands.json.
command=$*
command=${command//"$PWD"/$HEED_BUILT_DIR}
command=${command//\"/\\\\\\\"}
command=${command/ -MD -MT "$object" -MF "$depfile"/}
command=${command/ -o heed\// -o }
command=${command/ -Werror / }
# same FILE: whether this build makes it as the other one does, if builds make it. A precompiled header (.gch) differs;
# the headers in it are listed as well.
same() {
  [[ $1 == "$HEED_BUILT_DIR"/* && $1 != *.gch ]] || return 0
  local text include='#include "' file=$PWD/${1#"$HEED_BUILT_DIR"/}
  [[ -f $file ]] || return
  text=$(<"$file")
  [[ ${text//"$include$PWD"/"$include$HEED_BUILT_DIR"} == "$(<"$1")" ]]
}
# fresh: whether BUILT is there and its sources, which it lists, are the same and none of them is newer.
sources=()
fresh() {
  [[ -n $depfile && -f $built ]] || return
  local file
  while read -r file; do
    [[ $file == /* ]] || file=$HEED_BUILT_DIR/$file
    if [[ $file -nt $built ]] || ! same "$file"; then return 1; fi
    sources+=("$file")
  done < <(ninja -n -C "$HEED_BUILT_DIR" -t deps "${object#heed/}" | sed -n 's|^    ||p')
  ((${#sources[@]} > 0))
}
if fresh && sed 's/ -Werror / /' "$HEED_BUILT_DIR/compile_commands.json" | grep -F -- "$command\"," >/dev/null; then
  cp "$built" "$object"
  # The object depends on its sources as well: a later build without HEED_BUILT_DIR must see that they have changed.
  {
    printf '%s:' "$object"
    printf ' %s' "${built// /\\ }" "${sources[@]// /\\ }"
    echo
  } >"$depfile"
else
  "$@"
fi

#!/usr/bin/env bash
# reuse_object.sh COMPILER ARGUMENT...: a compiler launcher of CMake's. Takes the object from
# HEED_BUILT_DIR where its compile_commands.json has the same command, and compiles where not. The name of the
# build folder may differ, heed may be built in the folder heed of a project, and warnings may be no errors. Without
# HEED_BUILT_DIR everything is compiled.
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
# fresh: whether BUILT is there and none of its sources, which it lists, is newer.
sources=()
fresh() {
  [[ -n $depfile && -f $built ]] || return
  local source
  while read -r source; do
    [[ $source == /* ]] || source=$HEED_BUILT_DIR/$source
    [[ ! $source -nt $built ]] || return
    sources+=("$source")
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

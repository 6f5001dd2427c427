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
if [[ -n $depfile && -f $built ]] &&
  sed 's/ -Werror / /' "$HEED_BUILT_DIR/compile_commands.json" | grep -F -- "$command\"," >/dev/null; then
  cp "$built" "$object"
  # Its sources as well: a later build without HEED_BUILT_DIR must see that they have changed.
  sources=$(ninja -C "$HEED_BUILT_DIR" -t deps "${object#heed/}" | sed -n 's|^    /|/|p')
  sed 's/ /\\ /g' <<<"$built"$'\n'"$sources" | tr '\n' ' ' | sed "s|^|$object: |" >"$depfile"
else
  "$@"
fi

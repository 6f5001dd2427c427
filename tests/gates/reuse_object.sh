#!/usr/bin/env bash
# reuse_object.sh COMPILER ARGUMENT...: a compiler launcher of CMake's. Takes the object from
# HEED_BUILT_DIR where its compile_commands.json has the very same command, but for the name of the build
# folder, and compiles where not.
set -euo pipefail
object='' depfile=''
for ((i = 1; i < $#; ++i)); do
  next=$((i + 1))
  case ${!i} in
    -o) object=${!next} ;;
    -MF) depfile=${!next} ;;
  esac
done
built=$HEED_BUILT_DIR/$object
# What writes dependencies is not in compile_commands.json.
command=$*
command=${command//"$PWD"/$HEED_BUILT_DIR}
command=${command//\"/\\\\\\\"}
command=${command/ -MD -MT "$object" -MF "$depfile"/}
if [[ -n $depfile && -f $built ]] &&
  grep -qF -- "$command\"," "$HEED_BUILT_DIR/compile_commands.json"; then
  cp "$built" "$object"
  echo "$object: $built" >"$depfile"
else
  "$@"
fi

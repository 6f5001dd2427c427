#!/usr/bin/env bash
# package_contents.sh ROOT PACKAGES LIST: the Debian packages in the folder PACKAGES are those of LIST, with
# these fields, scripts, files and permissions. LIST is the same for every version and every machine:
#
#   VERSION SOVERSION   stand for heed's version, and for the part of it that the names of libraries have
#   any, usr/lib        stand for the machine's architecture, and for its folder of libraries
#   *.h *.py            stand for all of heed's headers and for all of its modules for Python
#
# and says nothing of the versions of what heed depends on.
set -euo pipefail
export LC_ALL=C
root=$1 packages=$2 list=$3
version=$(sed -nE 's/^project\(heed VERSION ([0-9.]+) .*/\1/p' "$root/CMakeLists.txt")
soversion=${version%.*}

# all_of PATH SUFFIX FOLDER: of a list of files, those of PATH with this suffix as one line PATH/*SUFFIX, if
# they are those of the folder FOLDER of ROOT.
all_of() {
  local path=$1 suffix=$2 files wanted
  files=$(cat)
  wanted=$(cd "$root/$3" && printf '%s\n' *"$suffix" | sed "s,^,-rw-r--r-- $path/,")
  awk -v wanted="$wanted" -v line="-rw-r--r-- $path/*$suffix" '
    BEGIN { left = split(wanted, names, "\n"); for (i in names) ours[names[i]] }
    { lines[NR] = $0; if ($0 in ours) --left }
    END {
      for (i = 1; i <= NR; ++i) {
        if (left > 0 || !(lines[i] in ours)) print lines[i]
        else if (!told++) print line
      }
    }' <<<"$files"
}

# contents PACKAGE: its files with permissions, sorted by name, and the folders that not everybody may enter.
contents() {
  dpkg-deb --contents "$1" | sed -nE '/^drwxr-xr-x/d; s/^([^ ]+) +[^ ]+ .* \.\/(.*)/\1 \2/p' |
    sed -E 's, usr/lib/[a-z0-9_]+-linux-gnu[^/]*/, usr/lib/,' | sort -k 2
}

# describe PACKAGE: what LIST says of it.
describe() {
  local field value
  for field in Package Architecture Section Depends Recommends Suggests; do
    value=$(dpkg-deb --field "$1" $field)
    if [[ $field == Architecture ]]; then value=${value/$(dpkg --print-architecture)/any}; fi
    # Debian names libfmt after its version.
    value=$(sed -E "s/\($version\)//; s/\((>=?) [^)]*\)//g; s/ +(,|$)/\1/g; s/libfmt[0-9]+/libfmt/" <<<"$value")
    if [[ -n $value ]]; then echo "$field: $value"; fi
  done
  echo "Scripts:$(dpkg-deb --ctrl-tarfile "$1" | tar -t | sed -nE 's,\./(pre|post)(inst|rm)$, \1\2,p' | sort | tr -d '\n')"
  contents "$1" | all_of usr/include/heed .h include/heed | all_of usr/include/heed/c .h include/heed/c |
    all_of usr/lib/python3/dist-packages/heed .py bindings/python/heed
  echo
}

shopt -s nullglob
for package in "$packages"/*.deb; do describe "$package"; done |
  sed "s/${version//./\\.}/VERSION/g; s/${soversion//./\\.}/SOVERSION/g" | diff -u "$list" -

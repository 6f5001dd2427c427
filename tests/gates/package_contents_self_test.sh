#!/usr/bin/env bash
# package_contents_self_test.sh ROOT PACKAGES LIST WORK_DIR: package_contents.sh finds a fault of each kind, planted
# in a copy of the packages in PACKAGES.
set -euo pipefail
root=$1 packages=$2 list=$3 work=$4
gates=$(cd "$(dirname "$0")" && pwd)

# plant TEXT COMMAND: runs the command in the unpacked package for Python; the difference from LIST must
# have the line TEXT.
plant() {
  rm -rf "$work"
  mkdir -p "$work/copy"
  cp "$packages"/*.deb "$work/copy"
  local package
  package=$(echo "$work"/copy/python3-heed_*.deb)
  dpkg-deb --raw-extract "$package" "$work/unpacked"
  (cd "$work/unpacked" && eval "$2")
  dpkg-deb --root-owner-group -Znone --build "$work/unpacked" "$package" >/dev/null
  "$gates/expect_failure.sh" "$1" "$gates/package_contents.sh" "$root" "$work/copy" "$list"
}
module=usr/lib/python3/dist-packages/heed
plant "+-rw-r--r-- $module/more.py" "touch $module/more.py"
plant "+-rw-r--r-- $module/py.untyped" "mv $module/py.typed $module/py.untyped"
plant "--rw-r--r-- $module/*.py" "rm $module/torch.py"
plant "+-rwxr-xr-x $module/torch.py" "chmod +x $module/torch.py"
plant "+drwx------ $module/" "chmod 700 $module"
plant "+Depends: libheed-c1" "sed -i 's/^Depends: .*/Depends: libheed-c1/' DEBIAN/control"
plant "+Scripts: postinst" "rm DEBIAN/prerm"
plant "+Package: python4-heed" "sed -i 's/^Package: .*/Package: python4-heed/' DEBIAN/control"

rm "$work"/copy/heed_*.deb
"$gates/expect_failure.sh" "--rwxr-xr-x usr/bin/heed" "$gates/package_contents.sh" "$root" "$work/copy" "$list"

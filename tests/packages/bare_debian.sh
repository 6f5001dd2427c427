#!/usr/bin/env bash
# bare_debian.sh PACKAGES [DEBIAN]: installs the packages of the folder PACKAGES in a bare Debian 12, runs the
# command and every example of the documents in C++, C and Python there, removes the packages, and sees
# that nothing is left of them. debootstrap makes the Debian, or it is a copy of the folder DEBIAN. For
# root, with a network.
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
packages=$(realpath -e -- "$1") debian=${2:-}
# shellcheck source=tests/packages/debian.sh
source "$(dirname "$0")/debian.sh"
install() { there "quiet=(-y -qq --no-install-recommends); apt-get install \"\${quiet[@]}\" $*"; }

bring_packages() {
  (cd "$source" && cp -r --parents README.md docs/manual.md bindings/python/README.md tests/gates tests/python \
    "$root/root/heed")
  cp "$packages"/*.deb "$root/root/heed"
}

try_command() {
  quietly install ./heed_*.deb
  there "heed info | sed -n 1,3p"
  if there "dpkg-query -W | grep openblas"; then
    echo "the command brought OpenBLAS"
    return 1
  fi
  quietly install ./heed-generate_*.deb
  there "heed generate --help | sed -n 1p"
}

try_libraries() {
  quietly install './*.deb' g++ cmake ninja-build pkg-config libopenblas-dev
  there "tests/gates/readme_examples.sh . /usr /tmp/examples c++ README.md docs/manual.md"
  for project in consumer consumer/c; do
    quietly there "cmake -S tests/gates/$project -B /tmp/$project -G Ninja -DCOMPONENTS=layer"
    quietly there "cmake --build /tmp/$project"
    there "for program in /tmp/$project/*consumer; do \$program; echo \$program; done"
  done
}

try_python() {
  quietly install python3-numpy
  there "python3 tests/python/examples_test.py"
  there "cd / && python3 -c 'import heed; print(heed.__file__)'"
}

remove() {
  mapfile -t names < <(for package in "$packages"/*.deb; do dpkg-deb --field "$package" Package; done)
  quietly inside apt-get purge -y "${names[@]}"
  local left
  left=$(cd "$root" && find . -xdev \( -path ./proc -o -path ./tmp -o -path ./root -o -path ./var/log \) -prune -o -name '*heed*' -print)
  left+=$(inside ldconfig -p | grep heed || true)
  left+=$(inside dpkg -l | grep heed || true)
  if [[ -n $left ]]; then
    echo "these are left: $left"
    return 1
  fi
  echo "nothing is left of ${names[*]}"
}

say "a bare Debian"
make_debian "$debian"
bring_packages
inside cat /etc/debian_version
say "the command"
try_command
say "examples in C++ and C, by pkg-config and by find_package"
try_libraries
say "examples in Python"
try_python
say "removing"
remove

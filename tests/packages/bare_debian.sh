#!/usr/bin/env bash
# bare_debian.sh PACKAGES [DEBIAN]: installs the packages of the folder PACKAGES in a bare Debian 12, runs the
# command and every example of the documents in C++, C and Python there, removes the packages, and sees
# that nothing is left of them. debootstrap makes the Debian, or it is a copy of the folder DEBIAN. For
# root, with a network.
set -euo pipefail
packages=$(realpath -e -- "$1") debian=${2:-}
source=$(cd "$(dirname "$0")/../.." && pwd)
if ((EUID != 0)); then
  echo "bare_debian.sh: only root can make a Debian and enter it" >&2
  exit 2
fi
work=$(mktemp -d)
root=$work/root
clean_up() {
  if mountpoint -q "$root/proc"; then umount "$root/proc"; fi
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT
say() { printf '\n== %s\n' "$*"; }
# quietly COMMAND...: shows what the command says only where it fails.
quietly() { "$@" >"$work/log" 2>&1 || {
  tail -n 30 "$work/log"
  return 1
}; }
inside() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}
# Words of the commands below are expanded in the Debian, where the packages are.
there() { inside bash -euo pipefail -c "cd /tmp/heed && $*"; }
install() { there "quiet=(-y -qq --no-install-recommends); apt-get install \"\${quiet[@]}\" $*"; }

make_debian() {
  if [[ -n $debian ]]; then
    cp -a -- "$debian" "$root"
  else
    quietly debootstrap --variant=minbase bookworm "$root"
  fi
  mount -t proc proc "$root/proc"
  mkdir "$root/tmp/heed"
  (cd "$source" && cp -r --parents README.md docs/manual.md bindings/python/README.md tests/gates tests/python \
    "$root/tmp/heed")
  cp "$packages"/*.deb "$root/tmp/heed"
  quietly inside apt-get update
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
  left=$(cd "$root" && find . -xdev \( -path ./proc -o -path ./tmp -o -path ./var/log \) -prune -o -name '*heed*' -print)
  left+=$(inside ldconfig -p | grep heed || true)
  left+=$(inside dpkg -l | grep heed || true)
  if [[ -n $left ]]; then
    echo "these are left: $left"
    return 1
  fi
  echo "nothing is left of ${names[*]}"
}

say "a bare Debian"
make_debian
inside cat /etc/debian_version
say "the command"
try_command
say "examples in C++ and C, by pkg-config and by find_package"
try_libraries
say "examples in Python"
try_python
say "removing"
remove

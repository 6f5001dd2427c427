# shellcheck shell=bash
# Sourced by the programs that try heed in a bare Debian 12: makes one, and runs commands in it. For root, with a
# network.
if ((EUID != 0)); then
  echo "$(basename "$0"): only root can make a Debian and enter it" >&2
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
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}
# Words of the commands below are expanded in the Debian, in the folder heed of its root.
there() { inside bash -euo pipefail -c "cd ~/heed && $*"; }

# make_debian [DEBIAN]: by debootstrap, or as a copy of the folder DEBIAN, with the authorities that this
# machine trusts besides Debian's.
make_debian() {
  if [[ -n ${1:-} ]]; then
    cp -a -- "$1" "$root"
  else
    quietly debootstrap --variant=minbase bookworm "$root"
  fi
  mount -t proc proc "$root/proc"
  mkdir -p "$root/root/heed"
  if [[ -d /usr/local/share/ca-certificates ]]; then cp -r /usr/local/share/ca-certificates "$root/usr/local/share"; fi
  quietly inside apt-get update
}

# shellcheck shell=bash
# Sourced by the programs of tools/ and bench/peers/run: installs what is missing, and builds
# presets. heed_more_packages, an array, names packages that only the caller needs; heed_packages, where the
# caller sets it, all that it needs.

# A Debian machine needs these to build heed, its tests and its benchmarks.
heed_libraries=(
  libtbb-dev libxsimd-dev libopenblas-dev
  libgtest-dev libbenchmark-dev
  libcli11-dev libfmt-dev nlohmann-json3-dev
)
if [[ ! -v heed_packages ]]; then
  heed_packages=(
    g++ cmake ninja-build pkg-config
    "${heed_libraries[@]}"
    "${heed_more_packages[@]}"
  )
fi

install_packages() {
  local package installed missing=() as_root=()
  [[ "${CXX:-}" == *clang* ]] && heed_packages+=(clang)
  if ! command -v dpkg-query >/dev/null; then
    echo "no dpkg here: heed needs what Debian calls ${heed_packages[*]}" >&2
    return
  fi
  # shellcheck disable=SC2016  # dpkg-query expands it
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${heed_packages[@]}" 2>/dev/null || true)
  for package in "${heed_packages[@]}"; do
    grep -qxF "installed $package" <<<"$installed" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then return; fi
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "missing packages; as root: apt-get install ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# configure_preset PRESET [-D...]: afresh where CXX now names another compiler.
configure_preset() {
  local preset=$1 cache="build/$1/CMakeCache.txt" fresh=() compiler cached
  shift
  compiler=$(command -v "${CXX:-c++}" || true)
  if [[ -f $cache ]]; then
    cached=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$cache")
    [[ -z $compiler || $cached == "$compiler" ]] || fresh=(--fresh)
  fi
  cmake --preset "$preset" "${fresh[@]}" --log-level=WARNING "$@"
}

# build_preset PRESET [-D...] TARGET...: configures and builds.
build_preset() {
  local preset=$1 options=()
  shift
  while [[ $1 == -D* ]]; do
    options+=("$1")
    shift
  done
  configure_preset "$preset" "${options[@]}"
  cmake --build --preset "$preset" --parallel "$(nproc)" --target "$@"
}

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
install_packages

#!/usr/bin/env bash
# install_test.sh BUILD-TREE COMPILER: installs, builds course/ against it, runs it.
set -euo pipefail
build=$1 compiler=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log" || {
    cat "$scratch/install.log"
    exit 1
}
[[ -f $scratch/prefix/share/man/man1/dualvm.1 ]] || { echo "the manual page was not installed"; exit 1; }
if [[ -x $build/dualvm ]]; then "$scratch/prefix/bin/dualvm" --version; fi

cmake -S "$here/course" -B "$scratch/course" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_PREFIX_PATH="$scratch/prefix"
cmake --build "$scratch/course"
"$scratch/course/course"

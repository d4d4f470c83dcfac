#!/usr/bin/env bash
# Runs one test program of a cross build under qemu-user, with fewer cases. Prints one line when it passed, all when it failed.
# usage: .ci/emulate.sh ARCHITECTURE CPU NAME     ARCHITECTURE: arm64 or armhf; CPU: as qemu names it; NAME: of tests/test_NAME.c
set -u
arch=$1 cpu=$2 name=$3 start=$SECONDS
root=$PWD/build
case $arch in
arm64) qemu="qemu-aarch64" ;;
armhf) qemu="qemu-arm" ;;
esac
scratch=$root/$arch/emulated-$cpu-$name
mkdir -p "$scratch"
cd "$scratch" || exit 1
if NIBBLE_TEST_QUICK=1 timeout 1800 "$qemu" -cpu "$cpu" -L "$root/sysroot-$arch/tree" "$root/$arch/tests/test_$name" >log 2>&1; then
    echo "Passed: $name on $arch, $cpu, $((SECONDS - start)) s."
else
    cat log
    echo "FAILED: $name on $arch, $cpu, $((SECONDS - start)) s."
    exit 1
fi

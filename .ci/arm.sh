# The arm steps of ./check: cross builds and emulated tests. Sourced after common.sh.
# shellcheck shell=bash

# What is emulated: architecture, CPU, tests. Cortex-A72 has Advanced SIMD only, A76 sdot, max everything that qemu knows.
arm_table() {
    cat <<'TABLE'
arm64 max        golden_bits
arm64 cortex-a76 golden_bits
arm64 cortex-a72 golden_bits
armhf max        golden_bits
armhf max        engine
armhf max        tokenizer_golden
arm64 max        golden
arm64 max        kernels
arm64 cortex-a76 kernels
arm64 cortex-a72 kernels
armhf max        kernels
arm64 max        engine
arm64 cortex-a76 engine
arm64 cortex-a72 engine
arm64 max        overflow
arm64 max        rows
arm64 max        attend
arm64 max        saved
arm64 max        quant
armhf max        quant
TABLE
}

arm_targets() { # ARCHITECTURE
    arm_table | awk -v arch="$1" '$1 == arch { print "test_" $3 }' | sort -u
}

# Everything that the arm steps need: Debian's cross compilers and qemu-user, installed like the other packages, and the arm
# libraries in build/sysroot-*, where they do not touch the system's packages. Where that fails, sets arm_why and returns 1.
# shellcheck disable=SC2034 # ./check reads arm_why
arm_prepare() {
    local packages arch
    arm_why=
    if [ "$(uname -sm)" != "Linux x86_64" ] || [ "$(package_system)" != apt-get ]; then
        arm_why="cross compilers and arm libraries are known to this script for Debian and Ubuntu on x86-64 only"
        return 1
    fi
    packages=$(packages_missing apt-get arm | tr '\n' ' ')
    if [ -n "$packages" ]; then
        say "Installing with apt-get, to compile for arm and emulate it: $packages."
        # shellcheck disable=SC2086 # a list of package names
        if ! (as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends $packages); then
            arm_why="these packages could not be installed: $packages"
            return 1
        fi
    fi
    for arch in arm64 armhf; do
        say "Unpacking libraries of $arch into build/sysroot-$arch; nothing of the system is changed."
        if ! .ci/sysroot.sh "$arch" "build/sysroot-$arch"; then
            arm_why="the libraries of $arch could not be fetched"
            return 1
        fi
    done
}

arm_build() { # ARCHITECTURE
    local generator=
    if [ ! -f "build/$1/CMakeCache.txt" ] && command -v ninja >/dev/null; then
        generator="-G Ninja"
    fi
    # shellcheck disable=SC2086,SC2046 # two words or none; a list of targets
    cmake -S . -B "build/$1" $generator --toolchain .ci/cross.cmake -DNIBBLE_CROSS="$1" \
        -DNIBBLE_SYSROOT="$PWD/build/sysroot-$1/tree" -DCMAKE_BUILD_TYPE=Release -DNIBBLE_WERROR=ON -DNIBBLE_TESTS=ON &&
        cmake --build "build/$1" --parallel "$(jobs_possible)" --target $(arm_targets "$1")
}

# All rows, as many at once as there are processors; one line per passed test.
arm_emulate() {
    mkdir -p build
    arm_table | xargs -P "$(jobs_possible)" -L 1 .ci/emulate.sh 2>&1 | tee build/arm-tests.log
}

#!/usr/bin/env bash
# The library as it is installed: what it shows, that its header stands alone, and that a program finds it with pkg-config and
# with find_package and runs.
# usage: test_install.sh SOURCE_DIRECTORY PROGRAM, whose folder is the build folder
set -eu
source=$(cd "$1" && pwd)
build=$(dirname "$2")
work=$(mktemp -d "$PWD/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

setting() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }
fail() {
    echo "$*" >&2
    exit 1
}

if [ -n "$(setting CMAKE_TOOLCHAIN_FILE)" ] || [ "$(setting NIBBLE_SANITIZE)" = ON ] ||
    [ "$(setting NIBBLE_SANITIZE_THREADS)" = ON ]; then
    echo 'not run for another machine or with sanitizers: programs would need their settings'
    exit 0
fi
cc=$(setting CMAKE_C_COMPILER)
prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" >install.log || fail "$(cat install.log)"
libdir=$(dirname "$(find "$prefix" -name 'libnibble.so' -o -name 'libnibble.dylib')")
[ -f "$libdir/libnibble.a" ] || fail 'the static library is missing'
[ "$(find "$prefix/include" -type f)" = "$prefix/include/nibble.h" ] || fail 'nibble.h is not the only header'

# What the shared library shows is what the header declares, with a version.
if [ -f "$libdir/libnibble.so" ]; then
    grep -A1 '^NIBBLE_API' "$prefix/include/nibble.h" | grep -oE '\bnibble_[a-z_]+\(' | tr -d '(' | sort -u >declared
    nm -D --defined-only "$libdir/libnibble.so" | awk '$2 != "A" { print $3 }' | sort -u >shown
    sed 's/$/@@NIBBLE_0.1/' declared | diff - shown || fail 'the library shows other names than the header declares'
    ! readelf -d "$libdir/libnibble.so" | grep -E 'NEEDED.*(zip|protobuf)' || fail 'the engine needs what only conversion does'
fi

# The header alone, in C11 and in C++17.
echo '#include <nibble.h>' >alone.c
cp alone.c alone.cc
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wstrict-prototypes -Werror)
"$cc" -std=c11 "${warnings[@]}" -I"$prefix/include" -fsyntax-only alone.c
if command -v c++ >/dev/null; then
    printf '#include <nibble.h>\nint main() { nibble_sampling s = NIBBLE_SAMPLING_INIT; return s.top_p < 1; }\n' >alone.cc
    c++ -std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Werror -I"$prefix/include" -fsyntax-only alone.cc
fi

# The example of docs/api.md, built twice, runs.
[ "$(wc -l <"$source/docs/example.c")" -lt 60 ] || fail 'the example has 60 lines'
"$build/nibble" convert "$source/tests/models/nanochat" -o model.nbl >convert.log 2>&1 || fail "$(cat convert.log)"
run() {
    LD_LIBRARY_PATH=$libdir DYLD_LIBRARY_PATH=$libdir "$1" model.nbl 'Once there was a girl' >"$2" || fail "$1 failed"
    grep -Eq '^\((stop|length)\)$' "$2" || fail "$1 printed: $(cat "$2")"
    [ "$(wc -w <"$2")" -gt 5 ] || fail "$1 said little: $(cat "$2")"
}
export PKG_CONFIG_PATH=$libdir/pkgconfig
pkg-config --exists 'nibble >= 0.1 nibble < 0.2' || fail 'pkg-config does not know the version'
# shellcheck disable=SC2046
"$cc" -std=c11 "${warnings[@]}" "$source/docs/example.c" -o by_pkgconfig $(pkg-config --cflags --libs nibble)
run ./by_pkgconfig one.txt

mkdir project
cat >project/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(example LANGUAGES C)
find_package(nibble 0.1 REQUIRED)
add_executable(example example.c)
target_link_libraries(example PRIVATE nibble::nibble)
END
cp "$source/docs/example.c" project
cmake -S project -B project/build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" >cmake.log 2>&1 || fail "$(cat cmake.log)"
cmake --build project/build >cmake.log 2>&1 || fail "$(cat cmake.log)"
run project/build/example two.txt
diff one.txt two.txt || fail 'the two programs say different things'
"$build/nibble" run model.nbl -p 'Once there was a girl' --temp 0.5 -n 40 >run.txt
sed '$d' one.txt | diff - run.txt || fail 'the defaults of the interface are not those of nibble run'

# The other example: two texts of each prompt, of which the first is what `run` gives.
[ "$(wc -l <"$source/docs/example_batch.c")" -lt 60 ] || fail 'the example of a batch has 60 lines'
# shellcheck disable=SC2046
"$cc" -std=c11 "${warnings[@]}" "$source/docs/example_batch.c" -o batch $(pkg-config --cflags --libs nibble)
LD_LIBRARY_PATH=$libdir DYLD_LIBRARY_PATH=$libdir ./batch model.nbl 'Once there was a girl' 'One day' >batch.txt || fail 'the batch failed'
grep -c ' \.\.\.' batch.txt | grep -qx 4 || fail "the batch printed: $(cat batch.txt)"
for prompt in 'Once there was a girl' 'One day'; do
    said=$("$build/nibble" run model.nbl -p "$prompt" -n 40)
    grep -qxF "$prompt ...${said%%$'\n'*}" batch.txt || fail "a batch and nibble run differ: $(cat batch.txt)"
done

# Errors are sentences.
! LD_LIBRARY_PATH=$libdir DYLD_LIBRARY_PATH=$libdir ./by_pkgconfig none.nbl x 2>error.txt || fail 'a missing file is no error'
grep -q 'none.nbl' error.txt || fail "the error does not name the file: $(cat error.txt)"

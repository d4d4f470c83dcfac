#!/usr/bin/env bash
# Every command that README.md, docs/sessions.md and docs/guide.md show must work: lines of ```sh blocks that begin with
# `nibble ` or `./`, with the lines that continue them, run in their order, in a folder where everything of the project is
# in its place.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

# The commands of a document, one per line. ./demo and ./check build the project: they are tests of their own.
commands() {
    awk '
        /^```/ { inside = !inside && $0 ~ /^```sh[ \t]*$/; next }
        !inside { next }
        { line = joined $0; joined = "" }
        line ~ /\\$/ { joined = substr(line, 1, length(line) - 1); next }
        line ~ /^(\$ )?([A-Z_]+=[^ ]+ )?(nibble |\.\/)/ {
            sub(/^\$ /, "", line)
            if (line !~ /^\.\/(demo|check)( |$)/) print line
        }' "$1"
}

cat >sample.md <<'SAMPLE'
nibble not in a block
```sh
./demo
$ nibble help
# a comment
NIBBLE_THREADS=1 nibble run m.nbl \
    -p "x"
./check --quick
cmake -B build
```
```
nibble not shell
```
```sh
./build/release/nibble --version | cat
```
SAMPLE
check_same 'finding commands' "$(commands sample.md)" 'nibble help
NIBBLE_THREADS=1 nibble run m.nbl     -p "x"
./build/release/nibble --version | cat'

readme=$source_dir/README.md
if [ -f "$readme" ]; then
    mkdir place bin && cd place || exit 2
    for entry in "$source_dir"/*; do
        [ "$(basename "$entry")" = build ] || ln -s "$entry" .
    done
    mkdir -p build/release
    ln -s "$(realpath "$nibble")" build/release/nibble
    ln -s "$(realpath "$nibble")" ../bin/nibble
    PATH=$(realpath ../bin):$PATH
    commands "$readme" >../commands.txt
    commands docs/sessions.md >>../commands.txt
    commands docs/guide.md >>../commands.txt
    check 'README.md shows commands' test -s ../commands.txt
    while IFS= read -r line; do
        check "README.md: $line" bash -c "$line" </dev/null
    done <../commands.txt
    cd ..
fi
finish

# shellcheck shell=bash
# Common to the scripts of this folder: sourced with the script's arguments. Afterwards the working directory is empty
# and goes away at the end, $nibble and $helper run, $models has the demo checkpoints, and `finish` gives the result.
set -u
[ $# -eq 3 ] || {
    echo "usage: $0 SOURCE_DIR NIBBLE HELPER" >&2
    exit 2
}
source_dir=$(cd "$1" && pwd)
nibble=$2
# shellcheck disable=SC2034 # used by the scripts
helper=$3
# shellcheck disable=SC2034
models=$source_dir/tests/models
unset NIBBLE_THREADS NIBBLE_ISA
export LC_ALL=C.UTF-8

scratch=$(mktemp -d "$PWD/cli-XXXXXXXX") || exit 2
trap 'cd / && rm -rf "$scratch"' EXIT
cd "$scratch" || exit 2

passed=0
failed=0
pass() { passed=$((passed + 1)); }
flunk() { # NAME [FILE]...: the files' text explains
    failed=$((failed + 1))
    echo "FAILED: $1"
    shift
    for file in "$@"; do
        [ -f "$file" ] && sed 's/^/    /' "$file" | head -n 20
    done
}
# check NAME COMMAND...: passes when the command succeeds
check() {
    local name=$1
    shift
    if "$@" >check.log 2>&1; then pass; else flunk "$name" check.log; fi
}
# check_same NAME A B: passes when both texts are equal
check_same() {
    if [ "$2" = "$3" ]; then
        pass
    else
        printf '%s\n---\n%s\n' "$2" "$3" >same.log
        flunk "$1" same.log
    fi
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# expect EXIT_CODE STDOUT_PATTERN STDERR_PATTERN COMMAND...: runs the command on an empty stdin and compares. Patterns
# are extended regular expressions that must match a line; "" asks for no output at all, "*" takes anything.
expect() {
    local code=$1 out=$2 err=$3 got name
    shift 3
    name="$*"
    "$@" >expect.out 2>expect.err </dev/null
    got=$?
    if [ "$got" -ne "$code" ]; then
        flunk "$name: exit code $got, not $code" expect.out expect.err
    elif ! matches "$out" expect.out; then
        flunk "$name: standard output is not '$out'" expect.out expect.err
    elif ! matches "$err" expect.err; then
        flunk "$name: standard error is not '$err'" expect.err
    else
        pass
    fi
}
matches() {
    case $1 in
    '*') true ;;
    '') [ ! -s "$2" ] ;;
    *) grep -qE -e "$1" "$2" ;;
    esac
}

# make_model NAME TYPE: converts a demo checkpoint once, to NAME-TYPE.nbl. MiniGPT's does not store its number of heads.
make_model() {
    local set=()
    [ "$1" != minigpt ] || set=(--set n_head=8)
    [ -f "$1-$2.nbl" ] && return
    "$nibble" convert "$models/$1" -o "$1-$2.nbl" --type "$2" ${set[@]+"${set[@]}"} >convert.log 2>&1 || {
        flunk "conversion of $1 to $2" convert.log
        finish
    }
}

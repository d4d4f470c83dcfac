#!/usr/bin/env bash
# A folder includes only itself and those above it, and every include of the project names its folder.
# usage: check_includes.sh SOURCE_DIRECTORY
set -eu
cd "$1"

# shellcheck disable=SC2016 # what is single-quoted is for awk
find . \( -path ./build -o -path ./.git \) -prune -o -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.def' -o -name '*.cc' -o -name '*.cpp' -o -name '*.hpp' \) -print0 |
    xargs -0 awk '
    BEGIN {
        n = split("base quant simd format core api convert cli", order, " ")
        for (i = 1; i <= n; i++) rank[order[i]] = i
        rank["bench"] = rank["tests"] = n + 1 # see everything; nothing sees them, nor they each other
    }
    function complain(why) {
        printf "%s:%d: %s: %s\n", FILENAME, FNR, $0, why
        bad++
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        checked++
        split(substr(FILENAME, 3), from, "/") # without "./"
        path = $0
        sub(/^[^"]*"/, "", path)
        sub(/".*/, "", path)
        if (path == "nibble.h" || path == "include/nibble.h") next
        if (split(path, to, "/") < 2 || !(to[1] in rank)) complain("does not begin with a folder of the project")
        else if (from[1] == "include") complain("the installed header stands alone")
        else if (to[1] == "api" && from[1] != "api") complain("only the public header knows of api/")
        else if (rank[to[1]] > rank[from[1]] || (rank[to[1]] == rank[from[1]] && to[1] != from[1]))
            complain(from[1] "/ may not know of " to[1] "/")
    }
    END {
        printf "%d includes checked, %d against the order\n", checked, bad
        exit bad > 0
    }'

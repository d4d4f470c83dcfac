#!/usr/bin/env bash
# The inner loops of the arm64 tiers in LLVM's models of arm cores, for machines that have none: cycles per block of 16 rows
# x 32 columns and token, and the share of the core's multiplying throughput (measured in the same model with independent
# multiplications). The models know pipes and latencies; caches always hit, branches are free.
# usage: bench/arm_mca.sh [SYSROOT]     SYSROOT: a folder with the C library's arm64 headers, as .ci/sysroot.sh makes it
# Needs clang and llvm-mca; older than 17 they have no model of Cortex-A76's sister Neoverse N1 nor of Neoverse V1.
set -eu -o pipefail
cd "$(dirname "$0")/.."
sysroot=${1-build/sysroot-arm64/tree}
[ -d "$sysroot" ] || { echo "No folder '$sysroot': make it with .ci/sysroot.sh arm64 build/sysroot-arm64" >&2; exit 1; }

newest() {
    local version
    for version in 21 20 19 18 17; do
        if command -v "$1-$version"; then return; fi
    done
    command -v "$1" || { echo "Needs $1" >&2; exit 1; }
}
mca=$(newest llvm-mca)
clang=${CLANG-clang}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

cycles() { # CPU FILE: cycles per pass over the file's instructions
    "$mca" -mtriple=aarch64 -mcpu="$1" -mattr=+dotprod,+i8mm -iterations=200 "$2" 2>"$work/warnings" |
        awk '/^Total Cycles:/ { printf "%.2f\n", $3 / 200 }'
}

# The innermost loops of a function, told by what they hold: with tbl, packed q4 codes are decoded in it (a stream); without,
# it works on unpacked codes (a tile). Of streams the one for a single token, of tiles the largest.
inner_loop() { # ASSEMBLY FUNCTION stream|tile
    awk -v wanted="$2:" -v kind="$3" '
        $1 == wanted { on = 1 }
        on && /^\t\.size/ { on = 0 }
        !on { next }
        { line[++n] = $0 }
        /^\.L[A-Za-z0-9_]*:/ { label[substr($1, 1, length($1) - 1)] = n }
        /^\t(b|b\.[a-z]+|cbn?z|tbn?z)\t/ {
            target = $NF
            if (target in label) { loops++; from[loops] = label[target]; to[loops] = n }
        }
        END {
            for (i = 1; i <= loops; i++) {
                inner = 1
                for (j = 1; j <= loops; j++)
                    if (j != i && from[j] >= from[i] && to[j] <= to[i] && to[j] - from[j] < to[i] - from[i]) inner = 0
                if (!inner) continue
                count = 0; tables = 0
                for (k = from[i]; k <= to[i]; k++) {
                    if (line[k] ~ /^\t(sdot|smmla|smull2?|smlal2?)\t/) count++
                    if (line[k] ~ /^\ttbl\t/) tables++
                }
                if ((kind == "stream") != (tables > 0)) continue
                if (count >= 32 && (!best || (kind == "stream" ? count < best : count > best))) { best = count; chosen = i }
            }
            for (k = from[chosen]; best && k <= to[chosen]; k++)
                if (line[k] !~ /^(\.L|\t\/\/|\/\/)/ && line[k] !~ /^\t\./) print line[k]
        }' "$1"
}

multiplications() { grep -c -E '^\s(sdot|smmla|smull2?|smlal2?)\s' "$1"; }
stacked() { grep -c -E '^\s(ldr|str|ldp|stp|ldur|stur)\sq.*\[(sp|x29)' "$1" || true; }

# Cycles of one multiplication at best: twelve that do not wait for each other.
least() { # CPU TIER
    local i
    for i in 0 1 2 3 4 5 6 7 8 9 10 11; do
        case $2 in
        neon) echo "smlal v$i.8h, v20.8b, v21.8b" ;;
        dotprod) echo "sdot v$i.4s, v20.16b, v21.4b[0]" ;;
        i8mm) echo "smmla v$i.4s, v20.16b, v21.16b" ;;
        esac
    done >"$work/peak.s"
    cycles "$1" "$work/peak.s" | awk '{ print $1 / 12 }'
}

row() { # TIER CPU LABEL KIND PER_BLOCK: PER_BLOCK multiplications are a block for one token
    local loop=$work/$1.$4.s n
    inner_loop "$work/$1.s" matmul_q4 "$4" >"$loop"
    n=$(multiplications "$loop")
    awk -v tier="$1" -v cpu="$2" -v label="$3" -v kind="$4" -v n="$n" -v per="$5" -v stack="$(stacked "$loop")" \
        -v cycles="$(cycles "$2" "$loop")" -v least="$(least "$2" "$1")" 'BEGIN {
        tokens = n / per
        printf "| %s | %s | %s, %d token%s | %d | %.1f | %.1f | %.0f%% | %d |\n", tier, label, kind, tokens,
            (tokens > 1 ? "s" : ""), n, cycles / tokens, n * least / tokens, 100 * n * least / cycles, stack }'
}

for tier in neon:armv8-a dotprod:armv8.2-a+dotprod i8mm:armv8.2-a+dotprod+i8mm; do
    "$clang" --target=aarch64-linux-gnu --sysroot="$sysroot" -std=c11 -O3 -mtune=cortex-a53 -march="${tier#*:}" -ffp-contract=off \
        -fno-math-errno -fno-trapping-math -D_GNU_SOURCE -I. -S "simd/isa_${tier%%:*}.c" -o "$work/${tier%%:*}.s"
done

"$mca" --version | sed -n 's/^ *\(.*LLVM version .*\)/Models of \1; loops of matmul_q4 compiled by/p' | tr '\n' ' '
"$clang" --version | sed -n 1p
echo
echo "| tier | core | loop | multiplications | cycles per block and token | of these multiplying at best | share | vectors on the stack |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for kind in tile stream; do
    row neon cortex-a53 Cortex-A53 $kind 64
    row neon cortex-a72 Cortex-A72 $kind 64
    row dotprod cortex-a55 Cortex-A55 $kind 32
    row dotprod neoverse-n1 "Neoverse N1 (Cortex-A76)" $kind 32
    row dotprod neoverse-v1 "Neoverse V1" $kind 32
done
row i8mm neoverse-n2 "Neoverse N2" tile 16
row i8mm neoverse-v1 "Neoverse V1" tile 16

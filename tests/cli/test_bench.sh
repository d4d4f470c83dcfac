#!/usr/bin/env bash
# nibble bench on a small model: what it prints, never how fast. And convert --synthetic, which makes that model.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

json() { "$helper" json "$@"; }
small='--set n_layer=2 --set n_embd=192 --set n_ff=352 --set vocab_size=512'

# ---- convert --synthetic
# shellcheck disable=SC2086
expect 0 '^identity +[0-9a-f]{16}$' "shape 'stories110m': 2 blocks" "$nibble" convert --synthetic stories110m $small
check 'the default name is the shape and .nbl, here' test -f stories110m.nbl
# shellcheck disable=SC2086
expect 0 '^identity' '*' "$nibble" convert --synthetic stories110m $small --threads 4 -o again.nbl
check 'the same shape is the same file' cmp again.nbl stories110m.nbl
for type in f32 f16 bf16 q8 q6; do
    # shellcheck disable=SC2086
    expect 0 '^identity' '*' "$nibble" convert --synthetic stories110m $small --type $type --store raw -o $type.nbl
    check "$type runs" "$nibble" logits $type.nbl --tokens 1,2,3
done
expect 1 '' 'n_layers' "$nibble" convert --synthetic stories110m --set n_layers=2 -o wrong.nbl

# ---- bench: JSON as documented, one test for every combination
bench() { "$nibble" bench stories110m.nbl --reps 1 "$@"; }
bench -p 8 -n 2 --depth 5 --threads 1,2 --json >bench.json 2>bench.err || flunk 'bench' bench.err
keys='machine.cpu machine.isa machine.cores machine.dram_gbps machine.int8_gops model.file'
for key in $keys tests.{0,1,2,3}.{test,tokens,rows,depth,threads,kv,weight_bytes_per_token,share_of_dram} \
    tests.{0,1,2,3}.{share_of_int8_peak,tokens_per_second.{median,mean,sd,samples}}; do
    if json "$key" <bench.json >key.log 2>&1; then pass; else flunk "bench.json has no $key" key.log bench.json; fi
done
check_same 'the tests' "$(json tests.{0,1,2,3}.test <bench.json | tr '\n' ' ')" 'prefill decode prefill decode '
check_same 'their threads' "$(json tests.{0,1,2,3}.threads <bench.json | tr '\n' ' ')" '1 1 2 2 '
check_same 'their tokens' "$(json tests.{0,1}.{tokens,depth} <bench.json | tr '\n' ' ')" '8 5 2 5 '
check_same 'the file' "$(json model.file <bench.json)" stories110m.nbl
if json tests.4 <bench.json >key.log 2>&1; then flunk 'four tests' bench.json; else pass; fi
# Every matrix once: per block 3072 x 192 and 1056 x 192 codes of 4 bits and more, and the head of 512 x 192 at 8.
check 'bytes per token' test "$(json tests.0.weight_bytes_per_token <bench.json)" -gt $((4128 * 192 + 512 * 192))

# ---- the other forms, one run each: measuring the machine takes a while
NIBBLE_THREADS=1 bench -p 4 -n 1 --chunk 3 --kv q8/f16 --csv >bench.csv 2>bench.err || flunk 'bench --csv' bench.err
check_same 'lines of CSV' "$(wc -l <bench.csv | tr -d ' ')" 3
check_same 'columns of CSV' "$(awk -F, '{print NF}' bench.csv | sort -u)" 16
check_same 'rows' \
    "$(NIBBLE_THREADS=1 bench -p 0 -n 1 --depth 3 --rows 1,5 --csv 2>bench.err | cut -d, -f3,5 | tr '\n' ' ')" \
    'test,rows decode,1 decode,5 '
expect 2 '' '--rows takes' "$nibble" bench stories110m.nbl --rows 1,0
check_same 'threads from the environment' "$(cut -d, -f7 bench.csv | tr '\n' ' ')" 'threads 1 1 '
NIBBLE_ISA=scalar "$nibble" bench f32.nbl --reps 1 -p 1 -n 0 --threads 1 --md >bench.md 2>bench.err ||
    flunk 'bench --md' bench.err
check 'the instruction set' grep -q ', scalar: ' bench.md
check 'f32 has no share of int8' \
    grep -qE '^\| prefill \| 1 \| 1 \| 0 \| 1 \| q8 \| [0-9.]+ \| 0.00 \| - \| - \|$' bench.md
expect 0 '^prefill +1200 ' 'trained for 1024 tokens; a context of 1200 is beyond' \
    "$nibble" bench stories110m.nbl --reps 1 -p 1200 -n 0
expect 1 '' 'nofile' "$nibble" bench nofile
finish

#!/usr/bin/env bash
# What `nibble-bench --entropy` prints of a trained model: each type's weights are written in fewer bits than they take in
# memory and than version 1.0 wrote (its forms, with one table), and in nearly as many as their entropy.
# Arguments: NIBBLE_BENCH NIBBLE CHECKPOINT
set -u
[ $# -eq 3 ] || { echo "usage: $0 NIBBLE_BENCH NIBBLE CHECKPOINT" >&2; exit 2; }
bench=$1 nibble=$2 checkpoint=$3
scratch=$(mktemp -d "$PWD/entropy-XXXXXXXX") || exit 2
trap 'cd / && rm -rf "$scratch"' EXIT
cd "$scratch" || exit 2
failed=0
for type in f32 f16 bf16 q8 q6 q4; do
    if ! "$nibble" convert "$checkpoint" -o $type.nbl --type $type >convert.log 2>&1 || ! "$bench" --entropy $type.nbl >$type.txt; then
        cat convert.log
        exit 1
    fi
    grep -q "^$type.nbl: $type, " $type.txt || { echo "$type: not in the report"; failed=1; }
    awk -v type=$type '
        / million weights;/ { memory = entropy = older = 0 }
        / a weight / { memory = $3; entropy = $4 }
        /^  (scales|planes.) +[0-9]/ { older = $2 }
        /as written$/ {
            rows++
            if (!($3 < older && $3 < memory && $3 > 0.97 * entropy && $3 < 1.05 * entropy)) {
                print type ": written in " $3 " bits, entropy " entropy ", " older " in version 1.0, " memory " in memory"
                wrong = 1
            }
        }
        END { exit wrong || !rows }' $type.txt || { cat $type.txt; failed=1; }
done
echo 'not a model' >bad.nbl
"$bench" --entropy bad.nbl >bad.txt 2>&1 && { echo 'a file that is no model was measured'; failed=1; }
grep -q "bad.nbl" bad.txt || { echo 'the report does not name the bad file'; failed=1; }
exit $failed

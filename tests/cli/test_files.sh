#!/usr/bin/env bash
# Files that are damaged, cut short, in the way, or half written.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

make_model nanochat q4
model=nanochat-q4.nbl
size=$(wc -c <$model)

# ---- verify names the tensor that is damaged
"$nibble" inspect $model --tensors | awk '/^tensor /{on = 1; next} on {print $1}' >tensors.txt
check 'inspect --tensors lists them' grep -qx embed.weight tensors.txt
for eighth in 2 3 4 5 6; do
    cp $model flipped.nbl
    "$helper" flip flipped.nbl $((size * eighth / 8))
    "$nibble" verify flipped.nbl >verify.out 2>verify.err
    check_same "byte $((size * eighth / 8)): exit code" $? 1
    name=$(sed -n '1s/: .*//p' verify.out)
    if grep -qxF "$name" tensors.txt; then pass; else flunk 'verify names a tensor' verify.out verify.err; fi
    check "the sentence names $name" grep -qF "$name" verify.err
    expect 1 '' "$name" "$nibble" run flipped.nbl -p x -n 1
done
cp $model flipped.nbl
"$helper" flip flipped.nbl 20 # the header
expect 1 '' '.' "$nibble" verify flipped.nbl

# ---- files cut short: one sentence, exit code 1, from every command
for bytes in 0 1 7 8 100 191 192 1000 $((size / 2)) $((size - 1)); do
    head -c "$bytes" $model >short.nbl
    for command in 'inspect short.nbl' 'verify short.nbl' 'run short.nbl -p x' 'chat short.nbl' 'tokenize short.nbl x' \
        'logits short.nbl --tokens 1' 'perplexity short.nbl --text tensors.txt'; do
        # shellcheck disable=SC2086
        expect 1 '' '^nibble: .*short.nbl' "$nibble" $command
    done
done

# ---- convert: where the file goes, and what is in the way
cp -r "$models/nanochat" source
expect 0 '^identity +[0-9a-f]{16}$' '.' "$nibble" convert source/
check 'the default name is the source and .nbl, here' test -f source.nbl
check 'the same file again' cmp source.nbl $model
expect 1 '' "exists already" "$nibble" convert source
expect 0 '^identity' '*' "$nibble" convert source --force --type q8 -o source.nbl
if cmp -s source.nbl $model; then flunk '--force replaces'; else pass; fi
expect 0 '^identity' '*' "$nibble" convert source --store raw -o raw.nbl
expect 0 '^identity' '*' "$nibble" convert source --level 19 --threads 1 -o level.nbl
for other in raw level; do
    check_same "$other: identity" "$("$nibble" inspect $other.nbl --json | "$helper" json identity)" \
        "$("$nibble" inspect $model --json | "$helper" json identity)"
    check_same "$other: logits" "$("$nibble" logits $other.nbl --tokens 1,2,3)" \
        "$("$nibble" logits $model --tokens 1,2,3)"
done
# Rotations: asked for, not possible, measured. What auto kept stands in the file.
expect 0 '^identity' 'rotated, which changes no result but by rounding: vo,qk' \
    "$nibble" convert source -o rotated.nbl --rotate vo,qk
check_same 'qk is a hyperparameter' "$("$nibble" inspect rotated.nbl --json | "$helper" json hparams.qk_rotate)" true
small="--synthetic llama-3.2-1b --set n_layer=1 --set n_embd=64 --set n_head=2 --set n_kv_head=1 --set head_dim=32 --set n_ff=96
    --set vocab_size=64 --set n_ctx=32"
# shellcheck disable=SC2086
expect 1 '' "the rotation 'residual' is not for this model: its head is its embedding" \
    "$nibble" convert $small -o x.nbl --rotate residual
# shellcheck disable=SC2086
expect 0 '^  weights  vo  .* (less|more) \(standard error' '*' "$nibble" convert $small -o auto.nbl --rotate auto
expect 0 '"rotate": ?"auto"' '*' "$nibble" inspect auto.nbl --json
expect 1 '' 'nowhere' "$nibble" convert source -o nowhere/x.nbl
# The page of a conversion: the same for any number of threads, whole in itself, names escaped, all tensors in its table.
mkdir pages
for n in 1 4; do
    expect 0 '^  mlp.down +[0-9.]+ dB +[0-9.]+ bits +[0-9.]+ % of the parameters$' '*' \
        "$nibble" convert source -o 'pages/<a>&b.nbl' --force --threads $n --report report$n.html
done
check 'the same page' cmp report1.html report4.html
check 'an escaped name' grep -q '<h1>&lt;a&gt;&amp;b.nbl</h1>' report1.html
check 'its identity' grep -q "$("$nibble" inspect 'pages/<a>&b.nbl' --json | "$helper" json identity)" report1.html
check 'nothing from elsewhere' test -z "$(grep -E '(src|href)=|url\(|://|<script|@import' report1.html)"
check_same 'a row for every tensor' "$(grep -c '<tr><td>[a-z_]*\.' report1.html)" \
    "$("$nibble" inspect $model --tensors | grep -c '^\(embed\|head\|rope\|blocks\)\.')"
check_same 'three plots with a point for every matrix' "$(grep -o '<circle' report1.html | wc -l)" \
    $((3 * $(grep -c '<td>q[48]<td>' report1.html)))
expect 1 '' 'nowhere' "$nibble" convert source -o page.nbl --report nowhere/r.html
check 'no file without its page' test ! -e page.nbl
expect 1 '' 'nonesuch' "$nibble" convert source -o set.nbl --set nonesuch=1
mkdir empty
expect 1 '' 'empty' "$nibble" convert empty
check 'nothing is left of what failed' test ! -e set.nbl -a ! -e empty.nbl

# ---- convert interrupted at many moments: the old file or the new one, whole, and nothing beside it
slow='--type f32 --level 22 --threads 1 --force'
begin=$(date +%s%N)
# shellcheck disable=SC2086
"$nibble" convert source $slow -o new.nbl >new.log 2>&1 || flunk 'the new file' new.log
took=$((($(date +%s%N) - begin) / 1000))
signals='INT TERM'
# A process that is killed can only leave nothing behind where files need no name until they are complete.
"$helper" unnamed . && signals="$signals KILL"
mkdir target
for signal in $signals; do
    whole=0
    for step in 1 2 3 4 5 6 7 8 9 10 11 12; do
        echo 'the old file' >target/m.nbl
        # A script's background jobs ignore SIGINT; `exec` in a subshell that restores it gives convert its own handler.
        (
            trap - INT
            # shellcheck disable=SC2086
            exec "$nibble" convert source $slow -o target/m.nbl
        ) >signal.log 2>&1 &
        job=$!
        sleep "$(awk -v t=$took -v s=$step 'BEGIN {printf "%.4f", t / 1e6 * s / 9}')"
        kill -s "$signal" $job 2>/dev/null
        wait $job 2>/dev/null
        code=$?
        if [ "$(ls -A target)" != m.nbl ]; then
            flunk "$signal, step $step: left beside the target: $(ls -A target)"
        elif cmp -s target/m.nbl new.nbl; then
            whole=$((whole + 1))
            pass
        elif [ "$(cat target/m.nbl)" = 'the old file' ]; then
            case $signal-$code in
            INT-130 | TERM-130 | KILL-137) pass ;;
            *) flunk "$signal, step $step: exit code $code" signal.log ;;
            esac
        else
            flunk "$signal, step $step: half a file of $(wc -c <target/m.nbl) bytes"
        fi
    done
    echo "$signal: $whole of 12 conversions were through"
done

# ---- a reader that goes away
"$nibble" run $model -p 'Once' -n 200 --temp 0 2>pipe.err | head -c 1 >/dev/null
code=${PIPESTATUS[0]}
if [ "$code" -eq 0 ]; then pass; else check_same 'a closed pipe: exit code' "$code" 141; fi
check_same 'a closed pipe: no sentence' "$(cat pipe.err)" ''

# ---- files that cannot be written to their end, as on a full disk: one sentence with their name once, and no file
small_files=(bash -c 'trap "" XFSZ && ulimit -f 8 && exec "$@"' -)
mkdir small
for command in 'convert source -o small/a' 'run MODEL -p x -n 20 --save small/a' \
    'logits MODEL --tokens 1,2,3,4 --all -o small/a' 'perplexity MODEL --text tensors.txt --save-reference small/a'; do
    # shellcheck disable=SC2086
    expect 1 '*' "^nibble: cannot write 'small/a': " "${small_files[@]}" "$nibble" ${command/MODEL/$model}
    check_same "$command: nothing is left" "$(ls -A small)" ''
done
finish

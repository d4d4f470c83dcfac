#!/usr/bin/env bash
# What the commands compute: the same for any number of threads, chunk and way of asking, and JSON as documented.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

json() { "$helper" json "$@"; }
# has FILE KEY...: checks that the file is a JSON object with these keys
has() {
    local file=$1
    shift
    for key in "$@"; do
        if json "$key" <"$file" >has.log 2>&1; then pass; else flunk "$file has no $key" has.log "$file"; fi
    done
}
ids=1,2,3,5,8,13,21,34,40,41,42,43,44,45,46,47,48,47,46,45,44,43,42,41,40,30,20,10,5,1

# ---- logits: not a bit may depend on threads, chunks or where they go
echo "${ids//,/ }" >ids.txt
tr ' ' '\n' <ids.txt >ids-lines.txt
isas=$("$nibble" --version | sed -n 's/^supported by this CPU: //p')
logits() { "$nibble" logits "$model" --tokens "$ids" --all "$@"; }
for name in nanochat minigpt nanogpt; do
    for type in f32 f16 bf16 q8 q6 q4; do
        [ "$name-$type" = nanochat-q4 ] || [ "$name" = nanochat ] || [ "$type" = f32 ] || continue
        make_model $name $type
        model=$name-$type.nbl
        all=$(logits --threads 1)
        check "$model: a hash" test ${#all} -eq 16
        for how in '--threads 4' '--threads 3 --chunk 1' '--chunk 1 --threads 1' '--chunk 7' '--chunk 16'; do
            # shellcheck disable=SC2086
            check_same "$model: logits with $how" "$(logits $how)" "$all"
        done
        for isa in $isas; do
            check_same "$model: NIBBLE_ISA=$isa" "$(NIBBLE_ISA=$isa logits --threads 1)" "$all"
        done
        check_same "$model: NIBBLE_THREADS=2" "$(NIBBLE_THREADS=2 logits)" "$all"
        check_same "$model: a file of ids" "$("$nibble" logits "$model" --tokens-file ids-lines.txt --all)" "$all"
    done
done

# -o writes the bytes that are hashed: as many as the vocabulary has, times positions; the last position ends them.
model=nanochat-q4.nbl
vocab=$("$nibble" inspect $model --json | json hparams.vocab_size)
n=$(wc -w <ids.txt)
expect 0 '' '' "$nibble" logits $model --tokens $ids -o last.f32
expect 0 '' '' "$nibble" logits $model --tokens $ids --all --output=all.f32
check_same 'size of last.f32' "$(wc -c <last.f32)" $((4 * vocab))
check_same 'size of all.f32' "$(wc -c <all.f32)" $((4 * vocab * n))
check 'the last position' cmp last.f32 <(tail -c $((4 * vocab)) all.f32)
expect 0 '' '' "$nibble" logits $model --tokens 1 -o last.f32
expect 1 '' 'vocabulary|id' "$nibble" logits $model --tokens "1,$vocab"

# ---- tokenize
text='Hello, world! 12345 is a number; "quotes", and a	tab.'
"$nibble" tokenize $model "$text" --ids >text.ids
check_same 'ids and back' "$("$nibble" tokenize $model --decode <text.ids)" "$text"
# shellcheck disable=SC2046
check_same 'ids as arguments' "$("$nibble" tokenize $model --decode $(cat text.ids))" "$text"
check_same 'text on stdin' "$(printf '%s' "$text" | "$nibble" tokenize $model --ids)" "$(cat text.ids)"
check_same 'as many lines as ids' "$("$nibble" tokenize $model "$text" | wc -l)" "$(wc -w <text.ids)"
check_same 'ids in JSON' "$("$nibble" tokenize $model "$text" --json | json ids | tr -d '[],')" "$(cat text.ids)"
check_same 'pieces in JSON' "$("$nibble" tokenize $model 'a' --json | json pieces.0)" a
printf '\377\300 \360\237\230\200 bytes\n' >bytes.bin
"$nibble" tokenize $model --ids <bytes.bin | "$nibble" tokenize $model --decode >bytes.back
check 'any bytes come back' cmp bytes.bin bytes.back
"$nibble" tokenize $model --json <bytes.bin >bytes.json
has bytes.json ids pieces
expect 1 '' 'vocabulary' "$nibble" tokenize $model --decode 99999999
check_same 'an empty text' "$("$nibble" tokenize $model '' --ids)" ''
characters=$("$nibble" tokenize minigpt-f32.nbl --decode 40,41,42,43)
check_same 'one token per character' "$("$nibble" tokenize minigpt-f32.nbl "$characters" --ids)" '40 41 42 43'

# ---- run
prompt='Once upon a time'
run() { "$nibble" run $model -p "$prompt" -n 24 "$@"; }
run --seed 3 >text.txt
check 'text was generated' test "$(wc -c <text.txt)" -gt 10
check_same 'the same seed' "$(run --seed 3 --threads 1)" "$(cat text.txt)"
check_same 'the same seed, other chunks' "$(run --seed 3 --chunk 1 --threads 3)" "$(cat text.txt)"
check_same 'scalar' "$(NIBBLE_ISA=scalar run --seed 3)" "$(cat text.txt)"
check_same 'prompt on stdin' "$(echo "$prompt" | "$nibble" run $model -p - -n 24 --seed 3)" "$(cat text.txt)"
run --seed 3 --json >run.json
check_same 'text in JSON' "$(json samples.0.text <run.json)" "$(cat text.txt)"
check_same 'greedy is greedy' "$(run --temp 0 --seed 1)" "$(run --temp 0 --seed 2)"
check 'another seed, another text' test "$(run --seed 4 --temp 3)" != "$(run --seed 3 --temp 3)"
check_same 'a prompt begins with BOS' "$(json prompt_ids <run.json | tr -d '[],')" \
    "$("$nibble" inspect $model --json | json tokenizer.bos) $("$nibble" tokenize $model "$prompt" --ids)"
tokens=$(json prompt_ids <run.json | tr -d '[] ')
check_same 'ids instead of text' "$("$nibble" run $model --tokens "$tokens" -n 24 --seed 3)" "$(cat text.txt)"
has run.json prompt_ids samples.0.{ids,mask,text,finish_reason} stats.{{prefill,decode}_{tokens,seconds},rows,kv_bytes}
echo "$tokens" >prompt.ids
check_same 'ids from a file' "$("$nibble" run $model --tokens-file prompt.ids -n 24 --seed 3)" "$(cat text.txt)"
check_same 'one mask per id' \
    "$(json samples.0.mask <run.json | tr -cd , | wc -c)" "$(json samples.0.ids <run.json | tr -cd , | wc -c)"
"$nibble" run $model -p "$prompt" -n 24 --seed 3 --temp 1 --samples 3 --json >samples.json
check_same 'sample 0 is the single run' "$(json samples.0.ids <samples.json)" \
    "$("$nibble" run $model -p "$prompt" -n 24 --seed 3 --temp 1 --json | json samples.0.ids)"
check 'samples differ' test "$(json samples.1.ids <samples.json)" != "$(json samples.2.ids <samples.json)"
"$nibble" run $model -p "$prompt" -n 24 --temp 0 --samples 3 --json >samples.json
for i in 1 2; do
    check_same "greedy sample $i" "$(json samples.$i.ids <samples.json)" "$(json samples.0.ids <samples.json)"
done
"$nibble" run $model -p "$prompt" -n 5 --temp 1 --samples 70 --json >many.json # more than go side by side
"$nibble" run $model -p "$prompt" -n 5 --temp 1 --samples 3 --json >few.json
check_same 'as many samples as asked for' "$(grep -o finish_reason many.json | wc -l)" 70
check_same 'the third sample has no neighbours to thank' "$(json samples.2.ids <many.json)" "$(json samples.2.ids <few.json)"
check_same 'the last as text' "$("$nibble" run $model -p "$prompt" -n 5 --temp 1 --samples 70 | tail -n 1)" \
    "$(json samples.69.text <many.json | tail -n 1)"
check_same 'three samples as text' "$(run --samples 3 | grep -c '^--- sample [012]$')" 3
check_same 'prefill once' "$(json stats.prefill_tokens <samples.json)" "$(json prompt_ids <samples.json | wc -w)"
run -n 7 --temp 0 --json >short.json
check_same 'length' "$(json samples.0.finish_reason <short.json)" length
check_same 'seven tokens' "$(json samples.0.mask <short.json | grep -o 1 | wc -l)" 7
whole=$(run --temp 0)
word=$(printf '%s' "$whole" | grep -oE '[A-Za-z]+' | sed -n 3p)
run --temp 0 --stop 'not in it' --stop "$word" --json >stop.json
check_same 'a stop text' "$(json samples.0.finish_reason <stop.json)" stop
case $(json samples.0.text <stop.json) in
*"$word"*) flunk "text goes on behind --stop $word" stop.json ;;
*) pass ;;
esac
check_same 'a stop text when streaming' "$(run --temp 0 --stop "$word")" "$(json samples.0.text <stop.json)"
first=$(json samples.0.ids <short.json | tr -d '[] ' | cut -d, -f"$(($(json prompt_ids <short.json | wc -w) + 1))")
run --temp 0 --logit-bias "$first=-inf" --json >banned.json
check 'a banned token' test "$(json samples.0.ids <banned.json | tr -d '[],' | tr ' ' '\n' | grep -cx "$first")" \
    -eq "$(json prompt_ids <banned.json | tr -d '[],' | tr ' ' '\n' | grep -cx "$first")"
check_same 'a token of its own that stops' "$(run --temp 0 --stop-token 1,2 --stop-token "$first")" ''
check_same 'a bias that decides' "$(run -n 3 --temp 2 --logit-bias 65=1000 --json | json samples.0.ids | grep -o '65\b' | wc -l)" 3
for option in '--typical 0.01' '--top-p 0.01' '--min-p 1' '--top-k 1'; do
    # shellcheck disable=SC2086
    check_same "$option is greedy or typical" "$(run --seed 5 $option)" "$(run --seed 6 $option)"
done
check 'min-keep keeps more' test "$(run --seed 5 --temp 3 --top-p 0.01 --min-keep 100)" != "$(run --seed 6 --temp 3 --top-p 0.01 --min-keep 100)"
check 'penalties change the text' test \
    "$(run --temp 0 -n 100 --frequency-penalty 2 --presence-penalty 1 --repeat-last-n 100)" != "$(run --temp 0 -n 100)"
check_same 'penalties over no tokens' "$(run --temp 0 -n 100 --frequency-penalty 2 --repeat-last-n 0)" "$(run --temp 0 -n 100)"
expect 1 '' 'expected an id from 0' "$nibble" run $model -p x --stop-token 99999999
expect 1 '' 'expected an id from 0' "$nibble" run $model -p x --logit-bias 99999999=1
for how in '--temp 0' '--temp 0.9 --seed 4 --samples 3'; do
    # shellcheck disable=SC2086
    check_same "lookup changes nothing, $how" "$(run $how -n 80 --lookup 5)" "$(run $how -n 80)"
done
# A text that the model has begun itself, and that begins once more: whatever quantization makes of it, it repeats itself.
begun=$prompt$("$nibble" run $model -p "$prompt" -n 30 --temp 0 2>/dev/null)
"$nibble" run $model -p "$begun $prompt" -n 40 --temp 0 --lookup 8 --stats >lookup.txt 2>lookup.log
check 'drafts are told of' grep -Eq '^lookup: [1-9][0-9]* tokens drafted, [0-9]+ accepted$' lookup.log
expect 0 '*' '^prefill [0-9]+ tokens in .* decode [0-9]+ tokens' "$nibble" run $model -p "$prompt" -n 3 --stats
expect 1 '' 'larger --ctx' "$nibble" run $model -p "$prompt" --ctx 2
"$nibble" run $model -p "$prompt" --ctx 12 -n 0 --temp 0 --json >full.json
check_same 'a full context' "$(json samples.0.finish_reason <full.json)" length

# A model without a tokenizer runs on ids and prints ids.
"$nibble" convert "$models/nanochat" --tokenizer none -o bare.nbl >bare.log 2>&1 ||
    flunk 'conversion without tokenizer' bare.log
check_same 'ids from a bare model' "$("$nibble" run bare.nbl --tokens "$tokens" -n 5 --temp 0 | wc -w)" 5
bare() { "$nibble" run bare.nbl --tokens 1,2,3 -n 400 --ctx 128 --temp 0 "$@"; }
check_same 'a context that is full' "$(bare | wc -w)" 125
check_same 'a context that slides' "$(bare --overflow slide | wc -w)" 400
check_same 'it slides only when it is full' "$(bare --overflow slide | cut -d ' ' -f -120)" "$(bare | cut -d ' ' -f -120)"
expect 1 '' 'needs 128 at least' "$nibble" run bare.nbl --tokens 1 --ctx 100 --overflow slide
expect 1 '' 'no tokenizer' "$nibble" run bare.nbl -p x
expect 1 '' 'no tokenizer' "$nibble" chat bare.nbl
expect 1 '' 'tokenizer' "$nibble" tokenize bare.nbl x

# ---- saved texts
run --seed 3 --repeat-penalty 1.2 -n 24 >whole.txt
run --seed 3 --repeat-penalty 1.2 -n 11 --save text.session >first.txt
check_same 'a saved text goes on as if it had not stopped' "$(cat first.txt)$(NIBBLE_ISA=scalar "$nibble" run $model \
    --load text.session --repeat-penalty 1.2 -n 13 --save text.session)" "$(cat whole.txt)"
check_same 'it can be saved again' "$("$nibble" run $model --load text.session -n 1 --json | json samples.0.mask | tr -cd 0 | wc -c)" \
    $(($("$nibble" tokenize $model "$prompt" | wc -l) + 1 + 24))
run --seed 3 --load text.session --json >again.json
check_same 'a prompt that is known' "$(json samples.0.text <again.json)" "$(cat text.txt)"
check_same 'only its last token is read' "$(json stats.prefill_tokens <again.json)" 1
expect 1 '' 'saved with keys in q8 and values in q8' "$nibble" run $model --load text.session --kv f32
expect 1 '' 'another model' "$nibble" run minigpt-f32.nbl --load text.session
expect 1 '' 'room for 10' "$nibble" run $model --load text.session --ctx 10
expect 1 '' 'no saved session, but a model file' "$nibble" run $model --load $model
expect 1 '' 'not a .nbl file, but a text or conversation written by --save' "$nibble" inspect text.session
expect 1 '' "cannot create a file beside 'none/text.session'" "$nibble" run $model -p x --save none/text.session
expect 1 '' "cannot create a file beside 'none/talk.session'" "$nibble" chat $model --save none/talk.session
expect 2 '' 'one text is saved' "$nibble" run $model -p x --samples 2 --save text.session
printf 'Hello!\nWhat is 2 plus 3?\n' >two.txt
"$nibble" chat $model -n 30 --seed 8 <two.txt >talk.whole
head -n 1 two.txt | "$nibble" chat $model -n 30 --seed 8 --save talk.session >talk.parts
tail -n 1 two.txt | "$nibble" chat $model -n 30 --seed 8 --load talk.session >>talk.parts
check 'a saved conversation goes on' cmp talk.whole talk.parts
expect 1 '' 'no conversation to save' "$nibble" chat $model --save none.session

# ---- chat, line by line
printf 'Hello!\n\nWhat is 2 plus 3?\n' >talk.txt
chat() { "$nibble" chat $model --temp 0 -n 30 "$@"; }
chat <talk.txt >answers.txt 2>chat.log || flunk 'chat' chat.log
check 'chat answers' test "$(wc -l <answers.txt)" -ge 2
check_same 'chat again' "$(chat --threads 1 --chunk 3 <talk.txt)" "$(cat answers.txt)"
check_same 'chat with lookup' "$(chat --lookup 4 <talk.txt)" "$(cat answers.txt)"
check_same 'no input, no output' "$(chat </dev/null 2>&1)" ''
expect 0 '' '' "$nibble" chat $model
# What an answer ends with is missing: said before the first answer, not after it.
expect 1 '' "'mistral' needs the control token '</s>'" "$nibble" chat $model --chat-style mistral
check_same 'a full conversation' \
    "$(yes 'Tell me more.' | head -n 500 | chat --ctx 100 2>&1 >/dev/null | grep -c 'context')" 1

# ---- perplexity
"$nibble" run $model -p "$prompt" -n 400 --temp 1 --seed 5 >text.in
"$nibble" tokenize $model --ids <text.in >text.ids
"$nibble" perplexity $model --text text.in --ctx 64 --json >ppl.json
check_same 'a file of ids is the same' \
    "$("$nibble" perplexity $model --tokens-file text.ids --ctx 64 --json --threads 1)" "$(cat ppl.json)"
has ppl.json tokens cross_entropy perplexity perplexity_stderr bits_per_byte kl_mean kl_median kl_max kl_p99 top1_agreement
n=$(wc -w <text.ids)
check_same 'every window leaves its first token out' "$(json tokens <ppl.json)" $((n - (n + 63) / 64))
check_same 'overlapping windows score all but the first' \
    "$("$nibble" perplexity $model --tokens-file text.ids --ctx 64 --stride 16 --json | json tokens)" $((n - 1))
check_same 'windows of one stride' "$("$nibble" perplexity $model --text text.in --ctx 64 --stride 64 --json)" \
    "$(cat ppl.json)"
"$nibble" perplexity $model --text text.in --ctx 64 --reference $model --json >self.json
check_same 'no divergence from itself' "$(json kl_mean kl_max kl_p99 top1_agreement <self.json | tr '\n' ' ')" \
    '0.0 0.0 0.0 1.0 '
check_same 'the reference changes no score' "$(json cross_entropy perplexity <self.json)" \
    "$(json cross_entropy perplexity <ppl.json)"
"$nibble" perplexity $model --text text.in --ctx 64 --reference nanochat-f32.nbl --json >kl.json
check 'q4 is not f32, but near' awk -v kl="$(json kl_mean <kl.json)" 'BEGIN {exit !(kl > 0 && kl < 0.5)}'
expect 0 '^top-1 agreement  [0-9.]+ %$' '' \
    "$nibble" perplexity $model --text text.in --ctx 64 --reference nanochat-f32.nbl
expect 1 '' 'cannot be compared' "$nibble" perplexity $model --tokens-file text.ids --ctx 64 --reference minigpt-f32.nbl
# Bits per byte: in overlapping windows every byte but the first token's counts.
"$nibble" perplexity $model --text text.in --ctx 64 --stride 16 --json >bpb.json
first=$("$nibble" tokenize $model --decode "$(head -n 1 text.ids | cut -d ' ' -f 1)" | wc -c)
check 'bits per byte' awk -v ce="$(json cross_entropy <bpb.json)" -v n="$(json tokens <bpb.json)" \
    -v bits="$(json bits_per_byte <bpb.json)" -v bytes=$(($(wc -c <text.in) - first)) \
    'BEGIN {d = bits / (ce * n / log(2) / bytes) - 1; exit !(d < 1e-9 && d > -1e-9)}'
# The reference reads with K and V in f32, whatever the model does.
"$nibble" perplexity $model --text text.in --ctx 64 --kv q8 --reference $model --json >kv.json
check 'the divergence of a q8 cache' awk -v kl="$(json kl_mean <kv.json)" 'BEGIN {exit !(kl > 0 && kl < 0.01)}'
"$nibble" perplexity $model --text text.in --ctx 64 --kv f16 --kv-k q8 --reference $model --json >kq8.json
"$nibble" perplexity $model --text text.in --ctx 64 --kv-k q8 --kv-v f16 --reference $model --json >kvf16.json
check_same '--kv-k and --kv-v before --kv' "$(json kl_mean <kq8.json)" "$(json kl_mean <kvf16.json)"
check 'keys alone in q8 are another cache' awk -v a="$(json kl_mean <kq8.json)" -v b="$(json kl_mean <kv.json)" 'BEGIN {exit !(a > 0 && a != b)}'
# Windows side by side, and threads, change nothing.
for how in '--chunk 1' '--chunk 7 --threads 1' '--chunk 64' '--chunk 4096 --threads 3'; do
    # shellcheck disable=SC2086
    check_same "perplexity $how" "$("$nibble" perplexity $model --text text.in --ctx 64 --reference nanochat-f32.nbl $how --json)" \
        "$(cat kl.json)"
done
# A saved reference: all of it gives the same numbers, its likeliest tokens less.
save() { "$nibble" perplexity nanochat-f32.nbl --text text.in --ctx 64 --save-reference "$@"; }
save all.nbr --reference-top 65536 --threads 1 >save.out
check_same 'a saved reference' "$("$nibble" perplexity $model --text text.in --ctx 64 --reference all.nbr --json)" "$(cat kl.json)"
save again.nbr --reference-top 65536 --chunk 5 --threads 3 >save.out
check 'the same reference again' cmp all.nbr again.nbr
save some.nbr --reference-top 8 --json >save.json
"$nibble" perplexity $model --text text.in --ctx 64 --reference some.nbr --json >some.json
check 'from the likeliest tokens: a lower bound' awk -v some="$(json kl_mean <some.json)" -v kl="$(json kl_mean <kl.json)" \
    -v rest="$(json reference_rest <some.json)" 'BEGIN {exit !(some > 0 && some < kl && rest > 0 && rest < 1)}'
for key in tokens cross_entropy reference_cross_entropy top1_agreement reference_identity; do
    check_same "$key of a saved reference" "$(json $key <some.json)" "$(json $key <kl.json)"
done
expect 0 '^ +at least: [0-9.e-]+ % of the probability' '' "$nibble" perplexity $model --text text.in --ctx 64 --reference some.nbr
# shellcheck disable=SC2086
compare() { expect 1 '' "$1" "$nibble" perplexity $model --tokens-file text.ids --reference "$2" ${3:---ctx 64}; }
compare 'windows of 64 tokens, each 64 after' some.nbr '--ctx 32'
compare 'windows of 64 tokens, each 64 after' some.nbr '--ctx 64 --stride 16'
expect 1 '' 'another text' "$nibble" perplexity $model --tokens-file ids.txt --ctx 64 --reference some.nbr
expect 1 '' 'cannot be compared' "$nibble" perplexity minigpt-f32.nbl --tokens-file ids.txt --ctx 64 --reference some.nbr
head -c 95 some.nbr >short.nbr
compare 'not a file of --save-reference' short.nbr
head -c 1000 some.nbr >short.nbr
compare 'should have [0-9]+ bytes and has 1000' short.nbr
cat some.nbr some.nbr >long.nbr
compare 'should have' long.nbr
for place in 8:version 12:header 90:header 96:records 120:records 400:records; do
    cp some.nbr damaged.nbr
    printf '\377' | dd of=damaged.nbr bs=1 seek="${place%:*}" conv=notrunc status=none
    compare "${place#*:}" damaged.nbr
done
echo 5 >one.ids
expect 1 '' 'takes two' "$nibble" perplexity $model --tokens-file one.ids

# ---- inspect
"$nibble" inspect $model --json >inspect.json
has inspect.json identity architecture hparams.n_layer tokenizer.kind tokenizer.n_tokens \
    file_bytes raw_bytes parameters bits_per_weight tensors.0.{name,type,shape,raw_bytes,stored_bytes}
check_same 'file_bytes' "$(json file_bytes <inspect.json)" "$(wc -c <$model)"
expect 0 "identity +$(json identity <inspect.json)" '' "$nibble" inspect $model
expect 0 '^embed.weight +q8 ' '' "$nibble" inspect $model --tensors
expect 0 'undamaged$' '' "$nibble" verify $model
finish

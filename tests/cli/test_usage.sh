#!/usr/bin/env bash
# Help, version, exit codes, and how wrong command lines are answered.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

commands='convert inspect verify run chat tokenize logits perplexity bench help'
for command in $commands; do
    expect 0 "^Usage: nibble $command" '' "$nibble" "$command" --help
    expect 0 "^Usage: nibble $command" '' "$nibble" "$command" -h whatever --else
    expect 0 "^Usage: nibble $command" '' "$nibble" help "$command"
    expect 2 '' "unknown option '--nonsense' \('nibble $command --help'" "$nibble" "$command" --nonsense
    expect 0 "^  $command " '' "$nibble" help
done
expect 0 '^nibble [0-9]+\.[0-9]+\.[0-9]+$' '' "$nibble" --version
expect 0 '^instruction set in use: scalar$' '' env NIBBLE_ISA=scalar "$nibble" --version
expect 1 '' "'mmx'.*scalar" env NIBBLE_ISA=mmx "$nibble" --version
expect 0 '^supported by this CPU: scalar' '' "$nibble" --version
expect 0 '^Usage: nibble COMMAND' '' "$nibble" --help
expect 2 '' '^Usage: nibble COMMAND' "$nibble"

# EXIT_CODE|PATTERN ON STDERR|ARGUMENTS. An option's value is checked before any file is opened.
while IFS='|' read -r code pattern arguments; do
    # shellcheck disable=SC2086 # the arguments are words
    expect "$code" '' "$pattern" "$nibble" $arguments
done <<'TABLE'
2|unknown command 'rnu'; the closest is 'run'|rnu
2|unknown command 'covnert'; the closest is 'convert'|covnert a b
2|MODEL is missing|run
2|MODEL is missing|tokenize
2|SRC is missing|convert
2|'c' is one argument too many|inspect b c
2|unknown command 'frobnicate' \('nibble help' lists all\)|frobnicate
2|the closest is '--temp'|run m -p x --tmep 1
2|the closest is '--temp'|run m -p x --temperature 1
2|the closest is '--threads'|run m -p x --thr 1
2|unknown option '-x' \('nibble run|run m -x
2|unknown option '-t' \('nibble run|run m -t 4
2|--temp takes a number from 0 to .*, not 'nan'|run m -p x --temp nan
2|--temp takes a number from 0 to .*, not 'inf'|run m -p x --temp inf
2|--temp takes a number from 0 to .*, not '0x1'|run m -p x --temp 0x1
2|--temp takes a number from 0 to .*, not '1x'|run m -p x --temp 1x
2|--temp takes a number from 0 to .*, not '-1'|run m -p x --temp -1
2|--temp takes a number from 0 to .*, not ''|run m -p x --temp=
2|--top-p takes a number from 0 to 1, not '1.5'|run m -p x --top-p 1.5
2|--top-k takes a whole number from 0 to .*, not '1.0'|run m -p x --top-k 1.0
2|--max-tokens takes a whole number|run m -p x -n ten
2|--max-tokens takes a whole number|run m -p x -nten
2|--max-tokens takes a whole number|run m -p x -n 99999999999999999999999
2|--seed takes a whole number|run m -p x --seed 18446744073709551616
2|--logit-bias takes ID=B|run m -p x --logit-bias 5
2|--logit-bias takes ID=B|run m -p x --logit-bias 5=inf
2|--logit-bias takes ID=B|chat m --logit-bias =1
2|is not a token id|run m -p x --stop-token x
2|--stop takes a text|run m -p x --stop=
2|--samples takes a whole number from 1|run m -p x --samples 0
2|--threads takes a whole number from 1 to 256, not '257'|run m -p x --threads=257
2|--threads takes a whole number from 1 to 256, not '0'|logits m --tokens 1 --threads 0
2|--json takes no value|run m -p x --json=yes
2|--max-tokens needs a value|run m -p x -n
2|--kv takes .*not 'q3'|run m -p x --kv q3
2|--kv-k takes .*not 'q3'|run m -p x --kv-k q3
2|--type takes one of f32, .*not 'q5'|convert a --type q5
2|--store takes one of zstd, raw, not 'gzip'|convert a --store gzip
2|--level takes a whole number from 1 to 22|convert a --level 23
2|--arch takes one of .*nanochat.*not 'nonesuch'|convert a --arch nonesuch
2|--synthetic takes one of .*tinyllama-1.1b.*not 'nonesuch'|convert --synthetic nonesuch
2|--synthetic takes no SRC|convert a --synthetic stories110m
2|--synthetic takes no --arch|convert --arch nanochat --synthetic stories110m
2|--set takes KEY=VALUE, not 'n_head'|convert a --set n_head
2|--type-of takes PATTERN=TYPE .*not 'head'|convert a --type-of head
2|--lora takes DIR\[:SCALE\] .*not 'adapter:much'|convert a --lora adapter:much
2|--synthetic takes no --lora|convert --synthetic tinyllama-1.1b --lora adapter
2|--type-of takes PATTERN=TYPE .*not 'head=q5'|convert a --type-of head=q5
2|--set takes KEY=VALUE, not '=8'|convert a --set n_head=8 --set =8
2|either a prompt with -p or token ids|run m
2|either a prompt with -p or token ids|run m -p x --tokens 1
2|'x' is not a token id|run m --tokens 1,x
2|'-1' is not a token id|run m --tokens=-1
2|'2147483648' is not a token id|run m --tokens 2147483648
2|holds no token ids|run m --tokens ,
2|either --tokens or --tokens-file|logits m
2|either --tokens or --tokens-file|logits m --tokens 1 --tokens-file f
2|'1.5' is not a token id|logits m --tokens 1.5
2|nothing for a --report|convert m --dry-run --report r.html
2|not --type bf16|convert m --type bf16 --bits 5
2|which a --dry-run does not|convert m --bits 5 --dry-run
2|which a --dry-run does not|convert m --type auto --dry-run
2|--rotate takes none, auto, or some of vo, residual and qk .*not 'vo,ko'|convert m --rotate vo,ko
2|rotations are chosen by measuring, which a --dry-run does not|convert m --rotate auto --dry-run
2|either --text or --tokens-file|perplexity m
2|--stride must not be larger than --ctx|perplexity m --text f --ctx 8 --stride 9
2|--ctx must be at least 2|perplexity m --text f --ctx 1
2|'b' is one argument too many; put the text in quotes|tokenize m a b
2|--threads takes .*not '1,0'|bench m --threads 1,0
2|--threads takes .*not '1,'|bench m --threads 1,
2|--kv takes a list.*not 'f32,q2'|bench m --kv f32,q2
2|--kv takes a list.*not 'q8/q2'|bench m --kv q8/q2
2|nothing to measure|bench m -p 0 -n 0
2|one of --json, --csv and --md|bench m --json --csv
1|nofile.nbl|inspect nofile.nbl
1|nofile.nbl|verify nofile.nbl
1|nofile.nbl|run nofile.nbl -p x
1|nofile.nbl|chat nofile.nbl
1|nofile.nbl|tokenize nofile.nbl x
1|nofile.nbl|logits nofile.nbl --tokens 1
1|nofile.nbl|perplexity nofile.nbl --text f
1|nofile|logits m --tokens-file nofile
1|nofile|convert nofile
TABLE

expect 2 '' "NIBBLE_THREADS is 'many'" env NIBBLE_THREADS=many "$nibble" run m -p x
expect 2 '' "NIBBLE_THREADS is '0'" env NIBBLE_THREADS=0 "$nibble" verify m
expect 1 '' 'nofile' env NIBBLE_THREADS=many "$nibble" run nofile -p x --threads 1
# Behind "--" nothing is an option.
expect 1 '' "'--json'" "$nibble" inspect -- --json

# Every sentence is one line.
for arguments in 'rnu' 'run' 'run m --x' 'inspect nofile' 'convert nofile'; do
    # shellcheck disable=SC2086
    "$nibble" $arguments >/dev/null 2>sentence.txt
    check_same "one sentence: $arguments" "$(wc -l <sentence.txt | tr -d ' ')" 1
done

# Results that cannot be written are an error.
if [ -c /dev/full ]; then
    "$nibble" --version >/dev/full 2>full.txt
    check_same 'a full disk: exit code' $? 1
    check 'a full disk: sentence' grep -q 'cannot write the results' full.txt
fi
"$nibble" --version >&- 2>closed.txt
check_same 'closed stdout: exit code' $? 1
check 'closed stdout: sentence' grep -q 'cannot write the results' closed.txt

# Who reads results through a pipe may stop when it has seen enough.
(
    trap '' PIPE # also where the caller ignores the signal
    for _ in $(seq 50); do "$nibble" help --man || { echo $? >pipe.code && break; }; done 2>pipe.txt
) | head -n 1 >pipe.out
check_same 'a pipe that is closed: exit code' "$(cat pipe.code)" 141
check_same 'a pipe that is closed: no sentence' "$(cat pipe.txt)" ''

# Manual page and completion name every command and every option that help names.
"$nibble" help --man >nibble.1 || flunk 'help --man'
"$nibble" help --completion >nibble.bash || flunk 'help --completion'
check 'completion is bash' bash -n nibble.bash
for command in $commands; do
    check "the manual has $command" grep -q "nibble $command" nibble.1
    for option in $("$nibble" "$command" --help | sed -nE 's/^ +(-., )?--([a-z0-9-]+).*/\2/p'); do
        # shellcheck disable=SC2016
        check "completion has $command --$option" bash -c '. ./nibble.bash && COMP_WORDS=(nibble "$1" "--$2") COMP_CWORD=2 &&
            _nibble && [[ " ${COMPREPLY[*]} " == *" --$2 "* ]]' - "$command" "$option"
        [ "$option" = help ] || check "the manual has --$option" grep -qF -- "\\-\\-${option//-/\\-}" nibble.1
    done
done
finish

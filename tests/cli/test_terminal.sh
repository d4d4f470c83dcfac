#!/usr/bin/env bash
# What is different at a terminal: lines typed to `nibble chat`, Ctrl-C, Ctrl-D, and commands that begin with a slash.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export TERM=xterm

make_model nanochat q4
model=nanochat-q4.nbl
pty() { "$helper" pty "$@" >pty.out 2>pty.err; } # PROMPT COMMAND...

printf 'Hello!\n/help\n/clear\nHello!\n/quit\n' | pty '> ' "$nibble" chat $model --temp 0
check_same '/quit: exit code' $? 0
check 'there is a prompt' grep -q '> ' pty.out
check 'slash commands are explained' grep -q '/clear starts anew' pty.out
answer=$(printf 'Hello!\n' | "$nibble" chat $model --temp 0 | head -n 1)
check_same 'the answer comes twice: /clear forgets' "$(grep -cF -- "$answer" pty.out)" 2

printf 'Hello!\n^D\n' | pty '> ' "$nibble" chat $model --temp 0
check_same 'Ctrl-D: exit code' $? 0
printf '^C\n' | pty '> ' "$nibble" chat $model
check_same 'Ctrl-C at the prompt: exit code' $? 130
printf '你好, wörld\n^D\n' | pty '> ' "$nibble" chat $model --temp 0
check_same 'other alphabets: exit code' $? 0

# Ctrl-C stops what is under way; a run says so, a conversation goes on.
# shellcheck disable=SC2016
printf '^C\n' | pty '' sh -c 'exec "$0" run "$1" -p Once --samples 60000 --json >run.json' "$nibble" $model
check_same 'Ctrl-C in run: exit code' $? 130
check 'Ctrl-C in run: finish reason' grep -q '"finish_reason": "cancelled"' run.json
"$nibble" verify $model >quiet.out 2>quiet.err
check_same 'no progress without a terminal' "$(cat quiet.err)" ''
finish

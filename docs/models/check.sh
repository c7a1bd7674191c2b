#!/usr/bin/env bash
# Runs the models of this folder through spin, whole and with a rule removed, and compares with what README.md says.
# Needs spin and a C compiler; about five minutes and one gigabyte. `check.sh trail MODEL -D…` prints a short
# counterexample of one run, step by step.
set -euo pipefail
cd "$(dirname "$0")"
models="$PWD"
for tool in spin cc; do
    command -v "$tool" >/dev/null || { echo "please install $tool (Debian: apt-get install spin gcc)" >&2; exit 2; }
done
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"

# search MODEL -D…: an exhaustive search up to the first violation; leaves pan's report in $work/report.
search() {
    local model="$1.pml"
    shift
    rm -f pan* ./*.pml ./*.trail
    cp "$models/$model" .
    spin -a "$@" "$model" >report 2>&1 || { cat report >&2; exit 2; }
    # shellcheck disable=SC2086
    cc -O2 -w -DSAFETY -DMEMLIM=4000 ${shortest:-} -o pan pan.c
    ./pan -m20000 -w22 ${shorten:-} >report 2>&1 || true
}

if [ "${1:-}" = trail ]; then
    shift
    shorten=-I shortest=-DREACH search "$@"
    model="$1.pml"
    shift
    [ -f "$model.trail" ] || { echo "no counterexample"; exit; }
    spin -t -T "$@" "$model" | sed '/^#processes/,$d'
    exit
fi

wrong=0
# row WORD MODEL WHAT -D…: WORD is `holds`, `breaks` or `reached`; WHAT is printed.
row() {
    local word="$1" model="$2" what="$3" found states seconds memory
    shift 3
    search "$model" "$@"
    # A search that was cut short, or found anything but a violated assertion, proves nothing.
    if grep -qE 'max search depth too small|reached -DMEMLIM|Search not completed' report &&
        ! grep -q 'assertion violated' report; then
        found='not searched through'
    elif grep -q 'errors: 0$' report; then
        found=holds
    elif grep -q 'assertion violated' report; then
        found=breaks
        [ "$word" = reached ] && found=reached
    else
        found="$(grep -m1 '^pan' report || echo 'no verdict')"
    fi
    states="$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' report)"
    seconds="$(sed -n 's/^pan: elapsed time \([0-9.]*\) seconds/\1/p' report)"
    memory="$(sed -n 's/^ *\([0-9.]*\).*total actual memory usage/\1/p' report)"
    printf '| %-9s | %-44s | %-8s | %9.0f | %7s | %7.0f |\n' \
        "$model" "$what" "$found" "$states" "${seconds:-0}" "$memory"
    if [ "$found" != "$word" ]; then
        printf '    expected: %s (spin -a %s %s.pml)\n' "$word" "$*" "$model"
        wrong=1
    fi
}

spin -V
echo
echo '| model     | run                                          | found    |    states | seconds |     MiB |'
echo '|-----------|----------------------------------------------|----------|-----------|---------|---------|'

row holds unmasking 'n 4, n_C 1, t 3' -DN=4 -DC=1
row holds unmasking 'n 4, n_C 0, t 3' -DN=4 -DC=0
row holds unmasking 'n 5, n_C 2, t 4' -DN=5 -DC=2
row holds unmasking 'n 6, n_C 3, t 5' -DN=6 -DC=3
row holds unmasking 'n 7, n_C 4, t 6' -DN=7 -DC=4
row holds unmasking 'n 5, n_C 1, t 4, one offer' -DN=5 -DC=1 -DROUNDS=1
row holds unmasking 'n 5, n_C 0, t 3, one offer, one U1' -DN=5 -DC=0 -DROUNDS=1 -DSAME_U1 -DSILENT
row reached unmasking 'good end with one drop-out' -DN=5 -DC=2 -DGOOD_END

# Rings: the degree is the least that threshold.rs calls safe against an active server.
ring5=(-DN=5 -DC=0 -DK=2 -DM=4 -DT=1 -DROUNDS=1 -DSILENT)
ring6=(-DN=6 -DC=2 -DK=4 -DM=5 -DT=3 -DROUNDS=1)
row holds unmasking 'ring of 5, k 2, n_C 0, m 4, t 1' "${ring5[@]}"
row holds unmasking 'ring of 6, k 4, n_C 2 side by side, m 5, t 3' "${ring6[@]}"
row holds unmasking 'ring of 6, k 4, n_C 2 opposite, m 5, t 3' "${ring6[@]}" -DSWAPPED
row reached unmasking 'ring of 6, good end with one drop-out' "${ring6[@]}" -DGOOD_END

# A removed rule: the smallest run that shows what it is for.
row breaks unmasking 'NO_QUORUM: BOTH' -DN=4 -DC=1 -DNO_QUORUM -DPROPERTY=BOTH
row breaks unmasking 'NO_QUORUM, n 5, n_C 2: BOTH' -DN=5 -DC=2 -DNO_QUORUM -DPROPERTY=BOTH
row breaks unmasking 'NO_QUORUM, ring of 5: BOTH' "${ring5[@]}" -DSAME_U1 -DNO_QUORUM -DPROPERTY=BOTH
row breaks unmasking 'ANY_LISTS: BOTH' -DN=4 -DC=1 -DANY_LISTS -DPROPERTY=BOTH
row breaks unmasking 'ANSWERS_TWICE: BOTH' -DN=4 -DC=1 -DANSWERS_TWICE -DPROPERTY=BOTH
row breaks unmasking 'PREKEY_KEPT: BOTH' -DN=4 -DC=1 -DPREKEY_KEPT -DPROPERTY=BOTH
row breaks unmasking 'NO_MINIMUM, n 5, n_C 0, m 4: FEW' -DN=5 -DC=0 -DM=4 -DROUNDS=1 -DSAME_U1 -DSILENT -DNO_MINIMUM -DPROPERTY=FEW
row holds unmasking 'NO_STATEMENTS: BOTH' -DN=5 -DC=2 -DNO_STATEMENTS -DPROPERTY=BOTH
row breaks unmasking 'NO_STATEMENTS, n 5, n_C 0: FEW' -DN=5 -DC=0 -DROUNDS=1 -DSAME_U1 -DSILENT -DNO_STATEMENTS -DPROPERTY=FEW
row breaks unmasking 'NO_STATEMENTS, ring of 5: BOTH' "${ring5[@]}" -DSAME_U1 -DNO_STATEMENTS -DPROPERTY=BOTH
row holds unmasking 'NO_SHARERS' -DN=5 -DC=2 -DNO_SHARERS
row breaks unmasking 'NO_SHARERS, ring of 5: FEW' "${ring5[@]}" -DNO_SHARERS -DPROPERTY=FEW
row holds unmasking 'SIGNS_TWICE' -DN=4 -DC=1 -DSIGNS_TWICE
row breaks unmasking 'ring of 5, m 3, so k = n - m + n_C: FEW' -DN=5 -DC=0 -DK=2 -DM=3 -DT=1 -DROUNDS=1 -DSAME_U1 -DSILENT -DPROPERTY=FEW
row breaks unmasking 'ring of 6, t 2 = n_C: BOTH' -DN=6 -DC=2 -DK=4 -DM=5 -DT=2 -DROUNDS=1 -DPROPERTY=BOTH

row holds answer 'as it is'
row reached answer 'good end' -DGOOD_END
row breaks answer 'NO_FSYNC: STRUCK' -DNO_FSYNC -DPROPERTY=STRUCK
row breaks answer 'NO_FSYNC: CHARGED' -DNO_FSYNC -DPROPERTY=CHARGED
row breaks answer 'NO_FSYNC: ONE_ANSWER' -DNO_FSYNC -DPROPERTY=ONE_ANSWER
row breaks answer 'CHARGED_LATE: CHARGED' -DCHARGED_LATE -DPROPERTY=CHARGED
row breaks answer 'ANSWER_NOT_KEPT: KEPT' -DANSWER_NOT_KEPT -DPROPERTY=KEPT
row holds answer 'ANSWER_NOT_KEPT: ONE_ANSWER' -DANSWER_NOT_KEPT -DPROPERTY=ONE_ANSWER
row holds answer 'RESUMES: ONE_ANSWER' -DRESUMES -DPROPERTY=ONE_ANSWER
row breaks answer 'RESUMES: ONE_STATEMENT' -DRESUMES -DPROPERTY=ONE_STATEMENT
row breaks answer 'RESUMES, ANSWER_NOT_KEPT: ONE_ANSWER' -DRESUMES -DANSWER_NOT_KEPT -DPROPERTY=ONE_ANSWER
row breaks answer 'PREKEY_KEPT: STRUCK' -DPREKEY_KEPT -DPROPERTY=STRUCK
row holds answer 'PREKEY_KEPT: ONE_UPDATE' -DPREKEY_KEPT -DPROPERTY=ONE_UPDATE
row holds answer 'REPLAYS' -DREPLAYS
row breaks answer 'PREKEY_KEPT, REPLAYS: ONE_UPDATE' -DPREKEY_KEPT -DREPLAYS -DPROPERTY=ONE_UPDATE
row breaks answer 'PREKEY_KEPT, REPLAYS: ONE_ANSWER' -DPREKEY_KEPT -DREPLAYS -DPROPERTY=ONE_ANSWER

echo
if [ "$wrong" = 0 ]; then echo 'as expected'; else echo 'NOT as expected' >&2; exit 1; fi

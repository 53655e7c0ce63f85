#!/usr/bin/env bash
# bash run.sh LETTERS: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: a minute instead of an hour. SEEDS="1 2": other seeds. FOLD=1: another test set. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash run.sh LETTERS, the file letter.data"
read -ra METHODS <<< "${ONLY:-${METHODS[*]}}"
bash "$HERE/prepare.sh" "$1"
for seed in ${SEEDS:-1 2}; do
    for method in "${METHODS[@]}"; do
        bash "$HERE/train.sh" "$method" "$seed"
        bash "$HERE/evaluate.sh" "$method" "$seed"
    done
done
python "$ROOT/scripts/results.py" table "$RUNS/results" --methods "${METHODS[@]}" --decoders greedy beam

#!/usr/bin/env bash
# bash run.sh TEXT: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: a minute instead of hours. REPLACE=0.3: the other noise. SEEDS="1 2": other seeds. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash run.sh TEXT, a text file with a sentence a line"
read -ra METHODS <<< "${ONLY:-${METHODS[*]}}"
bash "$HERE/prepare.sh" "$1"
for seed in ${SEEDS:-1 2}; do
    for method in "${METHODS[@]}"; do
        bash "$HERE/train.sh" "$method" "$seed"
        bash "$HERE/evaluate.sh" "$method" "$seed"
    done
done
python "$ROOT/scripts/results.py" table "$NOISE/results" --methods "${METHODS[@]}" --decoders greedy beam

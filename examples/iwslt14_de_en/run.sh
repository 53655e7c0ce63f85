#!/usr/bin/env bash
# bash run.sh [ARCHIVE or DATA_DIR]: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: minutes instead of hours. UNITS=pieces: pieces for words. SEEDS="1 2": more seeds. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

[ $# -le 1 ] || fail "usage: bash run.sh [ARCHIVE or DATA_DIR], de-en.tgz or a folder with its files or {train,valid,test}.{$SRC,$TGT}"
read -ra METHODS <<< "${ONLY:-${METHODS[*]}}"
bash "$HERE/prepare.sh" "$@"
for seed in ${SEEDS:-1}; do
    for method in "${METHODS[@]}"; do
        bash "$HERE/train.sh" "$method" "$seed"
        bash "$HERE/evaluate.sh" "$method" "$seed"
    done
done
python "$ROOT/scripts/results.py" table "$WORK/results" --methods "${METHODS[@]}" --log-dir "$WORK/models"

#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of the search-aware methods, one epoch each from the same checkpoint, scored on
# the validation set (BLEU). Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

[ $# -ge 1 ] || fail "usage: bash trials.sh DATA_DIR [TRIAL...], a folder with {train,val,test}.{$SRC,$TGT}"
SEED=1
export SUBSET=valid
# name, method, and what differs from train.sh
TRIALS=(
    "lr-2e-5 cross-entropy-continued"
    "lr-1e-4 cross-entropy-continued SEARCH_LR=1e-4"
    "nll-2 soft-beam-direct"
    "nll-2-lr-1e-4 soft-beam-direct SEARCH_LR=1e-4"
    "nll-0.5 soft-beam-direct NLL_WEIGHT=0.5"
    "nll-2-alpha-100 soft-beam-direct ALPHA=100"
)

bash "$HERE/prepare.sh" "$1"
bash "$HERE/train.sh" cross-entropy $SEED
bash "$HERE/evaluate.sh" cross-entropy $SEED
rows=(cross-entropy)
for trial in "${TRIALS[@]}"; do
    read -r name method settings <<< "$trial"
    if [ $# -gt 1 ] && [[ " ${*:2} " != *" $name "* ]]; then continue; fi
    # shellcheck disable=SC2086
    env TRIAL="$name" SEARCH_EPOCHS=1 $settings bash "$HERE/train.sh" "$method" $SEED
    TRIAL=$name bash "$HERE/evaluate.sh" "$method" $SEED
    rows+=("$method-$name")
done
python "$ROOT/scripts/results.py" table "$WORK/results-valid" --methods "${rows[@]/#/$ARCH-}"

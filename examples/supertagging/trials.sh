#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of the search-aware methods, one epoch each from the same checkpoint, scored on
# the validation set (accuracy under beam 3). Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

[ $# -ge 1 ] || fail "usage: bash trials.sh DATA_DIR [TRIAL...], a folder with {train,dev,test}.tsv"
SEED=1
export NLL_WEIGHT=0
DIRECT=soft-beam-direct-squared-distance-constant HINGE=soft-beam-hinge-squared-distance-constant
# name, method, and what differs from train.sh, without cross entropy in the loss
TRIALS=(
    "control cross-entropy-continued"
    "direct $DIRECT"
    "direct-lr-3e-4 $DIRECT SEARCH_LR=3e-4"
    "direct-lr-3e-5 $DIRECT SEARCH_LR=3e-5"
    "direct-alpha-1 $DIRECT ALPHA=1"
    "direct-alpha-100 $DIRECT ALPHA=100"
    "direct-nll-0.5 $DIRECT NLL_WEIGHT=0.5"
    "direct-nll-2 $DIRECT NLL_WEIGHT=2"
    "direct-logits $DIRECT SCORES=logits"
    "direct-successive soft-beam-direct-successive-constant"
    "hinge $HINGE"
    "hinge-nll-0.5 $HINGE NLL_WEIGHT=0.5"
    "hinge-nll-2 $HINGE NLL_WEIGHT=2"
    "hinge-logits $HINGE SCORES=logits"
    "hinge-successive soft-beam-hinge-successive-constant"
)

# best_accuracy DIR: the highest validation accuracy under beam 3 in DIR's log.
best_accuracy() { grep 'valid on' "$1/train.log" | grep -o '| accuracy_beam [0-9.]*' | grep -o '[0-9.]*$' | sort -n | tail -n 1; }

bash "$HERE/prepare.sh" "$1"
bash "$HERE/train.sh" cross-entropy $SEED
rows=("| checkpoint | | $(best_accuracy "$WORK/models/cross-entropy-$SEED") |")
for trial in "${TRIALS[@]}"; do
    read -r name method settings <<< "$trial"
    if [ $# -gt 1 ] && [[ " ${*:2} " != *" $name "* ]]; then continue; fi
    # shellcheck disable=SC2086
    env TRIAL="$name" SEARCH_EPOCHS=1 $settings bash "$HERE/train.sh" "$method" $SEED
    rows+=("| $method | $settings | $(best_accuracy "$WORK/models/$method-$SEED-$name") |")
done
printf '\n| method | settings | validation accuracy, beam 3 |\n|---|---|---|\n'
printf '%s\n' "${rows[@]}"

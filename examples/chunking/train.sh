#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: mle or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash train.sh METHOD SEED"
METHOD=$1 SEED=$2
MODEL=$WORK/models/$METHOD-$SEED${TRIAL:+-$TRIAL}  # TRIAL names a run with other settings

DATA_FLAGS=("$WORK/bin" --task search_tagging --source-lang words --target-lang labels --num-workers 0 --seed "$SEED"
    --batch-size 32)
MODEL_FLAGS=(--arch chunking_leblond2018 --dropout "${DROPOUT:-0.3}")
OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-2e-3}" --clip-norm 1.0 --lr-scheduler polynomial_decay
    --total-num-update "${UPDATES:-$((252 * EPOCHS))}" --max-epoch "$EPOCHS")
SELECTION_FLAGS=(--best-checkpoint-metric accuracy_greedy --maximize-best-checkpoint-metric)

case $METHOD in
    mle) OBJECTIVE=(--criterion cross_entropy) ;;
    searnn-*)
        searnn "$METHOD" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost "${COST:-hamming}" --searnn-cells "$CELLS"
        ;;
    *) fail "unknown METHOD $METHOD; known are: ${METHODS[*]}" ;;
esac
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

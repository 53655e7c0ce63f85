#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: mle or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash train.sh METHOD SEED"
METHOD=$1 SEED=$2
MODEL=$NOISE/models/$METHOD-$SEED${TRIAL:+-$TRIAL}  # TRIAL names a run with other settings

DATA_FLAGS=("$NOISE/bin" --task search_translation --source-lang noisy --target-lang clean --num-workers 0 --seed "$SEED"
    --batch-size 64)
MODEL_FLAGS=(--arch spelling_leblond2018)
OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-2e-3}" --clip-norm 1.0 --lr-scheduler polynomial_decay
    --total-num-update "$UPDATES" --max-update "$UPDATES")

case $METHOD in
    mle) OBJECTIVE=(--criterion cross_entropy) SELECTION_FLAGS=() ;;
    searnn-*)
        searnn "$METHOD" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost edit --searnn-cells "$CELLS"
        SELECTION_FLAGS=(--best-checkpoint-metric greedy_cost)
        ;;
    *) fail "unknown METHOD $METHOD; known are: ${METHODS[*]}" ;;
esac
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

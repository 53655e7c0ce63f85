#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --batch-size 64)
MODEL_FLAGS=(--arch spelling_leblond2018)
OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-2e-3}" --clip-norm 1.0 --lr-scheduler polynomial_decay
    --total-num-update "$UPDATES" --max-update "$UPDATES")
SELECTION_FLAGS=(--eval-edit-distance --eval-edit-distance-args '{"beam": 1, "max_len_a": 1, "max_len_b": 5}' --best-checkpoint-metric edit_distance)

train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

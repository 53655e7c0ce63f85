#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --batch-size 32)
MODEL_FLAGS=(--arch chunking_leblond2018 --dropout "${DROPOUT:-0.3}")
OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-2e-3}" --clip-norm 1.0 --lr-scheduler polynomial_decay
    --total-num-update "${UPDATES:-$((252 * EPOCHS))}" --max-epoch "$EPOCHS")
SELECTION_FLAGS=(--best-checkpoint-metric chunk_f1_greedy --maximize-best-checkpoint-metric)

train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

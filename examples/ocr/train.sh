#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --batch-size 64)
# A glyph's embedding is its pixels, and stays so.
MODEL_FLAGS=(--arch ocr_leblond2018 --encoder-embed-path "$RUNS/text/glyphs.vec" --encoder-freeze-embed)
OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-2e-3}" --clip-norm 1.0 --lr-scheduler polynomial_decay
    --total-num-update "$UPDATES" --max-update "$UPDATES")
SELECTION_FLAGS=(--validate-interval 5 --save-interval 5 --tagging-valid-beam 1
    --best-checkpoint-metric accuracy_greedy --maximize-best-checkpoint-metric)

train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

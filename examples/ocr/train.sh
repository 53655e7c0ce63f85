#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: mle or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash train.sh METHOD SEED"
METHOD=$1 SEED=$2
MODEL=$RUNS/models/$METHOD-$SEED${TRIAL:+-$TRIAL}  # TRIAL names a run with other settings

DATA_FLAGS=("$RUNS/bin" --task search_tagging --source-lang glyphs --target-lang letters --num-workers 0 --seed "$SEED"
    --batch-size 64)
# A glyph's embedding is its pixels, and stays so.
MODEL_FLAGS=(--arch ocr_leblond2018 --encoder-embed-path "$RUNS/text/glyphs.vec" --encoder-freeze-embed)
OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-2e-3}" --clip-norm 1.0 --lr-scheduler polynomial_decay
    --total-num-update "$UPDATES" --max-update "$UPDATES")
SELECTION_FLAGS=(--validate-interval 5 --save-interval 5 --tagging-valid-beam 1
    --best-checkpoint-metric accuracy_greedy --maximize-best-checkpoint-metric)

case $METHOD in
    mle) OBJECTIVE=(--criterion cross_entropy) ;;
    searnn-*) searnn "$METHOD" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost hamming ;;
    *) fail "unknown METHOD $METHOD; known are: ${METHODS[*]}" ;;
esac
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

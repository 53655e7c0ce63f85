#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: see settings.sh. METHOD-then-METHOD trains the second one from the end of the first.
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --max-tokens 1000)
MODEL_FLAGS=(--arch tagger_lstm --encoder-lookahead "$LOOKAHEAD" --encoder-embed-dim "$HIDDEN" --encoder-hidden-size "$HIDDEN"
    --decoder-hidden-size "$HIDDEN" --decoder-embed-dim 64 --dropout 0.3)
OPTIMIZER_FLAGS=(--optimizer adam --clip-norm 5.0)
SELECTION_FLAGS=(--best-checkpoint-metric "${VALID_METRIC}_beam" --maximize-best-checkpoint-metric)

if [ "$METHOD" = cross-entropy ]; then
    train "$BASE" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
        "${OBJECTIVE[@]}" --lr "$LR" --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-patience 1 --max-epoch "$EPOCHS"
    exit
fi
FROM=$BASE/checkpoint_best.pt
if [[ $METHOD == *-then-* ]]; then
    bash "$HERE/train.sh" "${METHOD%-then-*}" "$SEED"
    FROM=$RUNS/models/${METHOD%-then-*}-$SEED/checkpoint_last.pt
fi
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
    --finetune-from-model "$FROM" --lr "${SEARCH_LR:-5e-4}" --max-epoch "$SEARCH_EPOCHS" "${OBJECTIVE[@]}"

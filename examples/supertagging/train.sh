#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy, cross-entropy-continued or soft-beam-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --max-tokens 1000)
MODEL_FLAGS=(--arch ccg_goyal2018 --encoder-embed-dim "$HIDDEN" --encoder-hidden-size "$HIDDEN" --decoder-hidden-size "$HIDDEN"
    --decoder-embed-dim 64 --dropout 0.5)
OPTIMIZER_FLAGS=(--optimizer adam --clip-norm 5.0)
SELECTION_FLAGS=(--best-checkpoint-metric accuracy_beam --maximize-best-checkpoint-metric)
CONTINUE_FLAGS=(--finetune-from-model "$BASE/checkpoint_best.pt" --lr "${SEARCH_LR:-1e-4}" --max-epoch "$SEARCH_EPOCHS")

if [ "$METHOD" = cross-entropy ]; then
    train "$BASE" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}" \
        --lr 1e-3 --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-patience 1 --max-epoch "$EPOCHS"
    exit
fi
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
    "${CONTINUE_FLAGS[@]}" "${OBJECTIVE[@]}"

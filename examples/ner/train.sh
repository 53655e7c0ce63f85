#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy, cross-entropy-continued, dss-... or soft-beam-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --max-tokens 1500)
MODEL_FLAGS=(--arch ner_goyal2018 --dropout "${DROPOUT:-0.3}")
OPTIMIZER_FLAGS=(--optimizer adam --clip-norm 5.0)
SELECTION_FLAGS=(--best-checkpoint-metric accuracy_beam --maximize-best-checkpoint-metric)
CONTINUE_FLAGS=(--finetune-from-model "$BASE/checkpoint_best.pt" --lr "${SEARCH_LR:-1e-3}" --max-epoch "$SEARCH_EPOCHS")

case $METHOD in
    cross-entropy)
        train "$BASE" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
            --criterion cross_entropy --lr 3e-3 --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-patience 1 \
            --max-epoch "$EPOCHS"
        exit
        ;;
    cross-entropy-continued) OBJECTIVE=(--criterion cross_entropy) ;;
    dss-*) scheduled_sampling "$METHOD" ;;
    soft-beam-direct | soft-beam-hinge)
        # Goyal et al. 2018: missing an entity is worse than finding one too many.
        OBJECTIVE=(--criterion "${METHOD//-/_}" --soft-beam-size 3 --soft-beam-alpha "${ALPHA:-10}" --soft-beam-label-cost 'O=2'
            --search-nll-weight "${NLL_WEIGHT:-2}")
        ;;
    *) unknown_method ;;
esac
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
    "${CONTINUE_FLAGS[@]}" "${OBJECTIVE[@]}"

#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy, cross-entropy-continued, or
# soft-beam-{direct,hinge}-{squared-distance,successive}-{constant,annealed}
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --max-tokens 1000)
MODEL_FLAGS=(--arch ccg_goyal2018 --encoder-embed-dim "$HIDDEN" --encoder-hidden-size "$HIDDEN" --decoder-hidden-size "$HIDDEN"
    --decoder-embed-dim 64 --dropout 0.5)
OPTIMIZER_FLAGS=(--optimizer adam --clip-norm 5.0)
SELECTION_FLAGS=(--best-checkpoint-metric accuracy_beam --maximize-best-checkpoint-metric)
CONTINUE_FLAGS=(--finetune-from-model "$BASE/checkpoint_best.pt" --lr "${SEARCH_LR:-1e-4}" --max-epoch "$SEARCH_EPOCHS")

case $METHOD in
    cross-entropy)
        train "$BASE" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
            --criterion cross_entropy --lr 1e-3 --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-patience 1 \
            --max-epoch "$EPOCHS"
        exit
        ;;
    cross-entropy-continued) OBJECTIVE=(--criterion cross_entropy) ;;
    soft-beam-direct-*) OBJECTIVE=(--criterion soft_beam_direct) ;;
    soft-beam-hinge-*) OBJECTIVE=(--criterion soft_beam_hinge) ;;
    *) unknown_method ;;
esac
case $METHOD in
    soft-beam-*) OBJECTIVE+=(--soft-beam-size 3 --soft-beam-scores "${SCORES:-log-probs}" --search-nll-weight "${NLL_WEIGHT:-2}") ;;
esac
case $METHOD in
    *-squared-distance-*) OBJECTIVE+=(--soft-beam-top-k squared-distance) ;;
    *-successive-*) OBJECTIVE+=(--soft-beam-top-k successive) ;;
esac
case $METHOD in
    *-constant) OBJECTIVE+=(--soft-beam-alpha "${ALPHA:-10}") ;;
    *-annealed) OBJECTIVE+=(--soft-beam-alpha 1 --soft-beam-alpha-growth 30 --soft-beam-alpha-max 1000) ;;
esac
train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" \
    "${CONTINUE_FLAGS[@]}" "${OBJECTIVE[@]}"

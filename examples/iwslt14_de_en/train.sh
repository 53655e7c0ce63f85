#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: one of METHODS in settings.sh, or another name of its kinds.
. "$(dirname "$0")/settings.sh"

begin_training "$@"
MAX_TOKENS=${MAX_TOKENS:-1500}

DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED")
OPTIMIZER_FLAGS=(--optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0)
FLAGS=("${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}")
# Everything after cross entropy starts from its best checkpoint, with a new optimizer and the same small learning rate.
CONTINUE_FLAGS=(--finetune-from-model "$BASE/checkpoint_best.pt" --lr "${SEARCH_LR:-2e-5}" --max-tokens "$MAX_TOKENS")

case $METHOD in
    cross-entropy)
        train "$BASE" "${FLAGS[@]}" "${OBJECTIVE[@]}" \
            --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates "$WARMUP" --max-tokens "${BASE_TOKENS:-4000}" --max-epoch "$EPOCHS"
        ;;
    cross-entropy-continued | soft-beam-* | global-likelihood* | beam-search-optimization | minimum-risk)
        train "$MODEL" "${FLAGS[@]}" "${CONTINUE_FLAGS[@]}" --max-epoch "$SEARCH_EPOCHS" "${OBJECTIVE[@]}"
        ;;
    dss-*)
        # Epoch 1 feeds the gold alone in all of these rows but `always`; the gold probability decays after it.
        train "$MODEL" "${FLAGS[@]}" "${CONTINUE_FLAGS[@]}" --label-smoothing 0.1 --max-epoch "$DSS_EPOCHS" "${OBJECTIVE[@]}"
        ;;
    searnn-*)
        train "$MODEL" "${FLAGS[@]}" "${CONTINUE_FLAGS[@]}" --max-tokens 500 --max-update "$SEARNN_UPDATES" "${OBJECTIVE[@]}"
        ;;
esac

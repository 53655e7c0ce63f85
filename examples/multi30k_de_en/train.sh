#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: one of METHODS in settings.sh, or another name of its kinds.
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED")
OPTIMIZER_FLAGS=(--optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0)
FLAGS=("${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}")
# Everything after cross entropy starts from its best checkpoint, with a new optimizer and the same small learning rate.
CONTINUE_FLAGS=(--finetune-from-model "$BASE/checkpoint_best.pt" --lr "${SEARCH_LR:-2e-5}" --max-epoch "$SEARCH_EPOCHS"
    --max-tokens 1500)

case $METHOD in
    cross-entropy)
        train "$BASE" "${FLAGS[@]}" "${OBJECTIVE[@]}" \
            --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates 400 --max-tokens 1500 --max-epoch "$EPOCHS"
        ;;
    cross-entropy-continued | soft-beam-* | global-likelihood* | beam-search-optimization | minimum-risk)
        train "$MODEL" "${FLAGS[@]}" "${CONTINUE_FLAGS[@]}" "${OBJECTIVE[@]}"
        ;;
    dss-*)
        # Epoch 1 feeds the gold alone, whatever comes after it: trained once, as dss-none, all rows but those of `always` go on from it.
        FLAGS+=("${CONTINUE_FLAGS[@]}" --label-smoothing 0.1)
        if [[ " ${OBJECTIVE[*]} " != *' --dss-decay always '* ]]; then
            FIRST=$RUNS/models/${PREFIX}dss-epoch-1-$SEED
            objective_of dss-none
            train "$FIRST" "${FLAGS[@]}" "${OBJECTIVE[@]}" --max-epoch 1
            objective_of "$METHOD"
            mkdir -p "$MODEL"
            if [ ! -e "$MODEL/checkpoint_last.pt" ]; then cp "$FIRST/checkpoint_last.pt" "$MODEL/checkpoint_last.pt"; fi
        fi
        train "$MODEL" "${FLAGS[@]}" "${OBJECTIVE[@]}" --max-epoch "$DSS_EPOCHS"
        ;;
    searnn-*)
        train "$MODEL" "${FLAGS[@]}" "${CONTINUE_FLAGS[@]}" --max-tokens 500 --max-update "$SEARNN_UPDATES" "${OBJECTIVE[@]}"
        ;;
esac

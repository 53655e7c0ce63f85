#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: cross-entropy, cross-entropy-continued, soft-beam-direct, dss-... or searnn-..., as run.sh lists them
. "$(dirname "$0")/settings.sh"

begin_training "$@"
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED")
OPTIMIZER_FLAGS=(--optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0)
SMOOTHED=(--criterion label_smoothed_cross_entropy --label-smoothing 0.1)
# Everything after cross entropy starts from its best checkpoint, with a new optimizer and the same small learning rate.
CONTINUE_FLAGS=(--finetune-from-model "$BASE/checkpoint_best.pt" --lr "${SEARCH_LR:-2e-5}" --max-epoch "$SEARCH_EPOCHS"
    --max-tokens 1500)

case $METHOD in
    cross-entropy)
        train "$BASE" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SMOOTHED[@]}" \
            --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates 400 --max-tokens 1500 --max-epoch "$EPOCHS"
        ;;
    cross-entropy-continued)
        train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" \
            "${CONTINUE_FLAGS[@]}" "${SMOOTHED[@]}"
        ;;
    soft-beam-direct)
        train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" \
            "${CONTINUE_FLAGS[@]}" --criterion soft_beam_direct --soft-beam-size 3 \
            --soft-beam-alpha "${ALPHA:-10}" --soft-beam-alpha-growth "${GROWTH:-1}" \
            --search-nll-weight "${NLL_WEIGHT:-2}"
        ;;
    dss-*)
        # Epoch 1 feeds the gold alone, whatever decays after it: trained once, all rows but those of `always` go on from it.
        scheduled_sampling "$METHOD"
        FLAGS=("${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${CONTINUE_FLAGS[@]}" --label-smoothing 0.1)
        case $METHOD in
            *-always) ;;
            *)
                FIRST=$RUNS/models/${PREFIX}dss-epoch-1-$SEED
                train "$FIRST" "${FLAGS[@]}" "${OBJECTIVE[@]}" --max-epoch 1
                mkdir -p "$MODEL"
                if [ ! -e "$MODEL/checkpoint_last.pt" ]; then cp "$FIRST/checkpoint_last.pt" "$MODEL/checkpoint_last.pt"; fi
                ;;
        esac
        train "$MODEL" "${FLAGS[@]}" "${OBJECTIVE[@]}" --max-epoch "$DSS_EPOCHS"
        ;;
    searnn-*)
        # Five cells of a sentence and the two at its end; 15 + 5 tokens, the gold one and the end of sentence.
        if [ "$METHOD" = searnn-control ]; then
            OBJECTIVE=("${SMOOTHED[@]}")
        else
            KL_SCALE=${KL_SCALE:-200}
            searnn "$METHOD" --searnn-roll-in "${ROLL_IN:-reference}" --searnn-cells "${CELLS:-5}" --searnn-sampling top-k=15 \
                --searnn-neighbors 5 --searnn-cost "${COST:-bleu}" --searnn-reference-policy "${POLICY:-best-suffix-bleu-1}"
        fi
        train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${CONTINUE_FLAGS[@]}" --max-tokens 500 \
            --max-update "$SEARNN_UPDATES" "${OBJECTIVE[@]}"
        ;;
    *) unknown_method ;;
esac

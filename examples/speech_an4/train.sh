#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: ctc, dbd-learned or another one that run.sh lists. All but ctc and asg begin from one of these two.
. "$(dirname "$0")/settings.sh"

begin_training "$@"
task_of "$METHOD"
if needs_rnn "$METHOD"; then train_rnn; fi
BASE=$RUNS/models/$(base_of "$METHOD")-$SEED
DATA_FLAGS=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --batch-size 16)
MODEL_FLAGS=(--arch recognizer_lstm --dropout 0.3)
if [ "$BASE" = "$MODEL" ]; then
    # The learning rate falls in a straight line, and would be 0 a little later.
    OPTIMIZER_FLAGS=(--optimizer adam --lr "${LR:-1e-3}" --clip-norm 5 --lr-scheduler polynomial_decay
        --total-num-update $((UPDATES + 80)) --max-update "$UPDATES")
    SELECTION_FLAGS=(--best-checkpoint-metric unit_error_greedy)
else
    OPTIMIZER_FLAGS=(--finetune-from-model "$BASE/checkpoint_last.pt" --optimizer adam --lr "${LR:-3e-4}" --clip-norm 5
        --lr-scheduler polynomial_decay --total-num-update "$MORE" --max-update "$MORE")
    SELECTION_FLAGS=(--best-checkpoint-metric unit_error_greedy)
fi
if [[ ${OBJECTIVE[*]} == *'--criterion dbd'* ]]; then
    # The weights begin as the best ones of the grid, with the same language model.
    BEGIN=50$(if needs_rnn "$METHOD"; then echo -rnn; fi)
    [ -e "$BASE/done" ] || fail "$BASE is not trained yet: bash train.sh $(base_of "$METHOD") $SEED"
    tune "$BASE" "$(base_of "$METHOD")" "$BEGIN"
    # shellcheck disable=SC2207
    OBJECTIVE+=("${WORDS[@]}" $(sed 's/recognition/dbd/g' "$BASE/grid-$BEGIN.flags"))
fi

train "$MODEL" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" "${SELECTION_FLAGS[@]}" "${OBJECTIVE[@]}"

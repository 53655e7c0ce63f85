# What the examples of recognition share; their settings.sh source it, and say beside what example.sh asks for
#
#   MODEL_FLAGS     of the model
#   FRAME_FLAGS     what it reads of a frame; flags of the task
#   GRID            weights of the decoder to choose from; options of tune_decoder.py
#   BASE_LR         learning rate of ctc and asg (optional: 1e-3); LR from outside comes first
#   RNN_FLAGS       options of train_recognition_lm.py
#   UPDATES, MORE   updates of ctc and asg, and of the methods that begin from them
. "$(dirname "${BASH_SOURCE[0]}")/example.sh"

METRIC=word_error

# Rows: units alone; the same for as many more updates as the rows through the beam search decoder, with a beam of N or BEAM.
objective_of() {
    FORM='{ctc,asg}[-continued], [asg-]dbd-{fixed,learned,learned-lm,learned-rnn,learned-rnn-lm}[-free][-kN]'
    TRAINING_BEAM=${BEAM:-50}
    case $1 in
        ctc | ctc-continued) OBJECTIVE=(--criterion ctc --zero-infinity) ;;
        asg | asg-continued) OBJECTIVE=(--criterion asg) ;;
        *) [[ $1 =~ ^(asg-)?dbd-(fixed|learned|learned-lm|learned-rnn|learned-rnn-lm)(-free)?(-k([1-9][0-9]*))?$ ]] || return 1
            TRAINING_BEAM=${BASH_REMATCH[5]:-$TRAINING_BEAM}
            OBJECTIVE=(--criterion dbd --dbd-beam-size "$TRAINING_BEAM" --search-nll-weight "${NLL_WEIGHT:-0}")
            case ${BASH_REMATCH[2]} in
                fixed) OBJECTIVE+=(--dbd-fixed-weights) ;;
                learned-lm | learned-rnn-lm) OBJECTIVE+=(--dbd-train-lm) ;;
            esac
            if [ -n "${BASH_REMATCH[3]}" ]; then OBJECTIVE+=(--dbd-gold free); fi
            ;;
    esac
}
base_of() { if [[ $1 == asg* ]]; then echo asg; else echo ctc; fi; }
control_of() { echo "$(base_of "$1")-continued"; }
checkpoint_of() { echo checkpoint_last.pt; }  # all after the same number of updates

# What decoding needs: the topology of a method, and its language model, a bigram or an LSTM.
TASK_FLAGS=(--task search_recognition)
# use_words [MODEL]: the lexicon of RUNS and a language model, the n-gram by default, for training and for decoding.
use_words() {
    RNN=$RUNS/bin/rnnlm.pt
    WORDS=(--recognition-lexicon "$RUNS/bin/lexicon.txt" --recognition-lm "${1:-$RUNS/bin/ngram.arpa}")
    DECODE_FLAGS=(--batch-size 32 "${WORDS[@]}")
}
# needs_rnn WORD...: whether one of these methods or decoders has the LSTM.
needs_rnn() { [[ " $* " == *-rnn[-\ ]* ]]; }
# task_of METHOD: sets TASK_FLAGS and WORDS to its own.
task_of() {
    TASK_FLAGS=(--task search_recognition --recognition-topology "$(base_of "$1")" "${FRAME_FLAGS[@]}")
    if needs_rnn "$1"; then use_words "$RUNS/bin/rnnlm.pt"; fi
}
# train_rnn: the LSTM, once, on the text that the bigram is of.
train_rnn() {
    if [ -e "$RNN" ]; then return; fi
    local text=train
    if [ -e "$RUNS/bin/all.wrd" ]; then text=all; fi
    say "$RNN: a recurrent language model, of $text.wrd"
    python "$ROOT/scripts/train_recognition_lm.py" "$RUNS/bin" "${DEVICE_FLAGS[@]}" --text "$RUNS/bin/$text.wrd" "${RNN_FLAGS[@]}" \
        --output "$RNN" > "$RUNS/bin/rnnlm.log" || fail "the recurrent language model cannot be trained"
}

# Columns: greedy; beam-K, with the checkpoint's weights; grid-K, with the best weights of the grid on the validation set. With -rnn
# after it a column has the LSTM for every row.
decoder_flags() {
    FORM='greedy, {beam,grid}-K[-rnn]'
    [[ $1 =~ ^(greedy|(beam|grid)-([1-9][0-9]*)(-rnn)?)$ ]] || return 1
    if [ "$1" = greedy ]; then
        echo "--decoder greedy"
        return
    fi
    echo "--decoder beam --recognition-beam-size ${BASH_REMATCH[3]} ${BASH_REMATCH[4]:+--recognition-lm $RNN}" \
        "$(if [[ $1 == grid-* && -n ${MODEL:-} ]]; then cat "$MODEL/$1.flags"; fi)"
}

# tune MODEL METHOD K: the best weights of the grid for a beam of K, once: MODEL/grid-K.flags. K-rnn: with the LSTM.
tune() {
    local name=$1/grid-$3 words=("${WORDS[@]}")
    if needs_rnn "$3"; then words+=(--recognition-lm "$RNN"); fi
    if [ -e "$name.flags" ]; then return; fi
    say "$(basename "$1"): weights for a beam of ${3/-rnn/ and the LSTM}, all of them in $name.md"
    python "$ROOT/scripts/tune_decoder.py" "$RUNS/bin" "${DEVICE_FLAGS[@]}" --path "$1/$(checkpoint_of "$2")" "${words[@]}" \
        --beam-size "${3%-rnn}" "${GRID[@]}" --output "$name.jsonl" > "$name.md" || fail "the weights of $1 cannot be tuned"
    tail -n 1 "$name.md" | sed 's/^[^:]*: //' > "$name.flags"
}

# train_recognizer METHOD SEED. All but ctc and asg begin from one of these two.
train_recognizer() {
    begin_training "$@"
    task_of "$METHOD"
    if needs_rnn "$METHOD"; then train_rnn; fi
    BASE=$RUNS/models/$(base_of "$METHOD")-$SEED
    local data=("$RUNS/bin" "${TASK_FLAGS[@]}" --num-workers 0 --seed "$SEED" --batch-size 16)
    local selection=(--best-checkpoint-metric unit_error_greedy) optimizer
    if [ "$BASE" = "$MODEL" ]; then
        # The learning rate falls in a straight line, and would be 0 a little later.
        optimizer=(--optimizer adam --lr "${LR:-${BASE_LR:-1e-3}}" --clip-norm 5 --lr-scheduler polynomial_decay
            --total-num-update $((UPDATES + 80)) --max-update "$UPDATES")
    else
        optimizer=(--finetune-from-model "$BASE/checkpoint_last.pt" --optimizer adam --lr "${LR:-3e-4}" --clip-norm 5
            --lr-scheduler polynomial_decay --total-num-update "$MORE" --max-update "$MORE")
    fi
    if [[ ${OBJECTIVE[*]} == *'--criterion dbd'* ]]; then
        # The weights begin as the best ones of the grid for a beam of that size, with the same language model.
        local begin
        begin=$TRAINING_BEAM$(if needs_rnn "$METHOD"; then echo -rnn; fi)
        [ -e "$BASE/done" ] || fail "$BASE is not trained yet: bash train.sh $(base_of "$METHOD") $SEED"
        tune "$BASE" "$(base_of "$METHOD")" "$begin"
        # shellcheck disable=SC2207
        OBJECTIVE+=("${WORDS[@]}" $(sed 's/recognition/dbd/g' "$BASE/grid-$begin.flags"))
    fi
    train "$MODEL" "${data[@]}" "${MODEL_FLAGS[@]}" "${optimizer[@]}" "${selection[@]}" "${OBJECTIVE[@]}"
}

# evaluate_recognizer METHOD SEED: the columns of the grid are tuned first.
evaluate_recognizer() {
    local decoder
    if [ $# -eq 2 ]; then
        task_of "$1"
        MODEL=$RUNS/models/$1-$2${TRIAL:+-$TRIAL}
        if [ -e "$MODEL/done" ]; then
            set_up
            if needs_rnn "$1" "$DECODERS"; then train_rnn; fi
            for decoder in $DECODERS; do
                if [[ $decoder == grid-* ]]; then tune "$MODEL" "$1" "${decoder#*-}"; fi
            done
        fi
    fi
    evaluate_example "$@"
}

# keep_metric MODEL RESULTS_DIR METHOD SEED DECODER...: both error rates, as fairseq-generate gives them; and the words, for
# the table of differences.
keep_metric() {
    local model=$1 results=$2 method=$3 seed=$4 decoder kind score
    shift 4
    for decoder in "$@"; do
        plain "$model/$SUBSET.$decoder" D > "$model/$SUBSET.$decoder.txt"
        for kind in word unit; do
            score=$(grep -o "$kind error rate: [0-9.]*" "$model/$SUBSET.$decoder" | grep -o '[0-9.]*$') || fail "no $kind error rate in $model/$SUBSET.$decoder"
            keep_score "$results$(if [ $kind = unit ]; then echo -units; fi)" "$method" "$decoder" "$seed" "$SUBSET $kind error (%)" "$score" "all utterances"
        done
    done
}

# run_recognizers ARGUMENT...: all methods and seeds; then the table of unit errors too, and the differences in word errors to a
# control whose weights are of the grid.
run_recognizers() {
    run_example "$@"
    echo
    # shellcheck disable=SC2086
    python "$ROOT/scripts/results.py" table "$(results_folder)-units" --seeds $SEEDS --methods ${ONLY:-"${METHODS[@]}"} --decoders $DECODERS \
        --write "$RUNS/results-$SUBSET-units"
    local control decoder
    for control in ctc-continued asg-continued; do
        if [[ " ${ONLY:-${METHODS[*]}} " != *" $control "* ]]; then continue; fi
        for decoder in $DECODERS; do
            if [[ $decoder != grid-* || " $DECODERS " != *" beam-${decoder#*-} "* ]]; then continue; fi
            echo
            # shellcheck disable=SC2086
            python "$ROOT/scripts/differences.py" "$RUNS/models" --gold "$RUNS/bin/$SUBSET.wrd" --scoring "$METRIC" --control "$control" \
                --control-decoder "$decoder" --methods ${ONLY:-"${METHODS[@]}"} --decoders "beam-${decoder#*-}" "$decoder" --seeds $SEEDS \
                --subset "$SUBSET" --write "$RUNS/results-$SUBSET-differences-$control-$decoder.md"
        done
    done
}

# Speech of AN4: sizes and folders. SMOKE=1 makes everything tiny. UNITS is letters or phones; QUARTER=1 trains on every fourth utterance.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

INPUT='AN4, a folder with etc/ and feat/'
UNITS=${UNITS:-letters} QUARTER=${QUARTER:-0}
[[ $UNITS =~ ^(letters|phones)$ ]] || fail "UNITS must be letters or phones, got $UNITS"
[[ $QUARTER == [01] ]] || fail "QUARTER must be 0 or 1, got $QUARTER"
GRID=(--lm-weights "${LM_WEIGHTS:-0.5,1,1.5,2,3}" --word-scores="${WORD_SCORES:-0,1,2,3,4}" --silence-scores="${SILENCE_SCORES:-0}")
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 30)
    UPDATES=4 MORE=2
    RNN_FLAGS=(--epochs 1 --hidden-size 8)
    GRID+=(--trials 2)
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    RNN_FLAGS=()
    if [ "$QUARTER" = 1 ]; then UPDATES=${UPDATES:-1400}; else UPDATES=${UPDATES:-2120}; fi  # 100 passes, 40 passes
    if [ "$QUARTER" = 1 ]; then MORE=${MORE:-140}; else MORE=${MORE:-159}; fi                # 10 passes, 3 passes
fi
RUNS=$WORK/$UNITS$(if [ "$QUARTER" = 1 ]; then echo -quarter; fi)

# Rows of the table: without a lexicon; the same for as many more updates as the rows below; through the beam search decoder.
METHODS=(ctc ctc-continued dbd-fixed dbd-learned dbd-learned-lm asg asg-continued asg-dbd-fixed asg-dbd-learned asg-dbd-learned-lm)
objective_of() {
    FORM='{ctc,asg}[-continued], [asg-]dbd-{fixed,learned,learned-lm,learned-rnn,learned-rnn-lm}[-free]'
    case $1 in
        ctc | ctc-continued) OBJECTIVE=(--criterion ctc --zero-infinity) ;;
        asg | asg-continued) OBJECTIVE=(--criterion asg) ;;
        *) [[ $1 =~ ^(asg-)?dbd-(fixed|learned|learned-lm|learned-rnn|learned-rnn-lm)(-free)?$ ]] || return 1
            OBJECTIVE=(--criterion dbd --dbd-beam-size "${BEAM:-50}" --search-nll-weight "${NLL_WEIGHT:-0}")
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
SEEDS=${SEEDS:-1 2 3}

# What decoding needs: the topology of a method, and its language model, a bigram or an LSTM.
TASK_FLAGS=(--task search_recognition)
words_with() { WORDS=(--recognition-lexicon "$RUNS/bin/lexicon.txt" --recognition-lm "$1"); }
words_with "$RUNS/bin/ngram.arpa"
RNN=$RUNS/bin/rnnlm.pt
# needs_rnn WORD...: whether one of these methods or decoders has the LSTM.
needs_rnn() { [[ " $* " == *-rnn[-\ ]* ]]; }
# task_of METHOD: sets TASK_FLAGS and WORDS to its own.
task_of() {
    TASK_FLAGS=(--task search_recognition --recognition-topology "$(base_of "$1")")
    if needs_rnn "$1"; then words_with "$RNN"; fi
    DECODE_FLAGS=(--batch-size 32 "${WORDS[@]}")
}
# train_rnn: the LSTM, once, on the text that the bigram is of.
train_rnn() {
    if [ -e "$RNN" ]; then return; fi
    local text=train
    if [ "$QUARTER" = 1 ]; then text=all; fi
    say "$RNN: a recurrent language model, of $text.wrd"
    python "$ROOT/scripts/train_recognition_lm.py" "$RUNS/bin" "${DEVICE_FLAGS[@]}" --text "$RUNS/bin/$text.wrd" "${RNN_FLAGS[@]}" \
        --output "$RNN" > "$RUNS/bin/rnnlm.log" || fail "the recurrent language model cannot be trained"
}

# Columns: greedy; beam-K, with the checkpoint's weights; grid-K, with the best weights of the grid on the validation set. With -rnn
# after it a column has the LSTM for every row.
DECODERS=${DECODERS:-greedy beam-50 grid-5 grid-10 grid-50}
DECODE_FLAGS=(--batch-size 32 "${WORDS[@]}")
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

METRIC=word_error
checkpoint_of() { echo checkpoint_last.pt; }  # all after the same number of updates

# keep_metric MODEL RESULTS_DIR METHOD SEED DECODER...: both error rates, as fairseq-generate gives them.
keep_metric() {
    local model=$1 results=$2 method=$3 seed=$4 decoder kind score
    shift 4
    for decoder in "$@"; do
        for kind in word unit; do
            score=$(grep -o "$kind error rate: [0-9.]*" "$model/$SUBSET.$decoder" | grep -o '[0-9.]*$') || fail "no $kind error rate in $model/$SUBSET.$decoder"
            keep_score "$results$(if [ $kind = unit ]; then echo -units; fi)" "$method" "$decoder" "$seed" "$SUBSET $kind error (%)" "$score" "all utterances"
        done
    done
}

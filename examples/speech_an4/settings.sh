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
    GRID+=(--trials 2)
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    if [ "$QUARTER" = 1 ]; then UPDATES=${UPDATES:-1400}; else UPDATES=${UPDATES:-2120}; fi  # 100 passes, 40 passes
    if [ "$QUARTER" = 1 ]; then MORE=${MORE:-140}; else MORE=${MORE:-159}; fi                # 10 passes, 3 passes
fi
RUNS=$WORK/$UNITS$(if [ "$QUARTER" = 1 ]; then echo -quarter; fi)

# Rows of the table: without a lexicon; the same for as many more updates as the rows below; through the beam search decoder.
METHODS=(ctc ctc-continued dbd-fixed dbd-learned dbd-learned-lm asg asg-continued asg-dbd-fixed asg-dbd-learned asg-dbd-learned-lm)
objective_of() {
    FORM='{ctc,asg}[-continued], [asg-]dbd-{fixed,learned,learned-lm}[-free]'
    case $1 in
        ctc | ctc-continued) OBJECTIVE=(--criterion ctc --zero-infinity) ;;
        asg | asg-continued) OBJECTIVE=(--criterion asg) ;;
        *) [[ $1 =~ ^(asg-)?dbd-(fixed|learned|learned-lm)(-free)?$ ]] || return 1
            OBJECTIVE=(--criterion dbd --dbd-beam-size "${BEAM:-50}" --search-nll-weight "${NLL_WEIGHT:-0}")
            case ${BASH_REMATCH[2]} in
                fixed) OBJECTIVE+=(--dbd-fixed-weights) ;;
                learned-lm) OBJECTIVE+=(--dbd-train-lm) ;;
            esac
            if [ -n "${BASH_REMATCH[3]}" ]; then OBJECTIVE+=(--dbd-gold free); fi
            ;;
    esac
}
base_of() { if [[ $1 == asg* ]]; then echo asg; else echo ctc; fi; }
control_of() { echo "$(base_of "$1")-continued"; }
SEEDS=${SEEDS:-1 2 3}

TASK_FLAGS=(--task search_recognition)
# topology_of METHOD: sets TASK_FLAGS to those of its task.
topology_of() { TASK_FLAGS=(--task search_recognition --recognition-topology "$(base_of "$1")"); }
WORDS=(--recognition-lexicon "$RUNS/bin/lexicon.txt" --recognition-lm "$RUNS/bin/ngram.arpa")

# Columns: greedy; beam-K, with the checkpoint's weights; grid-K, with the best weights of the grid on the validation set.
DECODERS=${DECODERS:-greedy beam-50 grid-5 grid-10 grid-50}
DECODE_FLAGS=(--batch-size 32 "${WORDS[@]}")
decoder_flags() {
    FORM='greedy, beam-K, grid-K'
    [[ $1 =~ ^(greedy|(beam|grid)-([1-9][0-9]*))$ ]] || return 1
    case $1 in
        greedy) echo "--decoder greedy" ;;
        beam-*) echo "--decoder beam --recognition-beam-size ${1#*-}" ;;
        grid-*) echo "--decoder beam --recognition-beam-size ${1#*-} $(if [ -n "${MODEL:-}" ]; then cat "$MODEL/$1.flags"; fi)" ;;
    esac
}

# tune MODEL METHOD K: the best weights of the grid for a beam of K, once: MODEL/grid-K.flags.
tune() {
    local name=$1/grid-$3
    if [ -e "$name.flags" ]; then return; fi
    say "$(basename "$1"): weights for a beam of $3, all of them in $name.md"
    python "$ROOT/scripts/tune_decoder.py" "$RUNS/bin" "${DEVICE_FLAGS[@]}" --path "$1/$(checkpoint_of "$2")" "${WORDS[@]}" \
        --beam-size "$3" "${GRID[@]}" --output "$name.jsonl" > "$name.md" || fail "the weights of $1 cannot be tuned"
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

# The shape of every example; its settings.sh sources this, and says
#
#   INPUT           what prepare.sh and run.sh are given, for messages; in brackets where they can do without
#   RUNS            folder of text, data, models and results
#   METHODS, SEEDS  rows of the table, and over what they are averaged; ONLY and SEEDS from outside come first
#   TASK_FLAGS      task and languages
#   DECODERS        columns of the table
#   DECODE_FLAGS    of fairseq-generate
#   METRIC          bleu, chunk_f1, tag_accuracy, letter_errors or edit_distance
#   CONDITION       what else a score depends on (optional)
#   PREFIX          before a method's name in folders and results (optional)
#
# and, where they are not what stands below, checkpoint_of METHOD and decoder_flags DECODER. TRIAL names a run with other settings, SUBSET the
# split that is scored.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HERE=$(cd "$(dirname "$0")" && pwd)
SUBSET=${SUBSET:-test}
PREFIX='' CONDITION=''

# begin_preparation ARGUMENT...: exit if it is done already.
begin_preparation() {
    takes_input $# || fail "usage: bash prepare.sh $INPUT"
    mkdir -p "$RUNS"
    if [ ! -e "$RUNS/bin/done" ]; then rm -f "$RUNS/prepared"; fi  # nothing was made yet
    same_settings "$RUNS/prepared" "input: ${1:+$(realpath -m -- "$1")}" "${PREPARE_FLAGS[@]}" "${TASK_FLAGS[@]}"
    if [ -e "$RUNS/bin/done" ]; then
        say "$RUNS/bin: done already"
        exit 0
    fi
}

takes_input() { [ "$1" -eq 1 ] || { [ "$1" -eq 0 ] && [[ $INPUT == '['* ]]; }; }

# begin_training ARGUMENT...: set METHOD, SEED, MODEL (its folder) and BASE (the one of cross entropy).
begin_training() {
    [ $# -eq 2 ] || fail "usage: bash train.sh METHOD SEED"
    METHOD=$1 SEED=$2
    BASE=$RUNS/models/${PREFIX}cross-entropy-$SEED
    MODEL=$RUNS/models/$PREFIX$METHOD-$SEED${TRIAL:+-$TRIAL}
}

unknown_method() { fail "unknown METHOD $METHOD; known are: ${METHODS[*]}"; }

checkpoint_of() { echo checkpoint_best.pt; }

# decoder_flags DECODER: the flags of a column.
decoder_flags() { echo "--decoder $1"; }

# evaluate_example METHOD SEED: score a model under each decoder, unless that is done.
evaluate_example() {
    [ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
    local name=$PREFIX$1${TRIAL:+-$TRIAL} model=$RUNS/models/$PREFIX$1-$2${TRIAL:+-$TRIAL} results decoder out
    results=$(results_folder)
    [ -e "$model/done" ] || fail "$model is not trained yet: bash train.sh $1 $2"
    for decoder in "${DECODERS[@]}"; do
        if [ -e "$results/$name-$2-$decoder.json" ]; then continue; fi
        out=$model/$SUBSET.$decoder
        # shellcheck disable=SC2046
        generate "$out" "$RUNS/bin" "${TASK_FLAGS[@]}" --path "$model/$(checkpoint_of "$1")" --gen-subset "$SUBSET" \
            "${DECODE_FLAGS[@]}" $(decoder_flags "$decoder")
        keep_metric "$out" "$results" "$name" "$decoder" "$2"
    done
}

results_folder() { if [ "$SUBSET" = test ]; then echo "$RUNS/results"; else echo "$RUNS/results-$SUBSET"; fi; }

# keep_metric OUT RESULTS_DIR METHOD DECODER SEED: score what fairseq-generate wrote, and keep the score.
keep_metric() {
    local out=$1 name score signature=$CONDITION
    shift
    case $METRIC in
        bleu)
            plain "$out" D > "$out.txt"
            bleu "$RUNS/text/raw.$SUBSET.$TGT" "$out.txt" "$@" "$SUBSET"
            return
            ;;
        chunk_f1) name='chunk F1' signature=$(version_of seqeval) ;;
        tag_accuracy | letter_errors) name='tag accuracy' signature=${CONDITION:-all words} ;;
        edit_distance) name='edit distance' ;;
    esac
    # Against the text, not what fairseq-generate takes for gold: there a label that training does not hold is unknown.
    plain "$out" H > "$out.txt"
    python -m seqsearch_fairseq score --scoring "${METRIC/letter_errors/tag_accuracy}" --sys "$out.txt" \
        --ref "$RUNS/text/$SUBSET.$(target_of "${TASK_FLAGS[@]}")" > "$out.score" || fail "$out cannot be scored"
    score=$(grep -o -m 1 "$name: [0-9.]*" "$out.score" | grep -o '[0-9.]*$') || fail "there is no $name in $out.score"
    if [ "$METRIC" = letter_errors ]; then
        name='wrong letters' score=$(python -c "print(round(100 - $score, 2))")
    fi
    keep_score "$@" "$SUBSET $name (%)" "$score" "$signature"
}

target_of() {
    while [ "$1" != --target-lang ]; do shift; done
    echo "$2"
}

version_of() { python -c 'import sys; from importlib.metadata import version; print(sys.argv[1], version(sys.argv[1]))' "$1"; }

# run_example ARGUMENT...: prepare, train and evaluate all methods and seeds, whatever is not done yet; print the table, and write it
# as Markdown and as a bar chart.
run_example() {
    local seed method
    takes_input $# || fail "usage: bash run.sh $INPUT"
    [ -z "${TRIAL:-}" ] || fail "TRIAL is for train.sh and evaluate.sh, not for run.sh: set WORK for other settings"
    read -ra METHODS <<< "${ONLY:-${METHODS[*]}}"
    bash "$HERE/prepare.sh" "$@"
    for seed in $SEEDS; do
        for method in "${METHODS[@]}"; do
            bash "$HERE/train.sh" "$method" "$seed"
            bash "$HERE/evaluate.sh" "$method" "$seed"
        done
    done
    table "$SEEDS" "${METHODS[@]}"
}

# table SEEDS METHOD...: these rows, of the results so far.
table() {
    local seeds=$1 logs=()
    shift
    if [[ " ${DECODERS[*]} " == *' soft-beam '* ]]; then logs=(--log-dir "$RUNS/models"); fi
    # shellcheck disable=SC2086
    python "$ROOT/scripts/results.py" table "$(results_folder)" --seeds $seeds --methods "${@/#/$PREFIX}" --decoders "${DECODERS[@]}" \
        ${logs[@]+"${logs[@]}"} --write "$RUNS/results-$SUBSET"
}

# run_trials INPUT [TRIAL...]: of TRIALS, each a name, a method and what differs from train.sh, all or those named; each from the same
# checkpoint, scored on the validation set.
run_trials() {
    local trial name method settings rows=(cross-entropy) seed=1
    [ $# -ge 1 ] || fail "usage: bash trials.sh $INPUT [TRIAL...]"
    export SUBSET=valid
    bash "$HERE/prepare.sh" "$1"
    bash "$HERE/train.sh" cross-entropy $seed
    bash "$HERE/evaluate.sh" cross-entropy $seed
    for trial in "${TRIALS[@]}"; do
        read -r name method settings <<< "$trial"
        if [ $# -gt 1 ] && [[ " ${*:2} " != *" $name "* ]]; then continue; fi
        # shellcheck disable=SC2086
        env TRIAL="$name" $settings bash "$HERE/train.sh" "$method" $seed
        TRIAL=$name bash "$HERE/evaluate.sh" "$method" $seed
        rows+=("$method-$name")
    done
    table $seed "${rows[@]}"
}

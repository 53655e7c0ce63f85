# The shape of every example; its settings.sh sources this, and says
#
#   INPUT           what prepare.sh and run.sh are given, for messages; in brackets where they can do without
#   INPUTS          how many arguments that is (optional: 1)
#   RUNS            folder of text, data, models and results
#   METHODS, SEEDS  rows of the table, and over what they are averaged; ONLY and SEEDS from outside come first
#   objective_of METHOD  sets OBJECTIVE to the flags of a method, of METHODS or another; false where there is none of the name
#   TASK_FLAGS      task and languages
#   DECODERS        columns of the table; DECODERS from outside comes first
#   DECODE_FLAGS    of fairseq-generate
#   METRIC          bleu, chunk_f1, tag_accuracy, letter_errors, edit_distance or word_error
#   CONDITION       what else a score depends on (optional)
#   PREFIX          before a method's name in folders and results (optional)
#
# and, where they are not what stands below, checkpoint_of METHOD, control_of METHOD and decoder_flags DECODER. TRIAL names a run with
# other settings, SUBSET the split that is scored.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HERE=$(cd "$(dirname "$0")" && pwd)
SUBSET=${SUBSET:-test}
PREFIX='' CONDITION=''

# begin_preparation ARGUMENT...: exit if it is done already.
begin_preparation() {
    takes_input $# || fail "usage: bash prepare.sh $INPUT"
    local path inputs=("input: ${1:+$(realpath -m -- "$1")}")
    for path in "${@:2}"; do inputs+=("input: $(realpath -m -- "$path")"); done
    set_up
    mkdir -p "$RUNS"
    if [ ! -e "$RUNS/bin/done" ]; then rm -f "$RUNS/prepared"; fi  # nothing was made yet
    same_settings "$RUNS/prepared" "${inputs[@]}" "${PREPARE_FLAGS[@]}" "${TASK_FLAGS[@]}"
    if [ -e "$RUNS/bin/done" ]; then
        say "$RUNS/bin: done already"
        exit 0
    fi
}

takes_input() { [ "$1" -eq "${INPUTS:-1}" ] || { [ "$1" -eq 0 ] && [[ $INPUT == '['* ]]; }; }

# begin_training ARGUMENT...: set METHOD, its OBJECTIVE, SEED, MODEL (its folder) and BASE (the one of cross entropy).
begin_training() {
    [ $# -eq 2 ] || fail "usage: bash train.sh METHOD SEED"
    METHOD=$1 SEED=$2
    check_seeds "$SEED"
    check_trial
    check_methods "$METHOD"
    set_up
    BASE=$RUNS/models/${PREFIX}cross-entropy-$SEED
    MODEL=$RUNS/models/$PREFIX$METHOD-$SEED${TRIAL:+-$TRIAL}
}

# check_methods METHOD...: those of METHODS, and every other name that objective_of has flags for.
check_methods() {
    local method
    for method in "$@"; do
        OBJECTIVE=() FORM=''
        objective_of "$method" || unknown METHOD "$method" "${FORM:+names of this kind are $FORM}" "${METHODS[@]}"
    done
}

# check_columns: DECODERS and SUBSET.
check_columns() {
    local decoder decoders=()
    split decoders "$DECODERS"
    [ ${#decoders[@]} -ge 1 ] || fail "DECODERS names no decoder"
    for decoder in "${decoders[@]}"; do
        decoder_flags "$decoder" > /dev/null || fail "unknown DECODER $decoder; known are: $FORM"
    done
    [[ $SUBSET =~ ^(train|valid|test)$ ]] || fail "SUBSET must be train, valid or test, got $SUBSET"
}

# TRIAL is part of a folder's name.
check_trial() { [[ ${TRIAL:-} =~ ^[A-Za-z0-9._-]*$ ]] || fail "TRIAL must be letters, digits, dots, - and _, got $TRIAL"; }

checkpoint_of() { echo checkpoint_best.pt; }

# control_of METHOD: the row that a row is compared with.
control_of() { if [[ " ${METHODS[*]} " == *' cross-entropy-continued '* ]]; then echo cross-entropy-continued; else echo cross-entropy; fi; }

# decoder_flags DECODER: the flags of a column; false where there is no such decoder.
decoder_flags() {
    FORM='greedy, beam, soft-beam'
    [[ $1 =~ ^(greedy|beam|soft-beam)$ ]] && echo "--decoder $1"
}

# evaluate_example METHOD SEED: score a model under each decoder, unless that is done.
evaluate_example() {
    [ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
    local name=$PREFIX$1${TRIAL:+-$TRIAL} model=$RUNS/models/$PREFIX$1-$2${TRIAL:+-$TRIAL} results decoder left=() each=()
    check_seeds "$2"
    check_trial
    check_methods "$1"
    check_columns
    results=$(results_folder)
    [ -e "$model/done" ] || fail "$model is not trained yet: bash train.sh $1 $2"
    set_up
    for decoder in $DECODERS; do
        if [ -e "$results/$name-$2-$decoder.json" ]; then continue; fi
        left+=("$decoder")
        # shellcheck disable=SC2207
        each+=(--each "$model/$SUBSET.$decoder" $(decoder_flags "$decoder"))
    done
    [ ${#left[@]} -ge 1 ] || return 0
    generate_each "$RUNS/bin" "${TASK_FLAGS[@]}" --path "$model/$(checkpoint_of "$1")" --gen-subset "$SUBSET" "${DECODE_FLAGS[@]}" "${each[@]}"
    keep_metric "$model" "$results" "$name" "$2" "${left[@]}"
}

results_folder() { if [ "$SUBSET" = test ]; then echo "$RUNS/results"; else echo "$RUNS/results-$SUBSET"; fi; }

# keep_metric MODEL RESULTS_DIR METHOD SEED DECODER...: score what fairseq-generate wrote with each decoder, and keep the scores.
keep_metric() {
    local model=$1 results=$2 method=$3 seed=$4 decoder out name score signature=$CONDITION texts=() scores=()
    shift 4
    for decoder in "$@"; do
        out=$model/$SUBSET.$decoder
        if [ "$METRIC" = bleu ]; then
            plain "$out" D > "$out.txt"
            bleu "$RUNS/text/raw.$SUBSET.$TGT" "$out.txt" "$results" "$method" "$decoder" "$seed" "$SUBSET"
        else
            plain "$out" H > "$out.txt"
            texts+=("$out.txt")
        fi
    done
    case $METRIC in
        bleu) return ;;
        chunk_f1) name='chunk F1' signature=$(version_of seqeval) ;;
        tag_accuracy | letter_errors) name='tag accuracy' signature=${CONDITION:-all words} ;;
        edit_distance) name='edit distance' ;;
    esac
    # Against the text, not what fairseq-generate takes for gold: there a label that training does not hold is unknown.
    out=$model/$SUBSET.scores
    python -m seqsearch_fairseq score --scoring "${METRIC/letter_errors/tag_accuracy}" --sys "${texts[@]}" \
        --ref "$RUNS/text/$SUBSET.$(target_of "${TASK_FLAGS[@]}")" > "$out" || fail "$method, seed $seed cannot be scored"
    split scores "$(grep -o "$name: [0-9.]*" "$out" | grep -o '[0-9.]*$')"
    [ ${#scores[@]} -eq $# ] || fail "there are not $# times a $name in $out"
    if [ "$METRIC" = letter_errors ]; then name='wrong letters'; fi
    for score in "${scores[@]}"; do
        if [ "$METRIC" = letter_errors ]; then score=$(python -c "print(round(100 - $score, 2))"); fi
        keep_score "$results" "$method" "$1" "$seed" "$SUBSET $name (%)" "$score" "$signature"
        shift
    done
}

target_of() {
    while [ "$1" != --target-lang ]; do shift; done
    echo "$2"
}

version_of() { python -c 'import sys; from importlib.metadata import version; print(sys.argv[1], version(sys.argv[1]))' "$1"; }

# run_example ARGUMENT...: prepare, train and evaluate all methods and seeds, whatever is not done yet; print the tables, and write
# them as Markdown and as a bar chart.
run_example() {
    local seed seeds=() method methods=()
    takes_input $# || fail "usage: bash run.sh $INPUT"
    [ -z "${TRIAL:-}" ] || fail "TRIAL is for train.sh and evaluate.sh, not for run.sh: set WORK for other settings"
    split seeds "$SEEDS"
    split methods "${ONLY:-${METHODS[*]}}"
    [ ${#methods[@]} -ge 1 ] || fail "ONLY names no method"
    check_seeds ${seeds[@]+"${seeds[@]}"}
    check_methods "${methods[@]}"
    check_columns
    bash "$HERE/prepare.sh" "$@"
    for seed in "${seeds[@]}"; do
        for method in "${methods[@]}"; do
            bash "$HERE/train.sh" "$method" "$seed"
            bash "$HERE/evaluate.sh" "$method" "$seed"
        done
    done
    table "$SEEDS" "${methods[@]}"
}

# split NAME WORDS: an array of the words.
split() { read -rd '' -a "$1" <<< "$2" || true; }

# table SEEDS METHOD...: these rows, of the results so far.
table() {
    local seeds=$1 logs=()
    shift
    set_up
    if [[ " $DECODERS " == *' soft-beam '* ]]; then logs=(--log-dir "$RUNS/models"); fi
    # shellcheck disable=SC2086
    python "$ROOT/scripts/results.py" table "$(results_folder)" --seeds $seeds --methods "${@/#/$PREFIX}" --decoders $DECODERS \
        ${logs[@]+"${logs[@]}"} --write "$RUNS/results-$SUBSET"
    differences "$seeds" "$@"
}

# differences SEEDS METHOD...: print and write what each of these rows is above its control, where the control is one of them and METRIC
# can be drawn again from sentences.
differences() {
    local seeds=$1 file=$RUNS/results-$SUBSET-differences.md gold control method rows
    shift
    case $METRIC in
        bleu) gold=$RUNS/text/raw.$SUBSET.$TGT ;;
        tag_accuracy | chunk_f1) gold=$RUNS/text/$SUBSET.$(target_of "${TASK_FLAGS[@]}") ;;
        word_error) gold=$RUNS/bin/$SUBSET.wrd ;;
        *) return 0 ;;
    esac
    : > "$file.tmp"
    for control in "$@"; do
        rows=()
        for method in "$@"; do
            if [ "$method" != "$control" ] && [ "$(control_of "$method")" = "$control" ]; then rows+=("$method"); fi
        done
        [ ${#rows[@]} -ge 1 ] || continue
        if [ -s "$file.tmp" ]; then echo >> "$file.tmp"; fi
        # shellcheck disable=SC2086
        python "$ROOT/scripts/differences.py" "$RUNS/models" --gold "$gold" --scoring "$METRIC" ${BLEU_FLAGS[@]+"${BLEU_FLAGS[@]}"} \
            --control "$PREFIX$control" --methods "${rows[@]/#/$PREFIX}" --decoders $DECODERS --seeds $seeds --subset "$SUBSET" \
            >> "$file.tmp" || fail "the differences to $control cannot be computed"
    done
    if [ -s "$file.tmp" ]; then
        mv "$file.tmp" "$file"
        echo
        cat "$file"
    else
        rm -f "$file.tmp" "$file"
    fi
}

# run_trials INPUT [TRIAL...]: of TRIALS, each a name, a method and what differs from train.sh, all or those named; each from the same
# checkpoint, scored on the validation set.
run_trials() {
    local trial name method settings rows=(cross-entropy) seed=1 names=()
    [ $# -ge 1 ] || fail "usage: bash trials.sh $INPUT [TRIAL...]"
    export SUBSET=valid
    for trial in "${TRIALS[@]}"; do
        read -r name method settings <<< "$trial"
        check_methods "$method"
        if [[ " ${names[*]-} " != *" $name "* ]]; then names+=("$name"); fi
    done
    for name in "${@:2}"; do
        [[ " ${names[*]} " == *" $name "* ]] || unknown TRIAL "$name" '' "${names[@]}"
    done
    check_columns
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

# OCR of handwritten words: sizes and folders. SMOKE=1 makes everything tiny. FOLD is the test set.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

INPUT='LETTERS, the file letter.data'
FOLD=${FOLD:-0}
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 40)
    UPDATES=4
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    UPDATES=${UPDATES:-1000}
fi
RUNS=$WORK/fold-$FOLD
export KL_SCALE=${KL_SCALE:-10} LLCAS_SCALE=${LLCAS_SCALE:-1}  # a wrong letter costs 1

# Rows of the table. All train from scratch for as many updates.
METHODS=(cross-entropy "${SEARNN[@]}")
objective_of() {
    case $1 in
        cross-entropy) OBJECTIVE=(--criterion cross_entropy) ;;
        searnn-*) searnn "$1" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost hamming ;;
        *) return 1 ;;
    esac
}
SEEDS=${SEEDS:-1 2}

TASK_FLAGS=(--task search_tagging --source-lang glyphs --target-lang letters)
DECODERS=${DECODERS:-greedy beam}
DECODE_FLAGS=(--batch-size 64 --beam 3)
METRIC=letter_errors CONDITION="fold $FOLD"

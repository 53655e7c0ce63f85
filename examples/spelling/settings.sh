# Spelling correction: sizes and folders. SMOKE=1 makes everything tiny. REPLACE is the probability that a character is replaced.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

INPUT='TEXT, a text file with a sentence a line'
REPLACE=${REPLACE:-0.5}
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 400)
    UPDATES=4
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    UPDATES=${UPDATES:-800}
fi
RUNS=$WORK/replace-$REPLACE
CELLS=${CELLS:-3}  # drawn of a sentence's 11, and the two around its end; 0 is all of them, at twice the time
export KL_SCALE=${KL_SCALE:-100} LLCAS_SCALE=${LLCAS_SCALE:-10}  # an edit costs 0.1

# Rows of the table. All train from scratch for as many updates.
METHODS=(cross-entropy "${SEARNN[@]}")
objective_of() {
    case $1 in
        cross-entropy) OBJECTIVE=(--criterion cross_entropy) ;;
        searnn-*) searnn "$1" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost edit --searnn-cells "$CELLS" ;;
        *) return 1 ;;
    esac
}
SEEDS=${SEEDS:-1 2 3}

TASK_FLAGS=(--task search_translation --source-lang noisy --target-lang clean)
DECODERS=${DECODERS:-greedy beam}
DECODE_FLAGS=(--batch-size 128 --beam 3 --max-len-a 1 --max-len-b 5)
METRIC=edit_distance CONDITION="of the gold length, REPLACE=$REPLACE"
checkpoint_of() { echo checkpoint_last.pt; }  # all after the same number of updates

# Chunking: sizes and folders. SMOKE=1 makes everything tiny; POS=0 leaves out the parts of speech.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

INPUT='DATA_DIR, a folder with {train,test}.txt'
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 100)
    EPOCHS=1
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    EPOCHS=${EPOCHS:-2}
fi
RUNS=$WORK
CELLS=${CELLS:-5}  # drawn of a sentence's 24 or so; 0 is all of them, at five times the time
export KL_SCALE=${KL_SCALE:-10} LLCAS_SCALE=${LLCAS_SCALE:-1}  # a wrong label costs 1

# Rows of the table. All train from scratch for as many epochs.
METHODS=(cross-entropy "${SEARNN[@]}")
objective_of() {
    case $1 in
        cross-entropy) OBJECTIVE=(--criterion cross_entropy) ;;
        searnn-*) searnn "$1" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost "${COST:-hamming}" --searnn-cells "$CELLS" ;;
        *) return 1 ;;
    esac
}
SEEDS=${SEEDS:-1 2}

TASK_FLAGS=(--task search_tagging --source-lang words --target-lang labels)
if [ "${POS:-1}" = 1 ]; then
    FACTORS=(pos)
    PREPARE_FLAGS+=(--factor pos=1)
    TASK_FLAGS+=(--tagging-factors pos)
fi
DECODERS=${DECODERS:-greedy beam}
DECODE_FLAGS=(--batch-size 64 --beam 3)
METRIC=chunk_f1

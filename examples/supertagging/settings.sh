# CCG supertagging: sizes and folders. SMOKE=1 makes everything tiny; HIDDEN=512 is the paper's size.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

INPUT='DATA_DIR, CCGbank or a folder with {train,dev,test}.tsv'
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 120)
    HIDDEN=32 EPOCHS=2 SEARCH_EPOCHS=1
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    HIDDEN=${HIDDEN:-256} EPOCHS=${EPOCHS:-14} SEARCH_EPOCHS=${SEARCH_EPOCHS:-2}
fi
RUNS=$WORK

# Rows of the table. The control is cross entropy continued for the same number of updates at the same learning rate.
METHODS=(cross-entropy cross-entropy-continued
    soft-beam-direct soft-beam-direct-annealed soft-beam-direct-successive soft-beam-direct-annealed-successive
    soft-beam-hinge soft-beam-hinge-annealed soft-beam-hinge-successive soft-beam-hinge-annealed-successive)
ANNEALED=(--soft-beam-alpha 1 --soft-beam-alpha-growth 30 --soft-beam-alpha-max 1000)
objective_of() {
    case $1 in
        cross-entropy | cross-entropy-continued) OBJECTIVE=(--criterion cross_entropy) ;;
        soft-beam-*) soft_beam "$1" ;;
        *) return 1 ;;
    esac
}
SEEDS=${SEEDS:-1 2}

TASK_FLAGS=(--task search_tagging --source-lang words --target-lang labels)
DECODERS=${DECODERS:-greedy beam soft-beam}
DECODE_FLAGS=(--batch-size 64 --beam 3 --soft-beam-decode-alpha "${DECODE_ALPHA:-10}")
METRIC=tag_accuracy

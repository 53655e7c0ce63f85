# Named entities: sizes and folders. SMOKE=1 makes everything tiny.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

INPUT='DATA_DIR, a folder with {train,dev,test}.conll, NER-de-{train,dev,test}.tsv or LANGUAGE.{train,testa,testb}'
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 120)
    EPOCHS=2 SEARCH_EPOCHS=2
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    EPOCHS=${EPOCHS:-20} SEARCH_EPOCHS=${SEARCH_EPOCHS:-3}
fi
RUNS=$WORK

# Rows of the table. The control is cross entropy continued for the same number of updates at the same learning rate.
METHODS=(cross-entropy cross-entropy-continued "${SCHEDULED_SAMPLING[@]}" soft-beam-direct soft-beam-hinge)
objective_of() {
    case $1 in
        cross-entropy | cross-entropy-continued) OBJECTIVE=(--criterion cross_entropy) ;;
        dss-*) scheduled_sampling "$1" ;;
        # Goyal et al. 2018: missing an entity is worse than finding one too many.
        soft-beam-*) soft_beam "$1" --soft-beam-label-cost 'O=2' ;;
        *) return 1 ;;
    esac
}
SEEDS=${SEEDS:-1 2 3}

TASK_FLAGS=(--task search_tagging --source-lang words --target-lang labels)
DECODERS=${DECODERS:-greedy beam}
DECODE_FLAGS=(--batch-size 64 --beam 3)
METRIC=chunk_f1

# All that go on from the checkpoint are compared after the same updates: their first epoch, with gold inputs, is one and the same,
# and the best by validation is often that one.
checkpoint_of() { if [ "$1" = cross-entropy ]; then echo checkpoint_best.pt; else echo checkpoint_last.pt; fi; }

# Streaming taggers: sizes and folders. DATASET is ccg, chunks or ner; LOOKAHEAD is how many words the tagger waits (0, 1, 2, ...,
# or all). SMOKE=1 makes everything tiny.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

DATASET=${DATASET:-ccg} LOOKAHEAD=${LOOKAHEAD:-0}
case $DATASET in
    ccg) INPUT='DATA_DIR, a folder with {train,dev,test}.tsv' METRIC=tag_accuracy VALID_METRIC=accuracy RISK_COST=hamming LR=${LR:-1e-3} ;;
    chunks) INPUT='DATA_DIR, a folder with {train,test}.txt' METRIC=chunk_f1 VALID_METRIC=chunk_f1 RISK_COST=chunk-f1 LR=${LR:-1e-3} ;;
    ner) INPUT='DATA_DIR, a folder with {dev,test}.conll' METRIC=chunk_f1 VALID_METRIC=chunk_f1 RISK_COST=chunk-f1 LR=${LR:-1e-3} ;;
    *) fail "DATASET must be ccg, chunks or ner, got $DATASET" ;;
esac
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 120)
    HIDDEN=32 EPOCHS=2 SEARCH_EPOCHS=1
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    HIDDEN=${HIDDEN:-128} EPOCHS=${EPOCHS:-16} SEARCH_EPOCHS=${SEARCH_EPOCHS:-4}
fi
RUNS=$WORK/$DATASET-lookahead-$LOOKAHEAD

# Rows of the table; all but the first go on from its best checkpoint, for the same number of updates at the same learning rate.
METHODS=(cross-entropy cross-entropy-continued
    soft-beam-direct soft-beam-direct-k1 soft-beam-direct-k6 soft-beam-direct-successive soft-beam-direct-annealed
    soft-beam-direct-logits soft-beam-direct-logits-annealed
    soft-beam-hinge soft-beam-hinge-annealed soft-beam-hinge-logits soft-beam-hinge-logits-annealed
    dss-argmax dss-sample dss-soft-argmax-fixed dss-soft-sample-fixed
    searnn-ll-mixed searnn-kl-mixed
    global-likelihood global-likelihood-full-sequence global-likelihood-every-step
    beam-search-optimization minimum-risk
    soft-beam-direct-then-global-likelihood dss-argmax-then-global-likelihood dss-soft-argmax-fixed-then-global-likelihood)
objective_of() {
    case $1 in
        cross-entropy-then-* | *-then-cross-entropy) return 1 ;;
        *-then-*) objective_of "${1%-then-*}" && objective_of "${1##*-then-}" ;;
        cross-entropy | cross-entropy-continued) OBJECTIVE=(--criterion cross_entropy) ;;
        soft-beam-direct*) soft_beam "$1" ;;
        soft-beam-hinge*) NLL_WEIGHT=$HINGE_NLL_WEIGHT soft_beam "$1" ;;
        dss-*) scheduled_sampling "$1" ;;
        searnn-*)
            searnn "$1" --searnn-roll-in "${ROLL_IN:-learned}" --searnn-cost hamming --searnn-cells "${CELLS:-5}" \
                --searnn-sampling policy --searnn-tokens 10
            ;;
        global-likelihood* | beam-search-optimization | minimum-risk)
            beam_training "$1" "$RISK_COST" --beam-training-size "${BEAM:-10}" --search-nll-weight "$NLL_WEIGHT"
            ;;
        *) return 1 ;;
    esac
}
ALPHA=${ALPHA:-1} HINGE_NLL_WEIGHT=${NLL_WEIGHT:-1} NLL_WEIGHT=${NLL_WEIGHT:-0}
SEEDS=${SEEDS:-1 2 3}

TASK_FLAGS=(--task search_tagging --source-lang words --target-lang labels)
DECODERS=${DECODERS:-greedy beam-3 beam-10 beam-3-logits beam-10-logits}
DECODE_FLAGS=(--batch-size 128)
CONDITION="lookahead $LOOKAHEAD"

decoder_flags() { named_decoder "$1"; }

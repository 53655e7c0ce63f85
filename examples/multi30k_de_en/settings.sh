# Multi30k: sizes and folders. SMOKE=1 makes everything tiny; ARCH=transformer takes the other model.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

SRC=de TGT=en
ARCH=${ARCH:-lstm}
INPUT="DATA_DIR, a folder with {train,val,test}.{$SRC,$TGT}"
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--vocab-size 300 --limit 150)
    EPOCHS=2 SEARCH_EPOCHS=1 DSS_EPOCHS=2 SEARNN_UPDATES=2
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=(--vocab-size 4000)
    EPOCHS=${EPOCHS:-14} SEARCH_EPOCHS=${SEARCH_EPOCHS:-1} DSS_EPOCHS=${DSS_EPOCHS:-2} SEARNN_UPDATES=${SEARNN_UPDATES:-1200}
fi
RUNS=$WORK PREFIX=$ARCH-

# Rows of the table, and their controls.
METHODS=(cross-entropy cross-entropy-continued soft-beam-direct beam-search-optimization minimum-risk
    dss-none "${SCHEDULED_SAMPLING[@]}" searnn-control searnn-kl-mixed)
objective_of() { translation_objective "$1"; }
control_of() { translation_control "$1"; }
checkpoint_of() { translation_checkpoint "$1"; }
SEEDS=${SEEDS:-1}

TASK_FLAGS=(--task search_translation --source-lang $SRC --target-lang $TGT)
DECODERS=${DECODERS:-greedy beam soft-beam}
DECODE_FLAGS=(--batch-size 64 --beam 3 --max-len-a 1.5 --max-len-b 10 --remove-bpe sentencepiece
    --soft-beam-decode-alpha "${DECODE_ALPHA:-10}")
METRIC=bleu

case $ARCH in
    lstm) MODEL_FLAGS=(--arch iwslt_goyal2017 --share-all-embeddings --dropout 0.3) ;;
    transformer) MODEL_FLAGS=(--arch transformer_iwslt_de_en --share-all-embeddings --dropout 0.3) ;;
    *) fail "ARCH must be lstm or transformer, got $ARCH" ;;
esac
if [ "$SMOKE" = 1 ] && [ "$ARCH" = transformer ]; then
    MODEL_FLAGS+=(--encoder-layers 2 --decoder-layers 2 --encoder-embed-dim 64 --decoder-embed-dim 64)
elif [ "$SMOKE" = 1 ]; then
    MODEL_FLAGS+=(--encoder-embed-dim 64 --encoder-hidden-size 64 --decoder-embed-dim 64 --decoder-hidden-size 64
        --decoder-out-embed-dim 64)
fi

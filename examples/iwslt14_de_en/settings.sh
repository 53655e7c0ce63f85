# Sizes and folders of this example. SMOKE=1 makes everything tiny; UNITS=pieces takes sentencepiece pieces for words.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

SRC=de TGT=en
UNITS=${UNITS:-words}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
MODEL_FLAGS=(--arch iwslt_goyal2017 --dropout 0.3)
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke-$UNITS}
    LIMIT_FLAGS=(--limit 150) WORD_FLAGS=(--source-words 400 --target-words 300) PIECES=300
    EPOCHS=2 WARMUP=10 SEARCH_EPOCHS=1 DSS_EPOCHS=2 SEARNN_UPDATES=2
    MODEL_FLAGS+=(--encoder-embed-dim 64 --encoder-hidden-size 64 --decoder-embed-dim 64 --decoder-hidden-size 64
        --decoder-out-embed-dim 64)
else
    WORK=${WORK:-$HERE/work-$UNITS}
    LIMIT_FLAGS=() WORD_FLAGS=() PIECES=${PIECES:-10000}
    EPOCHS=${EPOCHS:-20} WARMUP=${WARMUP:-1000}
    SEARCH_EPOCHS=${SEARCH_EPOCHS:-1} DSS_EPOCHS=${DSS_EPOCHS:-2} SEARNN_UPDATES=${SEARNN_UPDATES:-1000}
fi

# Rows of the table. train.sh also knows two more controls: dss-none, with as many epochs as the rows of scheduled sampling,
# and searnn-control, with as many updates as searnn-kl-mixed.
METHODS=(cross-entropy cross-entropy-continued soft-beam-direct dss-soft-argmax-annealed dss-soft-sample-annealed searnn-kl-mixed)

# Words have a vocabulary for each language, pieces one for both.
case $UNITS in
    words) PREPARE_FLAGS=("${WORD_FLAGS[@]}") PREPROCESS_FLAGS=() DECODE_FLAGS=() ;;
    pieces)
        PREPARE_FLAGS=(--bpe "$PIECES") PREPROCESS_FLAGS=(--joined-dictionary) DECODE_FLAGS=(--remove-bpe sentencepiece)
        MODEL_FLAGS+=(--share-all-embeddings)
        ;;
    *) fail "UNITS must be words or pieces, got $UNITS" ;;
esac
PREPARE_FLAGS+=("${LIMIT_FLAGS[@]}")

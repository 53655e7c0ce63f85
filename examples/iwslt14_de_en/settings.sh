# IWSLT'14: sizes and folders. SMOKE=1 makes everything tiny; UNITS=pieces takes sentencepiece pieces for words.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/example.sh"

SRC=de TGT=en
UNITS=${UNITS:-words}
INPUT="[ARCHIVE or DATA_DIR], de-en.tgz or a folder with its files or {train,valid,test}.{$SRC,$TGT}"
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
RUNS=$WORK

# Rows of the table, and their controls.
METHODS=(cross-entropy cross-entropy-continued soft-beam-direct beam-search-optimization minimum-risk
    dss-none dss-soft-argmax-annealed dss-soft-sample-annealed searnn-control searnn-kl-mixed)
objective_of() { translation_objective "$1"; }
control_of() { translation_control "$1"; }
checkpoint_of() { translation_checkpoint "$1"; }
SEEDS=${SEEDS:-1}

TASK_FLAGS=(--task search_translation --source-lang $SRC --target-lang $TGT)
DECODERS=${DECODERS:-greedy beam soft-beam}
DECODE_FLAGS=(--batch-size 64 --beam 3 --max-len-a 1.5 --max-len-b 10 --soft-beam-decode-alpha "${DECODE_ALPHA:-10}")
METRIC=bleu
BLEU_FLAGS=(--tokenize none)  # both sides are words already, and sacrebleu must not split them again

# Words have a vocabulary for each language, pieces one for both.
case $UNITS in
    words) PREPARE_FLAGS=("${WORD_FLAGS[@]}") PREPROCESS_FLAGS=() ;;
    pieces)
        PREPARE_FLAGS=(--bpe "$PIECES") PREPROCESS_FLAGS=(--joined-dictionary)
        DECODE_FLAGS+=(--remove-bpe sentencepiece)
        MODEL_FLAGS+=(--share-all-embeddings)
        ;;
    *) fail "UNITS must be words or pieces, got $UNITS" ;;
esac
PREPARE_FLAGS+=("${LIMIT_FLAGS[@]}")

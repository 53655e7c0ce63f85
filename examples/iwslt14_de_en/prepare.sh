#!/usr/bin/env bash
# bash prepare.sh [ARCHIVE or DATA_DIR]: IWSLT'14 -> tokenised words or pieces -> fairseq data in $RUNS/bin. Without an
# argument it downloads the archive. Plain files in DATA_DIR are taken as tokenised, unless TOKENIZED=0.
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
CORPUS_FLAGS=()
if [ $# -eq 1 ] && [ -d "$1" ]; then
    CORPUS_FLAGS=(--from-dir "$1")
    if [ "${TOKENIZED:-1}" = 1 ] && [ ! -e "$1/train.tags.de-en.de" ] && [ ! -e "$1/de-en/train.tags.de-en.de" ]; then
        CORPUS_FLAGS+=(--tokenized)
    fi
elif [ $# -eq 1 ]; then
    CORPUS_FLAGS=(--archive "$1")
fi
python "$ROOT/scripts/prepare_iwslt14.py" "$RUNS/text" --overwrite --workers 2 "${CORPUS_FLAGS[@]}" "${PREPARE_FLAGS[@]}"
preprocess "$RUNS/bin" "$RUNS/text" $SRC $TGT "${PREPROCESS_FLAGS[@]}"

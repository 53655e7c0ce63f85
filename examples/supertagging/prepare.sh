#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: {train,dev,test}.tsv (word, POS, supertag) -> parallel text -> fairseq data in $WORK/bin
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash prepare.sh DATA_DIR, a folder with {train,dev,test}.tsv"
if [ -e "$WORK/bin/done" ]; then say "$WORK/bin: done already"; exit 0; fi
mkdir -p "$WORK"
python "$ROOT/scripts/prepare_tagging.py" "$WORK/text" --overwrite "${PREPARE_FLAGS[@]}" --word-column 0 --label-column -1 \
    --train "$1/train.tsv" --valid "$1/dev.tsv" --test "$1/test.tsv"
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$WORK/bin" "$WORK/text" words labels --thresholdsrc 2

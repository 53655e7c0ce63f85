#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: {train,dev,test}.conll (word first, label last) -> parallel text -> fairseq data in $WORK/bin.
# Without train.conll, every tenth sentence of dev.conll is for validation and the others are for training.
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash prepare.sh DATA_DIR, a folder with {train,dev,test}.conll, or dev.conll and test.conll"
if [ -e "$WORK/bin/done" ]; then say "$WORK/bin: done already"; exit 0; fi
mkdir -p "$WORK"
SPLITS=(--train "$1/dev.conll" --valid-every 10)
if [ -e "$1/train.conll" ]; then SPLITS=(--train "$1/train.conll" --valid "$1/dev.conll"); fi
python "$ROOT/scripts/prepare_tagging.py" "$WORK/text" --overwrite "${PREPARE_FLAGS[@]}" "${SPLITS[@]}" --test "$1/test.conll" \
    --word-column 0 --label-column -1
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$WORK/bin" "$WORK/text" words labels --thresholdsrc 2

#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: {train,test}.txt (word, part of speech, chunk) -> parallel text -> fairseq data in $WORK/bin.
# Every tenth training sentence is for validation.
. "$(dirname "$0")/settings.sh"

[ $# -eq 1 ] || fail "usage: bash prepare.sh DATA_DIR, a folder with {train,test}.txt"
if [ -e "$WORK/bin/done" ]; then say "$WORK/bin: done already"; exit 0; fi
mkdir -p "$WORK"
python "$ROOT/scripts/prepare_tagging.py" "$WORK/text" --overwrite "${PREPARE_FLAGS[@]}" --train "$1/train.txt" --valid-every 10 \
    --test "$1/test.txt" --word-column 0 --label-column -1 --lowercase
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$WORK/bin" "$WORK/text" words labels --thresholdsrc 2

#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: {train,test}.txt (word, part of speech, chunk) -> parallel text -> fairseq data in $RUNS/bin.
# Every tenth training sentence is for validation.
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
python "$ROOT/scripts/prepare_tagging.py" "$RUNS/text" --overwrite "${PREPARE_FLAGS[@]}" --train "$1/train.txt" --valid-every 10 \
    --test "$1/test.txt" --lowercase
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$RUNS/bin" "$RUNS/text" words labels --thresholdsrc 2

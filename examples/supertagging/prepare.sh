#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: a corpus of supertags -> parallel text -> fairseq data in $RUNS/bin. DATA_DIR holds
# {train,dev,test}.tsv (word, part of speech, supertag), or is CCGbank: .auto files in folders 00 to 24, of which
# 02-21 are for training, 00 for validation and 23 for the test.
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
if [ -e "$1/train.tsv" ]; then
    CORPUS=(--train "$1/train.tsv" --valid "$1/dev.tsv" --test "$1/test.tsv")
else
    CORPUS=(--ccgbank "$1")
fi
python "$ROOT/scripts/prepare_tagging.py" "$RUNS/text" --overwrite "${PREPARE_FLAGS[@]}" "${CORPUS[@]}"
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$RUNS/bin" "$RUNS/text" words labels --thresholdsrc 2

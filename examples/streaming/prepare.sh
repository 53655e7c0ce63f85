#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: a corpus of tagged words -> parallel text -> fairseq data in $RUNS/bin. DATA_DIR holds
#
#   DATASET=ccg      {train,dev,test}.tsv: word, part of speech, supertag
#   DATASET=chunks   {train,test}.txt of CoNLL-2000; every tenth training sentence is for validation
#   DATASET=ner      {dev,test}.conll: word first, label last; every tenth sentence of dev.conll is for validation, the others are for
#                    training
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
case $DATASET in
    ccg) CORPUS=(--train "$1/train.tsv" --valid "$1/dev.tsv" --test "$1/test.tsv") ;;
    chunks) CORPUS=(--train "$1/train.txt" --test "$1/test.txt" --lowercase --digits) ;;
    ner) CORPUS=(--train "$1/dev.conll" --test "$1/test.conll") ;;
esac
python "$ROOT/scripts/prepare_tagging.py" "$RUNS/text" --overwrite "${PREPARE_FLAGS[@]}" "${CORPUS[@]}"
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$RUNS/bin" "$RUNS/text" words labels --thresholdsrc 2

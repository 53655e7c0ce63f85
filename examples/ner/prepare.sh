#!/usr/bin/env bash
# bash prepare.sh DATA_DIR: a corpus as it is published -> parallel text -> fairseq data in $RUNS/bin. DATA_DIR holds
#
#   NER-de-{train,dev,test}.tsv     GermEval 2014, its outer labels (LAYOUT=germeval2014-inner: the inner ones)
#   eng.{train,testa,testb}         CoNLL-2003 or 2002, in UTF-8 or ISO 8859-1: eng, deu, esp or ned; CONLL=eng says which if there are several
#   {train,dev,test}.conll          word first, label last; without train.conll, every tenth sentence of dev.conll is for
#                                   validation and the others are for training
. "$(dirname "$0")/settings.sh"

begin_preparation "$@"
FOUND=("$1"/${CONLL:-*}.testa)
if [ -e "$1/NER-de-train.tsv" ]; then
    CORPUS=(--layout "${LAYOUT:-germeval2014}" --train "$1/NER-de-train.tsv" --valid "$1/NER-de-dev.tsv" --test "$1/NER-de-test.tsv")
elif [ -e "${FOUND[0]}" ]; then
    [ ${#FOUND[@]} -eq 1 ] || fail "$1 holds several languages: choose one with CONLL=eng, deu, esp or ned"
    NAME=${FOUND[0]%.testa}
    CORPUS=(--scheme iob2 --train "$NAME.train" --valid "$NAME.testa" --test "$NAME.testb")
elif [ -e "$1/train.conll" ]; then
    CORPUS=(--train "$1/train.conll" --valid "$1/dev.conll" --test "$1/test.conll")
else
    CORPUS=(--train "$1/dev.conll" --valid-every 10 --test "$1/test.conll")
fi
python "$ROOT/scripts/prepare_tagging.py" "$RUNS/text" --overwrite "${PREPARE_FLAGS[@]}" "${CORPUS[@]}"
# Words seen once become <unk>, so that the tagger learns what to do with a new word.
preprocess "$RUNS/bin" "$RUNS/text" words labels --thresholdsrc 2

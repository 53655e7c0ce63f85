#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test BLEU (sacrebleu, on the untouched references) under greedy, beam and soft-beam search.
# SUBSET=valid: on the validation set, to choose settings by.
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1 SEED=$2
NAME=$ARCH-$METHOD${TRIAL:+-$TRIAL}
MODEL=$WORK/models/$ARCH-$METHOD-$SEED${TRIAL:+-$TRIAL}
SUBSET=${SUBSET:-test}
case $SUBSET in
    test) RESULTS=$WORK/results ;;
    *) RESULTS=$WORK/results-$SUBSET ;;
esac
[ -e "$MODEL/done" ] || fail "$MODEL is not trained yet: bash train.sh $METHOD $SEED"

CHECKPOINT=checkpoint_best.pt
case $METHOD in
    dss-*) CHECKPOINT=checkpoint_last.pt ;;  # the best by validation loss would be that of the epoch with gold inputs
    searnn-*) CHECKPOINT=checkpoint_last.pt ;;  # less than an epoch: there is one
esac

for decoder in greedy beam soft-beam; do
    if [ -e "$RESULTS/$NAME-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/$SUBSET.$decoder
    generate "$out" "$WORK/bin" --task search_translation --source-lang $SRC --target-lang $TGT --path "$MODEL/$CHECKPOINT" \
        --gen-subset "$SUBSET" --batch-size 64 --beam 3 --max-len-a 1.5 --max-len-b 10 --remove-bpe sentencepiece \
        --decoder $decoder --soft-beam-decode-alpha "${DECODE_ALPHA:-10}"
    plain "$out" D > "$out.txt"
    bleu "$WORK/text/raw.$SUBSET.$TGT" "$out.txt" "$RESULTS" "$NAME" "$decoder" "$SEED" "$SUBSET"
done

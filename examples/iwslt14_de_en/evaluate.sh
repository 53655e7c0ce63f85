#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test BLEU under greedy, beam and soft-beam search, on the tokenised, lower-cased words of the
# references, as the papers have it. SUBSET=valid: on the validation set, to choose settings by.
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1 SEED=$2
MODEL=$WORK/models/$METHOD-$SEED
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

# What bleu calls: both sides are words already, and sacrebleu must not split them again.
sacrebleu() { command sacrebleu "$@" --tokenize none; }

for decoder in greedy beam soft-beam; do
    if [ -e "$RESULTS/$METHOD-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/$SUBSET.$decoder
    generate "$out" "$WORK/bin" --task search_translation --source-lang $SRC --target-lang $TGT --path "$MODEL/$CHECKPOINT" \
        --gen-subset "$SUBSET" --batch-size 64 --beam 3 --max-len-a 1.5 --max-len-b 10 "${DECODE_FLAGS[@]}" \
        --decoder $decoder --soft-beam-decode-alpha "${DECODE_ALPHA:-10}"
    plain "$out" D > "$out.txt"
    bleu "$WORK/text/raw.$SUBSET.$TGT" "$out.txt" "$RESULTS" "$METHOD" "$decoder" "$SEED" "$SUBSET"
done

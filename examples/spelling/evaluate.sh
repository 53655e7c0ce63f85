#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: edit distance under greedy and beam search. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1${TRIAL:+-$TRIAL} SEED=$2
MODEL=$NOISE/models/$1-$SEED${TRIAL:+-$TRIAL}
SUBSET=${SUBSET:-test}
case $SUBSET in
    test) RESULTS=$NOISE/results ;;
    *) RESULTS=$NOISE/results-$SUBSET ;;
esac
[ -e "$MODEL/done" ] || fail "$MODEL is not trained yet: bash train.sh $1 $SEED"

for decoder in greedy beam; do
    if [ -e "$RESULTS/$METHOD-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/$SUBSET.$decoder
    generate "$out" "$NOISE/bin" --task search_translation --source-lang noisy --target-lang clean \
        --path "$MODEL/checkpoint_last.pt" --gen-subset "$SUBSET" --batch-size 128 --beam 3 --max-len-a 1 --max-len-b 5 \
        --scoring edit_distance --decoder $decoder
    score=$(grep -o 'edit distance: [0-9.]*' "$out" | grep -o '[0-9.]*$')
    keep_score "$RESULTS" "$METHOD" "$decoder" "$SEED" "$SUBSET edit distance (%)" "$score" "of the gold length, REPLACE=$REPLACE"
done

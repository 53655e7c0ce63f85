#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: share of wrong letters under greedy and beam search. SUBSET=valid: on the validation set.
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1${TRIAL:+-$TRIAL} SEED=$2
MODEL=$RUNS/models/$1-$SEED${TRIAL:+-$TRIAL}
SUBSET=${SUBSET:-test}
case $SUBSET in
    test) RESULTS=$RUNS/results ;;
    *) RESULTS=$RUNS/results-$SUBSET ;;
esac
[ -e "$MODEL/done" ] || fail "$MODEL is not trained yet: bash train.sh $1 $SEED"

for decoder in greedy beam; do
    if [ -e "$RESULTS/$METHOD-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/$SUBSET.$decoder
    generate "$out" "$RUNS/bin" --task search_tagging --source-lang glyphs --target-lang letters \
        --path "$MODEL/checkpoint_best.pt" --gen-subset "$SUBSET" --batch-size 64 --beam 3 --scoring tag_accuracy --decoder $decoder
    score=$(grep -o 'tag accuracy: [0-9.]*' "$out" | grep -o '[0-9.]*$')
    keep_score "$RESULTS" "$METHOD" "$decoder" "$SEED" "$SUBSET wrong letters (%)" "$(python -c "print(round(100 - $score, 2))")" "fold $FOLD"
done

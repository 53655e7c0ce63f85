#!/usr/bin/env bash
# bash evaluate.sh METHOD SEED: test BLEU (sacrebleu, on the untouched references) under greedy, beam and soft-beam search
. "$(dirname "$0")/settings.sh"

[ $# -eq 2 ] || fail "usage: bash evaluate.sh METHOD SEED"
METHOD=$1 SEED=$2
NAME=$ARCH-$METHOD
MODEL=$WORK/models/$NAME-$SEED
[ -e "$MODEL/done" ] || fail "$MODEL is not trained yet: bash train.sh $METHOD $SEED"

for decoder in greedy beam soft-beam; do
    if [ -e "$WORK/results/$NAME-$SEED-$decoder.json" ]; then continue; fi
    out=$MODEL/test.$decoder
    generate "$out" "$WORK/bin" --task search_translation --source-lang $SRC --target-lang $TGT --path "$MODEL/checkpoint_best.pt" \
        --gen-subset test --batch-size 64 --beam 3 --max-len-a 1.5 --max-len-b 10 --remove-bpe sentencepiece \
        --decoder $decoder --soft-beam-decode-alpha "${DECODE_ALPHA:-10}"
    plain "$out" D > "$out.txt"
    bleu "$WORK/text/raw.test.$TGT" "$out.txt" "$WORK/results" "$NAME" "$decoder" "$SEED"
done

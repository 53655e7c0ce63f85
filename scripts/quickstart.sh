#!/usr/bin/env bash
# The main job in a few minutes: train with cross entropy, fine-tune through the relaxed beam, decode in three ways.
# The corpus is generated. Running it again resumes; remove the folder quickstart/ to begin anew.
. "$(dirname "$0")/lib.sh"

WORK=${WORK:-$ROOT/quickstart}
SEED=1
mkdir -p "$WORK"

if [ ! -e "$WORK/text/test.en" ]; then
    say "generating a German-English corpus"
    python "$ROOT/scripts/quickstart_corpus.py" "$WORK/text"
fi
preprocess "$WORK/bin" "$WORK/text" de en

DATA_FLAGS=("$WORK/bin" --task search_translation --num-workers 0 --seed $SEED --max-tokens 1000)
MODEL_FLAGS=(--arch iwslt_goyal2017 --encoder-embed-dim 64 --encoder-hidden-size 64 --decoder-embed-dim 64
    --decoder-hidden-size 64 --decoder-out-embed-dim 64 --dropout 0.1)
OPTIMIZER_FLAGS=(--optimizer adam --clip-norm 1.0)
CONTINUE_FLAGS=(--finetune-from-model "$WORK/models/cross-entropy-$SEED/checkpoint_best.pt" --lr 5e-4 --max-epoch 3)

train "$WORK/models/cross-entropy-$SEED" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" \
    --criterion cross_entropy --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 200 --max-epoch 18

# Both go on from the same checkpoint, at the same time, for the same number of updates.
train "$WORK/models/cross-entropy-continued-$SEED" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" \
    "${CONTINUE_FLAGS[@]}" --criterion cross_entropy &
CONTINUED=$!
train "$WORK/models/soft-beam-direct-$SEED" "${DATA_FLAGS[@]}" "${MODEL_FLAGS[@]}" "${OPTIMIZER_FLAGS[@]}" \
    "${CONTINUE_FLAGS[@]}" --criterion soft_beam_direct --soft-beam-size 3 \
    --soft-beam-alpha 1 --search-nll-weight 5
wait $CONTINUED

METHODS=(cross-entropy cross-entropy-continued soft-beam-direct)
for method in "${METHODS[@]}"; do
    for decoder in greedy beam soft-beam; do
        if [ -e "$WORK/results/$method-$SEED-$decoder.json" ]; then continue; fi
        out=$WORK/models/$method-$SEED/test.$decoder
        generate "$out" "$WORK/bin" --task search_translation --path "$WORK/models/$method-$SEED/checkpoint_best.pt" \
            --batch-size 64 --beam 3 --max-len-a 1.5 --max-len-b 10 --decoder $decoder --soft-beam-decode-alpha 100
        plain "$out" D > "$out.txt"
        bleu "$WORK/text/test.en" "$out.txt" "$WORK/results" "$method" "$decoder" $SEED test
    done
done
echo
python "$ROOT/scripts/results.py" table "$WORK/results" --methods "${METHODS[@]}" --log-dir "$WORK/models"

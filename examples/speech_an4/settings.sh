# Speech of AN4: sizes and folders. SMOKE=1 makes everything tiny. UNITS is letters or phones; QUARTER=1 trains on every fourth utterance.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/recognition.sh"

INPUT='AN4, a folder with etc/ and feat/'
UNITS=${UNITS:-letters} QUARTER=${QUARTER:-0}
[[ $UNITS =~ ^(letters|phones)$ ]] || fail "UNITS must be letters or phones, got $UNITS"
[[ $QUARTER == [01] ]] || fail "QUARTER must be 0 or 1, got $QUARTER"
GRID=(--lm-weights "${LM_WEIGHTS:-0.5,1,1.5,2,3}" --word-scores="${WORD_SCORES:-0,1,2,3,4}" --silence-scores="${SILENCE_SCORES:-0}")
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 30)
    UPDATES=4 MORE=2
    RNN_FLAGS=(--epochs 1 --hidden-size 8)
    GRID+=(--trials 2)
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    RNN_FLAGS=()
    if [ "$QUARTER" = 1 ]; then UPDATES=${UPDATES:-1400}; else UPDATES=${UPDATES:-2120}; fi  # 100 passes, 40 passes
    if [ "$QUARTER" = 1 ]; then MORE=${MORE:-140}; else MORE=${MORE:-159}; fi                # 10 passes, 3 passes
fi
RUNS=$WORK/$UNITS$(if [ "$QUARTER" = 1 ]; then echo -quarter; fi)

# Rows of the table: without a lexicon; the same for as many more updates as the rows below; through the beam search decoder.
METHODS=(ctc ctc-continued dbd-fixed dbd-learned dbd-learned-lm asg asg-continued asg-dbd-fixed asg-dbd-learned asg-dbd-learned-lm)
SEEDS=${SEEDS:-1 2 3}
DECODERS=${DECODERS:-greedy beam-50 grid-5 grid-10 grid-50}
MODEL_FLAGS=(--arch recognizer_lstm --dropout 0.3)
FRAME_FLAGS=()
use_words

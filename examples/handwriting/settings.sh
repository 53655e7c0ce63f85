# Lines of handwriting with a big lexicon: sizes and folders. SMOKE=1 makes everything tiny.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/recognition.sh"

INPUT='LETTERS TEXT, the file letter.data and a text with a sentence a line'
INPUTS=2
LEXICON=${LEXICON:-10000} NOISE=${NOISE:-0.05}
GRID=(--lm-weights "${LM_WEIGHTS:-0.5,1,2,3}" --word-scores="${WORD_SCORES:-0,2,4}" --silence-scores="${SILENCE_SCORES:-0}")
PREPARE_FLAGS=(--lexicon-size "$LEXICON" --noise "$NOISE")
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS+=(--train-lines 30 --valid-lines 8 --test-lines 8)
    UPDATES=4 MORE=2
    RNN_FLAGS=(--epochs 1 --hidden-size 8)
    GRID+=(--trials 2)
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS+=(--train-lines "${TRAIN_LINES:-2000}" --valid-lines 200 --test-lines 400)
    RNN_FLAGS=()
    UPDATES=${UPDATES:-2000}  # 16 passes over 2,000 lines
    MORE=${MORE:-250}        # 2 passes
fi
RUNS=$WORK

# Rows of the table: without a lexicon; the same for as many more updates as the rows below; through the beam search decoder.
METHODS=(ctc ctc-continued dbd-fixed dbd-learned dbd-learned-k10 dbd-learned-k5)
SEEDS=${SEEDS:-1 2}
DECODERS=${DECODERS:-greedy beam-5 beam-10 beam-50 grid-5 grid-10 grid-50}
# One position of the convolution sees a glyph, whose columns of pixels need no slopes.
MODEL_FLAGS=(--arch recognizer_lstm --encoder-kernel 9 --encoder-subsampling 4 --dropout 0.2)
FRAME_FLAGS=(--recognition-deltas 0)
BASE_LR=2e-3
use_words

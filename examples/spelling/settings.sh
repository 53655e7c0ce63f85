# Sizes and folders of this example. SMOKE=1 makes everything tiny. REPLACE is the probability that a character is replaced.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPLACE=${REPLACE:-0.5}
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 400)
    UPDATES=4
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    UPDATES=${UPDATES:-800}
fi
CELLS=${CELLS:-3}  # drawn of a sentence's 11, and the two around its end; 0 is all of them, at twice the time
export KL_SCALE=${KL_SCALE:-100} LLCAS_SCALE=${LLCAS_SCALE:-10}  # an edit costs 0.1
NOISE=$WORK/replace-$REPLACE

# Rows of the table. All train from scratch for as many updates; mle is cross entropy.
METHODS=(mle "${SEARNN[@]}")

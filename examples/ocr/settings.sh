# Sizes and folders of this example. SMOKE=1 makes everything tiny. FOLD is the test set.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
FOLD=${FOLD:-0}
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 40)
    UPDATES=4
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    UPDATES=${UPDATES:-1000}
fi
export KL_SCALE=${KL_SCALE:-10} LLCAS_SCALE=${LLCAS_SCALE:-1}  # a wrong letter costs 1
RUNS=$WORK/fold-$FOLD

# Rows of the table. All train from scratch for as many updates; mle is cross entropy.
METHODS=(mle "${SEARNN[@]}")

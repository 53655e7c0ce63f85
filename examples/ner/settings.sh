# Sizes and folders of this example. SMOKE=1 makes everything tiny.
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ "$SMOKE" = 1 ]; then
    WORK=${WORK:-$HERE/work-smoke}
    PREPARE_FLAGS=(--limit 120)
    EPOCHS=2 SEARCH_EPOCHS=2
else
    WORK=${WORK:-$HERE/work}
    PREPARE_FLAGS=()
    EPOCHS=${EPOCHS:-20} SEARCH_EPOCHS=${SEARCH_EPOCHS:-3}
fi

# Rows of the table. The control is cross entropy continued for the same number of updates at the same learning rate.
METHODS=(cross-entropy cross-entropy-continued "${SCHEDULED_SAMPLING[@]}")

#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of scheduled sampling, from the same checkpoint, scored on the validation set
# (chunk F1). Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

[ $# -ge 1 ] || fail "usage: bash trials.sh DATA_DIR [TRIAL...]"
SEED=1
export SUBSET=valid
# name, method, and what differs from train.sh
TRIALS=(
    "lr-1e-3 cross-entropy-continued SEARCH_LR=1e-3"
    "lr-3e-4 cross-entropy-continued SEARCH_LR=3e-4"
    "lr-1e-3 dss-soft-argmax-fixed SEARCH_LR=1e-3"
    "lr-3e-4 dss-soft-argmax-fixed SEARCH_LR=3e-4"
    "alpha-10 dss-soft-argmax-fixed DSS_ALPHA=10"
    "growth-2 dss-soft-argmax-annealed DSS_GROWTH=2"
    "growth-5 dss-soft-argmax-annealed DSS_GROWTH=5"
)

bash "$HERE/prepare.sh" "$1"
bash "$HERE/train.sh" cross-entropy $SEED
bash "$HERE/evaluate.sh" cross-entropy $SEED
rows=(cross-entropy)
for trial in "${TRIALS[@]}"; do
    read -r name method settings <<< "$trial"
    if [ $# -gt 1 ] && [[ " ${*:2} " != *" $name "* ]]; then continue; fi
    # shellcheck disable=SC2086
    env TRIAL="$name" $settings bash "$HERE/train.sh" "$method" $SEED
    TRIAL=$name bash "$HERE/evaluate.sh" "$method" $SEED
    rows+=("$method-$name")
done
python "$ROOT/scripts/results.py" table "$WORK/results-valid" --methods "${rows[@]}" --decoders greedy beam

#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of scheduled sampling, from the same checkpoint, scored on the validation set
# (chunk F1). Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

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
run_trials "$@"

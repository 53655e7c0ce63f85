#!/usr/bin/env bash
# bash trials.sh DATA_DIR [TRIAL...]: the settings of the search-aware methods, from the same checkpoint, scored on the validation set.
# Running it again resumes. Without TRIAL, all of them.
. "$(dirname "$0")/settings.sh"

# name, method, and what differs from train.sh
TRIALS=(
    "control cross-entropy-continued"
    "direct soft-beam-direct"
    "direct-lr-1e-3 soft-beam-direct SEARCH_LR=1e-3"
    "direct-lr-2e-4 soft-beam-direct SEARCH_LR=2e-4"
    "direct-nll-0.5 soft-beam-direct NLL_WEIGHT=0.5"
    "direct-alpha-3 soft-beam-direct ALPHA=3"
    "hinge-logits soft-beam-hinge-logits NLL_WEIGHT=0"
    "hinge-logits-nll-1 soft-beam-hinge-logits NLL_WEIGHT=1"
    "hinge-logits-alpha-10-nll-1 soft-beam-hinge-logits NLL_WEIGHT=1 ALPHA=10"
    "argmax dss-argmax"
    "argmax-always dss-argmax DSS_DECAY=always"
    "soft-argmax dss-soft-argmax-fixed"
    "searnn-kl searnn-kl-mixed"
    "searnn-kl-reference searnn-kl-mixed ROLL_IN=reference"
    "global global-likelihood"
    "global-lr-1e-3 global-likelihood SEARCH_LR=1e-3"
    "bso beam-search-optimization"
    "risk minimum-risk"
    "risk-nll-1 minimum-risk NLL_WEIGHT=1"
)
run_trials "$@"

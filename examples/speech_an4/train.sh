#!/usr/bin/env bash
# bash train.sh METHOD SEED. METHOD: ctc, dbd-learned or another one that run.sh lists. All but ctc and asg begin from one of these two.
. "$(dirname "$0")/settings.sh"

train_recognizer "$@"

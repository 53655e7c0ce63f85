#!/usr/bin/env bash
# bash run.sh DATA_DIR: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: minutes instead of hours. HIDDEN=512: the paper's size. SEEDS="1 2 3": more seeds.
. "$(dirname "$0")/settings.sh"

run_example "$@"

#!/usr/bin/env bash
# bash run.sh DATA_DIR: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: a minute instead of hours. SEEDS="1 2": other seeds. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

run_example "$@"

#!/usr/bin/env bash
# bash run.sh [ARCHIVE or DATA_DIR]: prepare, train and evaluate all methods, print the table. Running it again resumes.
# SMOKE=1: minutes instead of hours. UNITS=pieces: pieces for words. SEEDS="1 2": more seeds. ONLY="...": some of the methods.
. "$(dirname "$0")/settings.sh"

run_example "$@"

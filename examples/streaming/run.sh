#!/usr/bin/env bash
# bash run.sh DATA_DIR: prepare, train and evaluate all methods, print the table. Running it again resumes.
# DATASET=chunks or ner: another corpus. LOOKAHEAD=1, 2 or all: the tagger waits. SMOKE=1: minutes instead of hours.
. "$(dirname "$0")/settings.sh"

run_example "$@"

# What the quickstart and the examples share; source it. Sets ROOT, PLUGIN, SMOKE, DEVICE_FLAGS; puts .venv on the PATH.
set -euo pipefail
shopt -s extglob

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PLUGIN="$ROOT/seqsearch_fairseq"
SMOKE=${SMOKE:-0}
bash "$ROOT/scripts/env.sh"
export PATH="$ROOT/.venv/bin:$PATH"
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# Everything runs on the CPU unless there is a GPU that torch can use.
DEVICE_FLAGS=(--cpu)
if command -v nvidia-smi > /dev/null && python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    DEVICE_FLAGS=()
fi

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# preprocess BIN TEXT_DIR SOURCE TARGET FLAG...: fairseq-preprocess of TEXT_DIR/{train,valid,test}.* into BIN, once. FACTORS are of the
# source, each with files of its name in TEXT_DIR.
FACTORS=()
preprocess() {
    local bin=$1 text=$2 source=$3 target=$4 factor
    shift 4
    if [ -e "$bin/done" ]; then return; fi
    say "preprocessing $text"
    rm -rf "$bin" "$bin.log"
    binarize "$bin" "$text" "$source" "$target" "$@"
    for factor in ${FACTORS[@]+"${FACTORS[@]}"}; do binarize "$bin" "$text" "$factor" "$target" --only-source; done
    touch "$bin/done"
}

binarize() {
    local bin=$1 text=$2 source=$3 target=$4
    shift 4
    if ! fairseq-preprocess --source-lang "$source" --target-lang "$target" --destdir "$bin" --workers 2 \
        --trainpref "$text/train" --validpref "$text/valid" --testpref "$text/test" "$@" >> "$bin.log" 2>&1; then
        tail -n 5 "$bin.log" >&2
        fail "fairseq-preprocess failed; the whole log is $bin.log"
    fi
}

# same_settings FILE SETTING...: keep what something was made with, and fail if it was made with anything else before.
same_settings() {
    local file=$1 known
    shift
    if [ ! -e "$file" ]; then
        printf '%s\n' "$@" > "$file.tmp"
        mv "$file.tmp" "$file"
        return
    fi
    known=$(< "$file")
    if [ "$known" != "$(printf '%s\n' "$@")" ]; then
        diff "$file" <(printf '%s\n' "$@") >&2 || true
        fail "$(dirname "$file") was made with other settings (above, < before and > now): set WORK, or remove it"
    fi
}

# train DIR FLAG...: fairseq-train into DIR. Resumes what was cut off, skips what is done, prints a line an epoch.
train() {
    local dir=$1
    shift
    mkdir -p "$dir"
    if [ ! -e "$dir/checkpoint_last.pt" ]; then rm -f "$dir/settings"; fi  # nothing was trained yet
    same_settings "$dir/settings" "$@"
    if [ -e "$dir/done" ]; then
        say "$(basename "$dir"): trained already"
        return
    fi
    say "$(basename "$dir"): training, log in $dir/train.log"
    if ! fairseq-train --user-dir "$PLUGIN" "${DEVICE_FLAGS[@]}" --save-dir "$dir" --no-progress-bar \
        --log-interval 100 --no-epoch-checkpoints "$@" 2>&1 | tee -a "$dir/train.log" | epochs "$(basename "$dir")"; then
        tail -n 5 "$dir/train.log" | cut -c 1-500 >&2
        fail "fairseq-train failed; the whole log is $dir/train.log"
    fi
    touch "$dir/done"
}

# epochs NAME: of fairseq-train's log on standard input, what each validation says, in short, as soon as it says it.
epochs() {
    local line part parts said
    while IFS= read -r line; do
        if [[ $line != *'valid on'* ]]; then continue; fi
        IFS='|' read -ra parts <<< "$line"
        said=
        for part in "${parts[@]}"; do
            case $part in
                ' epoch '* | ' loss '* | ' nll_loss '* | ' ppl '* | ' bleu '* | ' accuracy_'* | ' alpha '* | ' hard_beam_cost '* | \
                    ' chunk_f1_'* | ' edit_distance '* | ' greedy_cost '* | \
                    ' beam_distance '* | ' exposure_bias '*) said+=" ${part% }" ;;
            esac
        done
        printf '          %s:%s\n' "$1" "$said"
    done
}

# generate OUT FLAG...: fairseq-generate into the file OUT, whole or not at all.
generate() {
    local out=$1
    shift
    mkdir -p "$(dirname "$out")"
    if ! fairseq-generate --user-dir "$PLUGIN" "${DEVICE_FLAGS[@]}" "$@" > "$out.tmp" 2> "$out.log"; then
        tail -n 5 "$out.log" | cut -c 1-500 >&2
        fail "fairseq-generate failed; the whole log is $out.log"
    fi
    mv "$out.tmp" "$out"
}

# plain OUT KIND: the lines of one kind (D, H, T, ...) of fairseq-generate's output, in the data's order, text only.
plain() { { grep "^$2-" "$1" || true; } | LC_ALL=C sort -t- -k2n | awk -F'\t' '{print $NF}'; }

# bleu REFERENCE HYPOTHESES RESULTS_DIR METHOD DECODER SEED SUBSET: score with sacrebleu (and BLEU_FLAGS), and keep the score.
BLEU_FLAGS=()
bleu() {
    local json score signature
    json=$(sacrebleu "$1" -i "$2" -m bleu -w 2 --format json --force ${BLEU_FLAGS[@]+"${BLEU_FLAGS[@]}"})
    score=$(python -c 'import json, sys; print(json.loads(sys.argv[1])["score"])' "$json")
    signature=$(python -c 'import json, sys; print(json.loads(sys.argv[1])["signature"])' "$json")
    keep_score "$3" "$4" "$5" "$6" "$7 BLEU" "$score" "$signature"
}

# keep_score RESULTS_DIR METHOD DECODER SEED METRIC SCORE SIGNATURE
keep_score() {
    python "$ROOT/scripts/results.py" add "$1" --method "$2" --decoder "$3" --seed "$4" --metric "$5" --score "$6" --signature "$7"
    say "$2, seed $4, $3: $5 $6"
}

# Rows of Goyal et al. 2017: table 1, every feedback; table 2, soft argmax with other decays of the gold probability.
DSS_DECAY=${DSS_DECAY:-1}
SCHEDULED_SAMPLING=(dss-argmax dss-sample dss-soft-argmax-fixed dss-soft-argmax-annealed dss-soft-sample-fixed dss-soft-sample-annealed)
for decay in 100 10 1 always; do
    if [ $decay != "$DSS_DECAY" ]; then SCHEDULED_SAMPLING+=("dss-soft-argmax-annealed-$decay"); fi
done

# scheduled_sampling METHOD: set OBJECTIVE to the flags of one of these rows, or of dss-none, which is cross entropy. The
# decay is DSS_DECAY where the name has none.
scheduled_sampling() {
    local decay=$DSS_DECAY feedback=${1#dss-}
    case $feedback in
        none) decay=none feedback=soft-argmax ;;
        *-100 | *-10 | *-1 | *-always) decay=${feedback##*-} feedback=${feedback%-*} ;;
    esac
    OBJECTIVE=(--criterion differentiable_scheduled_sampling --dss-decay "$decay" --dss-feedback "${feedback%-@(fixed|annealed)}")
    case $feedback in
        *-fixed) OBJECTIVE+=(--dss-alpha "${DSS_ALPHA:-1}") ;;
        *-annealed) OBJECTIVE+=(--dss-alpha "${DSS_ALPHA:-1}" --dss-alpha-growth "${DSS_GROWTH:-3}") ;;
    esac
}

# Rows of Leblond et al. 2018: loss, roll-out, and how many tokens are tried (all where the name has no number) and by which
# sampler (SAMPLING where the name has none).
SEARNN=(searnn-ll-learned searnn-ll-mixed searnn-llcas-learned searnn-llcas-mixed searnn-kl-learned searnn-kl-mixed searnn-sll-learned-5)

# searnn METHOD FLAG...: set OBJECTIVE to the flags of one of these rows; FLAGs are the cost and what else the task asks for.
# An s before the loss is its sampled softmax; KL_SCALE is the scale of the costs in kl, LLCAS_SCALE in llcas.
searnn() {
    local name loss roll_out tokens sampler
    IFS=- read -r name loss roll_out tokens sampler <<< "$1"
    shift
    OBJECTIVE=(--criterion "$name" --searnn-roll-out "$roll_out")
    if [ -n "$tokens" ]; then OBJECTIVE+=(--searnn-sampling "${sampler:-${SAMPLING:-policy}}" --searnn-tokens "$tokens"); fi
    case $loss in
        sll | sllcas | skl) loss=${loss#s} OBJECTIVE+=(--searnn-sampled-softmax) ;;
    esac
    case $loss in
        kl) OBJECTIVE+=(--searnn-cost-scale "${KL_SCALE:-10}") ;;
        llcas) OBJECTIVE+=(--searnn-cost-scale "${LLCAS_SCALE:-1}") ;;
    esac
    OBJECTIVE+=(--searnn-loss "$loss" "$@")
}

# What the quickstart and the examples share; source it, check what the user asks for, and then set_up. Sets ROOT, PLUGIN, SMOKE.
set -euo pipefail
shopt -s extglob

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PLUGIN="$ROOT/seqsearch_fairseq"

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

SMOKE=${SMOKE:-0}
[[ $SMOKE == [01] ]] || fail "SMOKE must be 0 or 1, got $SMOKE"

# set_up: build .venv where it is missing, put it on the PATH, set DEVICE_FLAGS.
set_up() {
    bash "$ROOT/scripts/env.sh"
    export PATH="$ROOT/.venv/bin:$PATH"
    export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
    # Everything runs on the CPU unless there is a GPU that torch can use.
    DEVICE_FLAGS=(--cpu)
    if command -v nvidia-smi > /dev/null && python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        DEVICE_FLAGS=()
    fi
}

# check_seeds SEED...: fairseq and numpy take whole numbers of 32 bits.
check_seeds() {
    local seed
    [ $# -ge 1 ] || fail "SEEDS must be whole numbers, got none"
    for seed in "$@"; do
        if [[ ! $seed =~ ^(0|[1-9][0-9]{0,9})$ ]] || ((seed >= 1 << 32)); then
            fail "a seed must be a whole number below 2^32, got $seed"
        fi
    done
}

# unknown WHAT NAME REMARK KNOWN...: end with the names that are known, and the nearest one to NAME.
unknown() {
    local what=$1 name=$2 remark=$3 nearest
    shift 3
    nearest=$(PATH="$ROOT/.venv/bin:$PATH" python3 -c 'import difflib, sys
print(*difflib.get_close_matches(sys.argv[1], sys.argv[2:], 1))' "$name" "$@" 2> /dev/null) || nearest=''
    fail "unknown $what $name${nearest:+ (did you mean $nearest?)}; known are: $*${remark:+; $remark}"
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
    if [ -e "$text/preparation.json" ]; then cp "$text/preparation.json" "$bin"; fi  # what was done to the words
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
                    ' chunk_f1_'* | ' edit_distance '* | ' greedy_cost '* | ' gold_fell_out '* | ' violations '* | ' expected_risk '* | \
                    ' beam_distance '* | ' exposure_bias '* | ' word_error_'* | ' unit_error_'* | ' lm_weight '* | ' word_score '*) said+=" ${part% }" ;;
            esac
        done
        printf '          %s:%s\n' "$1" "$said"
    done
}

# generate OUT FLAG...: fairseq-generate into the file OUT, whole or not at all.
generate() {
    local out=$1
    shift
    generate_each "$@" --each "$out"
}

# generate_each FLAG... --each OUT FLAG... [--each OUT FLAG...]: fairseq-generate into several files, with FLAGs of all and of each.
generate_each() {
    python "$ROOT/scripts/generate_each.py" --user-dir "$PLUGIN" "${DEVICE_FLAGS[@]}" "$@" || fail "fairseq-generate failed"
}

# named_decoder NAME: the flags of a decoder that is called greedy, beam-WIDTH or beam-WIDTH-logits; false for any other name.
# Without a name of scores a hypothesis adds up log-probs.
named_decoder() {
    local name width scores
    FORM='greedy, beam-WIDTH, beam-WIDTH-logits'
    [[ $1 =~ ^(greedy|beam-[1-9][0-9]*(-logits)?)$ ]] || return 1
    IFS=- read -r name width scores <<< "$1"
    echo "--decoder $name --beam ${width:-1} --decode-scores ${scores:-log-probs}"
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

# What follows sets OBJECTIVE to the flags of a method. It is false for a name that is none of its kind, and says in FORM what such
# a name looks like. A method has one name, the same in every example.

# Rows of Goyal et al. 2018. ALPHA (10), NLL_WEIGHT (2), and ANNEALED where alpha grows, are an example's to say.
ANNEALED=(--soft-beam-alpha 1 --soft-beam-alpha-growth 3)

# soft_beam METHOD FLAG...: FLAGs are the cost and what else the task asks for.
soft_beam() {
    local pattern='^soft-beam-(direct|hinge)(-logits)?(-annealed)?(-successive)?(-k([1-9][0-9]*))?$'
    FORM='soft-beam-{direct,hinge}[-logits][-annealed][-successive][-kN]'
    [[ $1 =~ $pattern ]] || return 1
    shift
    OBJECTIVE=(--criterion "soft_beam_${BASH_REMATCH[1]}" --soft-beam-size "${BASH_REMATCH[6]:-3}")
    if [ -n "${BASH_REMATCH[2]}" ]; then OBJECTIVE+=(--soft-beam-scores logits); fi
    if [ -n "${BASH_REMATCH[4]}" ]; then OBJECTIVE+=(--soft-beam-top-k successive); fi
    if [ -n "${BASH_REMATCH[3]}" ]; then OBJECTIVE+=("${ANNEALED[@]}"); else OBJECTIVE+=(--soft-beam-alpha "${ALPHA:-10}"); fi
    OBJECTIVE+=("$@" --search-nll-weight "${NLL_WEIGHT:-2}")
}

# Rows of Goyal et al. 2017: table 1, every feedback; table 2, soft argmax with other decays of the gold probability.
DSS_DECAY=${DSS_DECAY:-1}
SCHEDULED_SAMPLING=(dss-argmax dss-sample dss-soft-argmax-fixed dss-soft-argmax-annealed dss-soft-sample-fixed dss-soft-sample-annealed)
for decay in 100 10 1 always; do
    if [ $decay != "$DSS_DECAY" ]; then SCHEDULED_SAMPLING+=("dss-soft-argmax-annealed-$decay"); fi
done

# scheduled_sampling METHOD: one of these rows, or dss-none, which is cross entropy. The decay is DSS_DECAY where the name has none.
scheduled_sampling() {
    local pattern='^dss-(argmax|sample|soft-(argmax|sample)-(fixed|annealed))(-([1-9][0-9]*|always))?$'
    FORM='dss-none, dss-{argmax,sample,soft-argmax-{fixed,annealed},soft-sample-{fixed,annealed}}[-DECAY], DECAY a number or always'
    if [ "$1" = dss-none ]; then
        OBJECTIVE=(--criterion differentiable_scheduled_sampling --dss-decay none --dss-feedback soft-argmax)
        return
    fi
    [[ $1 =~ $pattern ]] || return 1
    OBJECTIVE=(--criterion differentiable_scheduled_sampling --dss-decay "${BASH_REMATCH[5]:-$DSS_DECAY}"
        --dss-feedback "${BASH_REMATCH[1]%-@(fixed|annealed)}")
    case ${BASH_REMATCH[3]} in
        fixed) OBJECTIVE+=(--dss-alpha "${DSS_ALPHA:-1}") ;;
        annealed) OBJECTIVE+=(--dss-alpha "${DSS_ALPHA:-1}" --dss-alpha-growth "${DSS_GROWTH:-3}") ;;
    esac
}

# Rows of Leblond et al. 2018: loss, roll-out, and how many tokens are tried (all where the name has no number) and by which
# sampler (SAMPLING where the name has none).
SEARNN=(searnn-ll-learned searnn-ll-mixed searnn-llcas-learned searnn-llcas-mixed searnn-kl-learned searnn-kl-mixed searnn-sll-learned-5)

# searnn METHOD FLAG...: FLAGs are the cost and what else the task asks for. An s before the loss is its sampled softmax; KL_SCALE
# is the scale of the costs in kl, LLCAS_SCALE in llcas.
searnn() {
    local losses='(s?)(ll|llcas|kl)|shl|l2' roll_outs='reference|learned|mixed|focused'
    local samplers='uniform|corpus|policy|biased-policy|top-k'
    FORM='searnn-{[s]ll,[s]llcas,[s]kl,shl,l2}-{reference,learned,mixed,focused}[-TOKENS[-SAMPLER]], sllcas where not all tokens are tried'
    [[ $1 =~ ^searnn-($losses)-($roll_outs)(-([1-9][0-9]*)(-($samplers))?)?$ ]] || return 1
    shift
    local sampled=${BASH_REMATCH[2]} loss=${BASH_REMATCH[1]} tokens=${BASH_REMATCH[6]} sampler=${BASH_REMATCH[8]}
    OBJECTIVE=(--criterion searnn --searnn-roll-out "${BASH_REMATCH[4]}")
    if [ -n "$tokens" ]; then OBJECTIVE+=(--searnn-sampling "${sampler:-${SAMPLING:-policy}}" --searnn-tokens "$tokens"); fi
    if [ "$loss" = llcas ] && [[ "${OBJECTIVE[*]} $*" == *--searnn-sampling* ]]; then return 1; fi
    if [ -n "$sampled" ]; then loss=${loss#s} OBJECTIVE+=(--searnn-sampled-softmax); fi
    case $loss in
        kl) OBJECTIVE+=(--searnn-cost-scale "${KL_SCALE:-10}") ;;
        llcas) OBJECTIVE+=(--searnn-cost-scale "${LLCAS_SCALE:-1}") ;;
    esac
    OBJECTIVE+=(--searnn-loss "$loss" "$@")
}

# Rows of the rivals: Andor et al. 2016, Wiseman & Rush 2016, Shen et al. 2016.
# beam_training METHOD COST FLAG...: FLAGs are the width and what else the task asks for; COST is that of minimum risk.
beam_training() {
    local update=${1#global-likelihood} cost=$2
    FORM='global-likelihood[-{full-sequence,every-step}], beam-search-optimization, minimum-risk'
    case $1 in
        global-likelihood | global-likelihood-full-sequence | global-likelihood-every-step)
            update=${update#-}
            OBJECTIVE=(--criterion global_likelihood --global-likelihood-update "${update:-early}")
            ;;
        beam-search-optimization) OBJECTIVE=(--criterion beam_search_optimization) ;;
        minimum-risk) OBJECTIVE=(--criterion minimum_risk --minimum-risk-cost "$cost") ;;
        *) return 1 ;;
    esac
    OBJECTIVE+=("${@:3}")
}

# translation_objective METHOD: what the examples of translation share. The control of a method is cross entropy continued for the
# same number of updates at the same learning rate: cross-entropy-continued of the soft beam, dss-none of scheduled sampling, which
# runs for more epochs, and searnn-control of SEARNN, which runs for less than one.
translation_objective() {
    case $1 in
        cross-entropy | cross-entropy-continued | searnn-control)
            OBJECTIVE=(--criterion label_smoothed_cross_entropy --label-smoothing 0.1)
            ;;
        soft-beam-*) soft_beam "$1" ;;
        global-likelihood* | beam-search-optimization | minimum-risk)
            beam_training "$1" bleu --beam-training-size "${BEAM:-5}" --beam-training-scores log-probs \
                --search-nll-weight "${BEAM_NLL_WEIGHT:-1}"
            ;;
        dss-*) scheduled_sampling "$1" ;;
        searnn-*)
            # Five cells of a sentence and the two at its end; 15 + 5 tokens, the gold one and the end of sentence.
            local KL_SCALE=${KL_SCALE:-200}
            searnn "$1" --searnn-roll-in "${ROLL_IN:-reference}" --searnn-cells "${CELLS:-5}" --searnn-sampling top-k=15 \
                --searnn-neighbors 5 --searnn-cost "${COST:-bleu}" --searnn-reference-policy "${POLICY:-best-suffix-bleu-1}"
            ;;
        *) return 1 ;;
    esac
}

translation_control() {
    case $1 in
        dss-*) echo dss-none ;;
        searnn-*) echo searnn-control ;;
        *) echo cross-entropy-continued ;;
    esac
}

# The best of scheduled sampling by validation loss would be that of the epoch with gold inputs; SEARNN runs for less than one.
translation_checkpoint() {
    case $1 in
        dss-* | searnn-*) echo checkpoint_last.pt ;;
        *) echo checkpoint_best.pt ;;
    esac
}

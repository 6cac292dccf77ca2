#!/usr/bin/env bash
# Deng et al. (ICASSP 2024, arXiv 2311.04534) on LibriSpeech 960 h, stage by stage.
#
#     scripts/librispeech.sh --corpus /corpora/LibriSpeech --out runs/librispeech --gpus 8 --dry-run
#     scripts/librispeech.sh --corpus /corpora/LibriSpeech --out runs/librispeech --gpus 8 --objective sld
#
# Stages: 1 audio  2 kmeans  3 units  4 subwords  5 data  6 gpt2  7 train  8 decode  9 score
# A stage is done when OUT/.done/STAGE holds the hash of its commands and of its input files, and
# its outputs are there. A second call repeats nothing else; a killed training goes on from its
# last checkpoint. Options that only say where work runs (--jobs, --gpus, --launch) are not hashed.
# PYTHON names the interpreter, by default that of .venv; fairseq's commands are taken from beside it.
# docs/librispeech.md says what is as the authors did it, what is not, and why.
set -euo pipefail

# options
corpus=LibriSpeech                # folder with train-clean-100, dev-clean, … (openslr.org/12)
out=runs/librispeech              # folder of everything that is made
objective=sld                     # masked_ce, multimodal_ce, sld, or sld_official (as the authors' program computes it)
name=                             # folder of the training in OUT; by default the objective
stage=1                           # first stage to run
stop_stage=9                      # last stage to run
dry_run=false                     # print every command, run none
train_sets="train-clean-100 train-clean-360 train-other-500" # folders to train on
dev_sets="dev-clean dev-other"    # folders that choose the checkpoint; decoded too
test_sets="test-clean test-other" # folders to decode
speeds="0.9 1.0 1.1"              # speed perturbation of the training data
audio_options=                    # more options of sld audio, such as --header-only
encoder=microsoft/wavlm-large     # directory, hub name, or fairseq .pt; facebook/hubert-large-ll60k; mfcc
layer=23                          # transformer block of the encoder; empty for mfcc
num_units=2000                    # K of k-means
kmeans_share=0.10416667           # share of the training recordings, at speed 1, that k-means sees
kmeans_options="--oversample 36 --memory-gib 8" # of sld kmeans: 36 sees all frames of that share, keeps 256 a unit
deduplicate=false                 # collapse runs of a unit before subwords; the authors do not
num_pieces=6000                   # SentencePiece unigram pieces over units
subword_share=1                   # share of the training utterances that the pieces are learnt from; memory, see the doc
device=auto                       # of encoder and k-means: auto, cpu, gpu
jobs=                             # executor of stages 1 to 3, e.g. "--executor slurm --shards 64 --gpus 1 --partition gpu"
max_tokens=1024                   # positions of the model: units, separator and text together
max_text_tokens=150               # text tokens of a training utterance
too_long=skip                     # longer training utterances: skip (listed), or truncate as the authors do in silence
gpt2=gpt2-medium                  # pretrained weights and tokenizer: directory or hub name
backbone=                         # in place of GPT-2, any causal language model of Hugging Face: directory or hub name
lora_rank=0                       # with --backbone: train adapters of this rank; 0 trains everything
batch=64                          # utterances an update, over all GPUs
gpus=1                            # GPUs in all
gpu_batch=8                       # utterances that one GPU takes at a time; the rest is accumulated
launch=                           # words before fairseq-train, such as "torchrun --no-python --nproc-per-node 8"
lr=3e-4                           # learning rate, linear to 0 without warm-up
epochs=10                         # passes over the training data
precision=fp16                    # fp16, bf16 or fp32
mask_prob=0.3                     # input tokens hidden in training
mask_tokens=speech                # which: speech, or all (text too, as the authors do)
kl_weight=0.008                   # alpha
kl_temperature=1                  # T
kl_smoothing=0.1                  # epsilon
select=wer                        # checkpoint to decode: best by wer or loss on all of the dev sets, or the last
save_interval=5000                # updates between checkpoints within an epoch, each validated
train_options=                    # more options of fairseq-train
beam=1                            # 1 is greedy, as the authors decode
max_len=200                       # most text tokens that are decoded; the authors run on to 1,024 positions
decode_options="--max-tokens 20000" # more options of fairseq-generate: batches
cpu=false                         # train and decode without a GPU
seed=1                            # of initialisation, batches, masking
# end of options

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ "$PWD" = "$root" ] && prefix= || prefix=$root/
package=${prefix}sld_user_dir
stages=(none audio kmeans units subwords data gpt2 train decode score)

die() { echo "librispeech.sh: $*" >&2; exit 1; }

usage() {
    sed -n '2,/^set -/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
    sed -n '/^# options/,/^# end/p' "${BASH_SOURCE[0]}" |
        sed -n 's/^\([a-z_0-9]*\)=\(.*[^ ]\)\{0,1\} *# \(.*\)$/\1|\2|\3/p' |
        while IFS='|' read -r option default text; do printf '  --%-17s %s [%s]\n' "${option//_/-}" "$text" "$default"; done
}

parse() {
    local known word option
    known=$(sed -n '/^# options/,/^# end/s/^\([a-z_0-9]*\)=.*/\1/p' "${BASH_SOURCE[0]}")
    while [ $# -gt 0 ]; do
        word=$1; shift
        case $word in -h | --help) usage; exit 0 ;; esac
        option=${word#--}; option=${option//-/_}
        grep -qx "$option" <<<"$known" || die "unknown option $word; --help lists them"
        case ${!option} in
            true | false) printf -v "$option" true ;;
            *) [ $# -gt 0 ] || die "$word wants a value"; printf -v "$option" '%s' "$1"; shift ;;
        esac
    done
}

check() {
    local set tool python=${PYTHON:-}
    if [ -z "$python" ] && [ -x "$root/.venv/bin/python" ]; then python=$root/.venv/bin/python; fi
    if [ -n "$python" ]; then
        command -v "$python" >/dev/null || die "$python: no such program; correct PYTHON"
        PATH=$(dirname "$(command -v "$python")"):$PATH
    fi
    export PATH PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
    $dry_run || for tool in python sld fairseq-train fairseq-generate sha256sum; do
        command -v $tool >/dev/null || die "$tool is missing: run 'make setup' or install the package, or set PYTHON"
    done
    case $objective in
        masked_ce) criterion=(--criterion masked_ce) ;;
        multimodal_ce) criterion=(--criterion sld --kl-weight 0) ;;
        sld) criterion=(--criterion sld --kl-variant paper) ;;
        sld_official) criterion=(--criterion sld --kl-variant official) ;;
        *) die "no objective '$objective'; choose masked_ce, multimodal_ce, sld or sld_official" ;;
    esac
    case $objective in sld*)
        criterion+=(--kl-weight "$kl_weight" --kl-temperature "$kl_temperature" --kl-smoothing "$kl_smoothing") ;;
    esac
    case $precision in fp16 | bf16) floats=("--$precision") ;; fp32) floats=() ;; *) die "--precision is fp16, bf16 or fp32" ;; esac
    case $select in wer | loss | last) ;; *) die "--select is wer, loss or last, not '$select'" ;; esac
    [ $((batch % (gpus * gpu_batch))) = 0 ] ||
        die "a batch of $batch is no multiple of $gpus GPUs times --gpu-batch $gpu_batch; change --gpu-batch"
    $cpu && hardware=(--cpu) || hardware=()
    if [ -d "$backbone" ]; then backbone=$(cd "$backbone" && pwd); fi # a checkpoint remembers the word
    name=${name:-$objective}
    run_dir=$out/$name
    data=$out/data
    read -ra job_options <<<"$jobs"
    read -ra launcher <<<"$launch"
    $dry_run || [ "$stage" -gt 1 ] || for set in $train_sets $dev_sets $test_sets; do
        [ -d "$corpus/$set" ] || die "$corpus/$set: no such folder; unpack LibriSpeech there (openslr.org/12), or give --corpus"
    done
}

# -- commands: printed, collected for the hash, or run ---------------------------------------
run() { # run COMMAND…
    local words
    words=$(printf '%q ' "$@")
    if [ -n "${collecting:-}" ]; then plan+=$words$'\n'; return; fi
    echo "\$ $words"
    $dry_run || "$@"
}

run_to() { # run_to FILE COMMAND…: its output to FILE, whole or not at all
    local file=$1; shift
    if [ -n "${collecting:-}" ]; then run "$@"; return; fi
    echo "\$ $(printf '%q ' "$@")> $file"
    $dry_run || { "$@" >"$file.part" && mv "$file.part" "$file"; }
}

key() { # the hash of a stage's commands and input files; leaves inputs and outputs set
    local collecting=1 plan='' job_options=() launcher=() parallel=() file
    "stage_$1"
    plan=${plan//"$out/"/OUT/}
    plan=${plan//"$root/"/}
    for file in "${inputs[@]}"; do
        [ -e "$file" ] || die "stage $1 needs $file; run the stage that makes it first (--stage)"
        plan+=$(sha256sum <"$file")
    done
    hash=$(sha256sum <<<"$plan")
    hash=${hash%% *}
}

is_done() {
    local file
    [ "$(cat "$out/.done/$1" 2>/dev/null)" = "$hash" ] || return 1
    for file in "${outputs[@]}"; do [ -e "$file" ] || return 1; done
}

do_stage() {
    local label=${stages[$1]}
    if $dry_run; then echo "# stage $1: $label"; "stage_$label"; return; fi
    key "$label"
    case $1 in [789]) label+=-$name ;; esac
    if is_done "$label"; then echo "# stage $1: $label is done"; return; fi
    echo "# stage $1: $label"
    mkdir -p "$out/.done"
    rm -f "$out/.done/$label"
    started=$hash
    "stage_${stages[$1]}"
    echo "$started" >"$out/.done/$label"
}

# -- stages -------------------------------------------------------------------------------------
manifest() { # manifest NAME SETS OPTIONS…
    local to=$out/audio/$1.tsv sets=$2; shift 2
    outputs+=("$to")
    # shellcheck disable=SC2086
    run sld audio --root "$corpus" --folders $sets --out "$to" --lowercase "$@" $audio_options \
        "${job_options[@]}"
}

stage_audio() {
    inputs=() outputs=()
    # shellcheck disable=SC2086
    manifest train_all "$train_sets" --speeds $speeds
    manifest kmeans "$train_sets" --share "$kmeans_share"
    local set
    for set in $dev_sets $test_sets; do manifest "$set" "$set"; done
}

stage_kmeans() {
    inputs=("$out/audio/kmeans.tsv") outputs=("$out/kmeans.npz")
    # shellcheck disable=SC2086
    run sld kmeans --audio "$out/audio/kmeans.tsv" --out "$out/kmeans.npz" --features "$encoder" \
        ${layer:+--layer $layer} --num-units "$num_units" --device "$device" --seed "$seed" $kmeans_options "${job_options[@]}"
}

stage_units() {
    inputs=("$out/kmeans.npz") outputs=()
    local set
    for set in train_all $dev_sets $test_sets; do
        inputs+=("$out/audio/$set.tsv") outputs+=("$out/units/$set.tsv")
        # shellcheck disable=SC2046
        run sld units --audio "$out/audio/$set.tsv" --kmeans "$out/kmeans.npz" \
            --out "$out/units/$set.tsv" --device "$device" $($deduplicate && echo --deduplicate) \
            --header "license=CC BY 4.0" "attribution=LibriSpeech, Panayotov et al. 2015" "${job_options[@]}"
    done
}

stage_subwords() {
    local set units=() encoded=()
    for set in train_all $dev_sets $test_sets; do
        units+=("$out/units/$set.tsv") encoded+=("$data/$set.tsv")
    done
    inputs=("${units[@]}") outputs=("$out/units.model" "${encoded[@]}")
    run sld subwords --train "$out/units/train_all.tsv" --model "$out/units.model" \
        --share "$subword_share" --num-pieces "$num_pieces" --encode "${units[@]}" --out-dir "$data"
}

stage_data() {
    local set dev=()
    for set in $dev_sets; do dev+=("$data/$set.tsv"); done
    inputs=("$data/train_all.tsv" "${dev[@]}") outputs=("$data/dict.txt" "$data/vocab.json" "$data/train.tsv" "$data/valid.tsv")
    # one manifest of all dev sets: the first one's header, everyone's rows
    run_to "$data/valid.tsv" awk 'NR == FNR {print; next} FNR == 1 {names = 0} /^#/ {next} names++ {print}' "${dev[@]}"
    if [ -n "$backbone" ]; then
        run sld vocab --data "$data" --split train_all --text-tokenizer hf --hf-model "$backbone"
    else
        run sld vocab --data "$data" --split train_all --text-tokenizer gpt2 --gpt2 "$gpt2"
    fi
    run sld limit --data "$data" --split train_all --out train --max-tokens "$max_tokens" \
        --max-text-tokens "$max_text_tokens" --too-long "$too_long"
}

stage_gpt2() {
    inputs=("$data/dict.txt" "$data/vocab.json") outputs=("$out/gpt2.options")
    if [ -n "$backbone" ]; then # which training loads by itself
        run_to "$out/gpt2.options" echo --arch joint_hf --hf-model "$backbone" --lora-rank "$lora_rank" --tokens-per-sample "$max_tokens"
        return
    fi
    outputs+=("$out/gpt2.pt")
    run_to "$out/gpt2.options" sld import-gpt2 --gpt2 "$gpt2" --data "$data" --out "$out/gpt2.pt" --seed "$seed"
}

updates() { # of the whole training, as fairseq counts them
    local rows batches
    [ -e "$data/train.tsv" ] || { echo UPDATES; return; }
    rows=$(($(grep -vc '^#' "$data/train.tsv") - 1))
    batches=$(((rows + gpu_batch - 1) / gpu_batch))
    echo $((epochs * ((batches + batch / gpu_batch - 1) / (batch / gpu_batch))))
}

stage_train() {
    inputs=("$data/dict.txt" "$data/train.tsv" "$data/valid.tsv" "$out/gpt2.options")
    [ -n "$backbone" ] || inputs+=("$out/gpt2.pt")
    outputs=("$run_dir/checkpoint_last.pt")
    local shape='OPTIONS_OF_GPT2' metric=loss total
    [ -e "$out/gpt2.options" ] && shape=$(cat "$out/gpt2.options")
    total=$(updates)
    parallel=(--distributed-world-size "$gpus" --batch-size "$gpu_batch" --update-freq "$((batch / gpu_batch / gpus))")
    if [ -n "${collecting:-}" ]; then parallel=(--updates-of "$batch"); fi
    [ "$select" = wer ] && metric=wer
    [ -n "${collecting:-}" ] || $dry_run || claim
    # shellcheck disable=SC2086,SC2046
    run "${launcher[@]}" fairseq-train "$data" --user-dir "$package" --task speech_unit_lm $shape \
        "${criterion[@]}" --input-mask-prob "$mask_prob" --input-mask-tokens "$mask_tokens" \
        --optimizer adam --adam-betas '(0.9, 0.999)' --lr "$lr" --lr-scheduler polynomial_decay --warmup-updates 0 \
        --total-num-update "$total" --max-update "$total" --max-epoch "$epochs" "${parallel[@]}" \
        --required-batch-size-multiple 1 --skip-too-long "${floats[@]}" "${hardware[@]}" --seed "$seed" \
        $([ $metric = wer ] && echo --eval-wer --eval-wer-max-len "$max_len") --best-checkpoint-metric $metric \
        --save-interval-updates "$save_interval" --keep-interval-updates 1 --no-epoch-checkpoints \
        --log-format json --log-interval 100 --log-file "$run_dir/train.log" --save-dir "$run_dir" $train_options
}

claim() { # a folder with checkpoints of other settings is not silently trained on
    mkdir -p "$run_dir"
    if [ -e "$run_dir/checkpoint_last.pt" ] && [ "$(cat "$run_dir/settings" 2>/dev/null)" != "$started" ]; then
        die "$run_dir holds a training of other settings or data; remove it, or give this one a --name"
    fi
    echo "$started" >"$run_dir/settings"
}

stage_decode() {
    local set best=best
    [ "$select" = last ] && best=last
    inputs=("$run_dir/checkpoint_$best.pt") outputs=()
    for set in $dev_sets $test_sets; do
        inputs+=("$data/$set.tsv") outputs+=("$run_dir/decode/generate-$set.txt")
        # shellcheck disable=SC2086
        run fairseq-generate "$data" --user-dir "$package" --task speech_unit_lm --path "$run_dir/checkpoint_$best.pt" \
            --gen-subset "$set" --beam "$beam" --max-len-a 0 --max-len-b "$max_len" --skip-too-long \
            --results-path "$run_dir/decode" "${hardware[@]}" $decode_options
    done
}

stage_score() {
    local set outputs_of=() manifests=()
    for set in $dev_sets $test_sets; do
        outputs_of+=("$run_dir/decode/generate-$set.txt") manifests+=("$data/$set.tsv")
    done
    inputs=("${outputs_of[@]}" "${manifests[@]}") outputs=("$run_dir/scores.json" "$run_dir/scores.txt")
    run_to "$run_dir/scores.txt" sld score --generate "${outputs_of[@]}" --manifest "${manifests[@]}" \
        --missing-as-empty --by test_set --max-len "$max_len" --json "$run_dir/scores.json"
}

parse "$@"
check
$dry_run || mkdir -p "$out"
for ((number = stage; number <= stop_stage; number++)); do do_stage "$number"; done
if [ -e "$run_dir/scores.txt" ] && [ "$stop_stage" -ge 9 ] && ! $dry_run; then cat "$run_dir/scores.txt"; fi

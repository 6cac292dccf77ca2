"""Small random speech encoders, saved as transformers and as fairseq save theirs."""

import numpy as np
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
FAMILIES = {
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
}


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)


def save_transformers(folder, family="hubert", prenorm=False):
    """A random model; `prenorm` is the shape of the large models, with a normalised waveform."""
    config_class, model_class = FAMILIES[family]
    torch.manual_seed(1)
    config = config_class(**SHAPE, do_stable_layer_norm=prenorm, feat_extract_norm="layer" if prenorm else "group")
    model = model_class(config).eval()
    for name, weight in model.named_parameters():  # norms that do something
        if "norm" in name:
            weight.data += 0.3 * torch.randn_like(weight)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=prenorm).save_pretrained(folder)
    return model


def save_fairseq(path, family, prenorm):
    """A random checkpoint as fairseq writes it, dictionaries included."""
    from fairseq.data.dictionary import Dictionary
    from fairseq.models.hubert import HubertConfig as FsHubertConfig
    from fairseq.models.hubert import HubertModel as FsHubert
    from fairseq.models.wav2vec import Wav2Vec2Config as FsW2vConfig
    from fairseq.models.wav2vec import Wav2Vec2Model as FsW2v
    from fairseq.tasks.hubert_pretraining import HubertPretrainingConfig

    torch.manual_seed(2)
    settings = {
        "encoder_layers": 3,
        "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 48,
        "encoder_attention_heads": 4,
        "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
        "conv_pos": 16,
        "conv_pos_groups": 4,
        "layer_norm_first": prenorm,
        "extractor_mode": "layer_norm" if prenorm else "default",
        "conv_bias": False,
        "final_dim": 8,
    }
    task = {"_name": "hubert_pretraining", "sample_rate": 16000, "normalize": prenorm, "label_rate": 50}
    if family == "hubert":
        config = FsHubertConfig(**settings, label_rate=50)
        model = FsHubert(config, HubertPretrainingConfig(sample_rate=16000), [Dictionary()])
    else:
        model = FsW2v(FsW2vConfig(**settings))
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data += 0.3 * torch.randn_like(weight)
    state = {
        "args": None,
        "cfg": {"model": {"_name": family, **settings}, "task": task},
        "model": model.state_dict(),
        "task_state": {"dictionaries": [Dictionary()]},
    }
    torch.save(state, path)
    return model.eval()


def save_whisper(folder, positions=True, seconds=2):
    """A random model of three blocks, with positions for so many seconds, and its feature extractor."""
    torch.manual_seed(3)
    config = WhisperConfig(
        vocab_size=16,
        d_model=32,
        encoder_layers=3,
        encoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=4,
        decoder_ffn_dim=48,
        max_source_positions=50 * seconds,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    model = WhisperModel(config).eval()
    for name, weight in model.named_parameters():
        weight.data += (0.3 if "norm" in name else 0.05) * torch.randn_like(weight)
    if not positions:
        model.encoder.embed_positions.weight.data.zero_()
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(chunk_length=seconds)
    extractor.save_pretrained(folder)
    return model, extractor

"""A pretrained Hugging Face model as fairseq's decoder over the joint vocabulary."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Dict, List, Optional, Tuple

import torch
from fairseq.models import FairseqDecoder as StockDecoder
from torch import Tensor, nn

from sld_user_dir.clustering.kmeans_file import Centroids
from sld_user_dir.errors import InputError
from sld_user_dir.models.centroid_embeddings import centroid_embeddings
from sld_user_dir.models.hf_attention import UnknownAttention, arguments, packed_attend
from sld_user_dir.models.hf_base import HFBase
from sld_user_dir.models.hf_prompt_cache import HFPromptCache
from sld_user_dir.models.joint_embedding import JointEmbedding, JointRows
from sld_user_dir.models.packed_attention import Packing

FINGERPRINT = "base_fingerprint"


class HFDecoder(StockDecoder):
    """The backbone between a joint embedding and a joint output matrix.

    Args:
        base: of which `backbone` may have been given adapters, and parameters may have been frozen.
        dictionary: fairseq's view of the joint vocabulary.
        rows: how the joint ids are shared out.
        new: (new symbols, d) embeddings of what the base does not know.
        new_head: (new symbols, d) rows of the output matrix, where it is not tied.
        max_positions: tokens that it may read.
    """

    prompt_cache = HFPromptCache
    """The session class of decoding."""

    def __init__(
        self,
        base: HFBase,
        dictionary: Any,
        rows: JointRows,
        new: Tensor,
        new_head: Optional[Tensor],
        max_positions: int,
    ):
        super().__init__(dictionary)
        self.backbone, self.rows, self._max_positions = base.backbone, rows, max_positions
        self.num_layers = int(base.config.num_hidden_layers)
        self.embed_tokens = JointEmbedding(rows, base.embeddings, new)
        self.head = base.head
        self.new_head = None if new_head is None else nn.Parameter(new_head)
        # a small whole number each: what averages or moves checkpoints takes tensors alone
        name = torch.tensor(list(bytes.fromhex(base.fingerprint)), dtype=torch.int64)
        self.register_buffer(FINGERPRINT, name)

    def max_positions(self) -> int:
        """Tokens that it can read."""
        return self._max_positions

    def packs(self) -> bool:
        """Whether this decoder takes packed rows."""
        return self.attention_obstacle is None

    @cached_property
    def attention_obstacle(self) -> Optional[str]:
        """None, or why attention of ours can't take the place of the backbone's own; found out by trying."""
        found: List[int] = []

        def attend(module: Any, q: Tensor, *_: Any) -> Tensor:
            found.append(module.layer_idx)
            return q.transpose(1, 2)

        x = self.embed_tokens(torch.zeros(1, 2, dtype=torch.long, device=self.embed_tokens.new.device))
        try:
            with torch.no_grad():
                positions = torch.arange(2, device=x.device)[None]
                self.backbone(inputs_embeds=x, position_ids=positions, use_cache=False, **arguments(attend, x.device))
        except (UnknownAttention, AttributeError) as error:
            return str(error)
        if found != list(range(self.num_layers)):
            return f"{type(self.backbone).__name__} does not let others compute the attention of every layer"
        return None

    def forward(
        self,
        prev_output_tokens: Tensor,
        src_lengths: Optional[Tensor] = None,
        features_only: bool = False,
        **kwargs: Any,
    ) -> Tuple[Tensor, Dict[str, Any]]:
        """(B, L) tokens to (B, L, V) logits, or (B, L, d) features; with more lengths than rows, a packed row.

        Raises:
            InputError: padding that is not on the right, or fairseq's own incremental decoding.
        """
        if kwargs.get("incremental_state") is not None:
            raise InputError(
                None, "--arch joint_hf has no state of fairseq's own generator", "decode with --task speech_unit_lm"
            )
        packed = src_lengths is not None and len(src_lengths) > len(prev_output_tokens)
        x = self.extract(prev_output_tokens, Packing.of(src_lengths) if packed else None)  # type: ignore[arg-type]
        return (x if features_only else self.output_layer(x)), {"attn": [None]}

    def extract(self, tokens: Tensor, packing: Optional[Packing] = None) -> Tensor:
        """(B, L) tokens to (B, L, d) hidden states; those of padding hold no meaning."""
        x = self.embed_tokens(tokens)
        if packing is None:
            padding = tokens.eq(self.dictionary.pad())
            if bool((padding[:, :-1] & ~padding[:, 1:]).any()):
                raise InputError(None, "padding on the left of, or inside, a row", "pad on the right")
            how: Dict[str, Any] = {}
        else:
            how = {**arguments(packed_attend(packing), x.device), "position_ids": packing.positions[None]}
        return self.backbone(inputs_embeds=x, use_cache=False, **how).last_hidden_state

    def output_matrices(self) -> List[Tensor]:
        """Matrices (*, d) that make the output matrix (V, d) when they are put above each other."""
        text = self.embed_tokens.text.weight if self.head is None else self.head
        return self.rows.matrices(text, self.embed_tokens.new if self.new_head is None else self.new_head)

    def output_layer(self, features: Tensor, **kwargs: Any) -> Tensor:
        """(…, d) to (…, V)."""
        return torch.cat([nn.functional.linear(features, matrix) for matrix in self.output_matrices()], -1)

    @property
    def fingerprint(self) -> str:
        """Of the base: 64 hex characters."""
        stored: Any = self.base_fingerprint
        return bytes(stored.tolist()).hex()

    @property
    def tied(self) -> bool:
        """Whether input and output embeddings are the same."""
        return self.new_head is None

    @torch.no_grad()
    def init_units(self, centroids: Centroids) -> None:
        """Let units' embeddings start from their centroids by a linear map, spread as the text's embeddings are."""
        tables = [(self.embed_tokens.new, self.embed_tokens.text.weight)]
        if self.new_head is not None and self.head is not None:
            tables.append((self.new_head, self.head))
        for new, text in tables:
            units, width = new[self.rows.first_unit :], new.size(1)
            values = centroid_embeddings(centroids, torch.randn_like(units) * width**-0.5) * width**0.5
            units.copy_(text.mean(0) + text.std(0) * values)

    # -- precision and checkpoints ---------------------------------------------------------------------------

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """As torch's; but buffers of the backbone, such as frequencies of rotary positions, keep their precision."""
        before = {name: buffer for name, buffer in self.backbone.named_buffers() if buffer.is_floating_point()}
        result = super()._apply(fn, recurse)
        for name, buffer in list(self.backbone.named_buffers()):
            if name in before and buffer.dtype != before[name].dtype:
                path, _, last = name.rpartition(".")
                setattr(self.backbone.get_submodule(path), last, before[name].to(buffer.device))
        return result

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """What a checkpoint holds: what is trained, and which base it belongs to."""
        state, prefix = super().state_dict(*args, **kwargs), kwargs.get("prefix", "")
        for name in self._frozen():
            state.pop(prefix + name, None)
        return state

    def upgrade_state_dict_named(self, state_dict: Dict[str, Any], name: str) -> Dict[str, Any]:
        """Refuse what was trained on another base, and complete the rest by this base.

        Raises:
            InputError: names both bases.
        """
        prefix = f"{name}." if name else ""
        stored, own = state_dict.get(prefix + FINGERPRINT), self.base_fingerprint
        if stored is None or not torch.equal(stored.cpu(), own.cpu()):
            theirs = "another model" if stored is None else f"the base {_hex(stored)}"
            raise InputError(
                "--hf-model", f"the checkpoint was trained on {theirs}, this is {_hex(own)}", "name the same base"
            )
        for missing, tensor in self._frozen().items():
            state_dict.setdefault(prefix + missing, tensor.detach())
        return state_dict

    def _frozen(self) -> Dict[str, Tensor]:
        return {name: tensor for name, tensor in self.named_parameters() if not tensor.requires_grad}


def _hex(name: Tensor) -> str:
    return bytes(name.tolist()).hex()[:16]

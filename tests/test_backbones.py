"""Prefixes reach every layer's attention: equal to the cache route, and blind to padding and to company."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import pytest
import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention
from transformers import AlbertConfig, AutoModel, DynamicCache, ModernBertConfig

from ptune import build
from ptune.backbones import local, packing, varlen
from ptune.batch import Row, collate
from ptune.errors import ConfigError, PtuneError
from ptune.injection import KV, Injection, join
from ptune.prompts.deep import Deep
from ptune.prompts.none import NoPrompt

LENGTHS = (7, 5, 4)
GROUPED = ["qwen3", "llama"]
ROTARY = ["gpt_neox", *GROUPED]
CAUSAL = ["gpt2", "opt", *ROTARY]
CACHED = ["bert", "roberta", "xlm_roberta", "electra", *CAUSAL]  # transformers ignores past_key_values in the others
DEBERTAS = ["deberta", "deberta_v2", "deberta_v3"]
T5S = ["t5", "t5_v1_1"]
DECODERS = [*T5S, "bart"]  # beside an encoder
PLAIN = ["modernbert", *GROUPED, *T5S]  # of no biases
UNPLACED = [*DEBERTAS, *T5S]  # of relative positions, which a prefix has none of
FAMILIES = [*CACHED, "distilbert", "albert", "grouped_albert", *DEBERTAS, "modernbert", *DECODERS]
BUT_ALBERT = [name for name in FAMILIES if "albert" not in name]


def of_families(*names):
    """Run a test on some families' checkpoints only."""
    return pytest.mark.parametrize("folder", names, indirect=True)


@pytest.fixture(params=FAMILIES)
def folder(request):
    """Each family's tiny checkpoint in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture
def backbone(folder):
    """A loaded backbone that does not drop."""
    return loaded(folder)


def opened(folder, **given):
    """The backbone of a checkpoint folder, its weights not yet loaded."""
    return build.leaf(local.settings({"path": str(folder), "name": "local", **given}))


def loaded(folder, lm=False):
    """The same with weights, not dropping anything, frozen."""
    backbone = opened(folder, dropout=0.0, attention_dropout=0.0)
    backbone.load(lm=lm)
    backbone.tune("none")
    backbone.model.eval()
    return backbone


def make_rows(backbone, lengths=LENGTHS, slots=0, seed=0):
    """Rows of random tokens; second halves are of token type 1 where the family has two."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for index, length in enumerate(lengths):
        ids = torch.randint(5, backbone.shape.vocab, (length,), generator=generator).tolist()
        second = int(getattr(backbone.base.config, "type_vocab_size", 0) > 1)
        types = [second * (position >= length // 2) for position in range(length)]
        rows.append(Row(index, ids, types, {"cls": [0]}, slots=list(range(1, 1 + slots)), target=0))
    return rows


def pad_id(backbone):
    return backbone.base.config.pad_token_id or 0


def random_kv(backbone, length, layers=None, rows=1, seed=0):
    """Keys and values that ask for a gradient, for the given layers or all."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, backbone.shape.heads, length, backbone.shape.head_dim)
    return {
        layer: KV(*(torch.randn(shape, generator=generator).requires_grad_() for _ in "kv"))
        for layer in (range(backbone.shape.layers) if layers is None else layers)
    }


def deep(backbone, length, layers=None, rows=1, seed=0):
    """A deep injection at every site that shifts the text, as the published code does."""
    kv = {}
    for number, (site, depth) in enumerate(backbone.shape.sites.items()):
        chosen = [layer for layer in (range(depth) if layers is None else layers) if layer < depth]
        kv[site] = random_kv(backbone, length, chosen, rows, seed + 100 * number)
    return Injection(kv=kv, offset=length)


def changed(injection, change):
    """The same with `change` of each KV."""
    kv = {site: {layer: change(kv) for layer, kv in layers.items()} for site, layers in injection.kv.items()}
    return Injection(kv=kv, offset=injection.offset)


def front(backbone, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Injection(front=torch.randn(1, length, backbone.shape.embed, generator=generator).requires_grad_())


def slotted(backbone, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Injection(slots=torch.randn(1, length, backbone.shape.embed, generator=generator).requires_grad_())


def leaves(injection):
    """Every tensor that a prompt would learn."""
    tensors = [t for t in (injection.front, injection.slots) if t is not None]
    return tensors + [t for layers in injection.kv.values() for kv in layers.values() for t in kv[:2]]


def objective(states, seed=0):
    """A number that every coordinate of the states matters to; LayerNorm fixes plain sums and squares."""
    generator = torch.Generator().manual_seed(seed)
    return (states * torch.randn(states.shape, generator=generator)).sum()


def real_states(backbone, batch, injection):
    """The states of each row's own tokens, and the injection's gradient of an objective over them."""
    with backbone.injected(injection):
        states = backbone(batch, injection).states
        rows = [row[mask] for row, mask in zip(states, batch.mask, strict=True)]
        tensors = leaves(injection)
        total = torch.stack([objective(row) for row in rows]).sum()
        grads = torch.autograd.grad(total, tensors) if tensors else ()
    return [row.detach() for row in rows], grads


def assert_close(ours, theirs, atol=1e-5):
    """Equal but for rounding, which goes with a tensor's largest entries."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=atol * max(1.0, other.abs().max().item()), rtol=1e-5)


def plain_model(folder):
    """The library's own model on its own attention."""
    return AutoModel.from_pretrained(str(folder), dtype=torch.float32).eval().requires_grad_(False)


def besides(folder, batch, types=None):
    """What its forward pass is given beside the text: token types, or for a decoder the text behind the start token."""
    backbone = opened(folder)
    if backbone.shape.decoder_layers:
        start = json.loads((folder / "config.json").read_text())["decoder_start_token_id"]
        return {"decoder_input_ids": torch.nn.functional.pad(batch.ids[:, :-1], (1, 0), value=start)}
    return {"token_type_ids": batch.types if types is None else types} if backbone.token_types else {}


def plain_states(folder, batch):
    """What it makes of a batch."""
    model = plain_model(folder)
    return model(input_ids=batch.ids, attention_mask=batch.mask.long(), **besides(folder, batch)).last_hidden_state


def cache_route(model, batch, kv):
    """States by `past_key_values`; the library shifts positions by the cache's length itself."""
    cache, rows = DynamicCache(), len(batch)
    for layer, (k, v, _) in kv.items():
        cache.update(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1), layer)
    seen = torch.ones(rows, cache.get_seq_length(), dtype=torch.long)
    mask = torch.cat([seen, batch.mask.long()], 1)
    types = {"token_type_ids": batch.types} if hasattr(model.config, "type_vocab_size") else {}
    return model(input_ids=batch.ids, attention_mask=mask, past_key_values=cache, **types).last_hidden_state


def assert_equals_cache_route(folder):
    backbone = loaded(folder)
    batch = collate(make_rows(backbone), pad_id(backbone))
    injection = deep(backbone, 3)
    ours, our_grads = real_states(backbone, batch, injection)
    states = cache_route(plain_model(folder), batch, injection.kv["encoder"])
    theirs = [row[mask] for row, mask in zip(states, batch.mask, strict=True)]
    their_grads = torch.autograd.grad(torch.stack([objective(row) for row in theirs]).sum(), leaves(injection))
    assert_close(ours, [row.detach() for row in theirs])
    assert_close(our_grads, their_grads)
    assert all(grad.abs().max() > 1e-4 for grad in our_grads)


# Injection


@of_families(*CACHED)
def test_prefix_equals_the_cache_route_in_outputs_and_gradients(folder):
    assert_equals_cache_route(folder)


@of_families(*[name for name in FAMILIES if name not in (*UNPLACED, *DECODERS)])
def test_the_keys_and_values_of_a_text_stand_for_it(folder):
    """A text's beginning as a prefix is as good as itself; not in DeBERTa, where a prefix has no relative position.

    Nor where a decoder is given the rest of the text alone.
    """
    backbone = loaded(folder)
    backbone.base.config.local_attention = 64  # ModernBERT's window must not part the text from its beginning
    (row,) = make_rows(backbone, (9,))
    whole = collate([row], pad_id(backbone))
    backbone.slot.seen = {}
    (expected,), _ = real_states(backbone, whole, Injection())
    seen, backbone.slot.seen = backbone.slot.seen, None
    kv = {layer: KV(k[:, :, :4].clone(), v[:, :, :4].clone()) for layer, (k, v) in seen.items()}
    assert list(kv) == list(range(backbone.shape.layers))
    rest = collate([Row(0, row.ids[4:], row.types[4:], {"cls": [0]}, target=0)], pad_id(backbone))
    with torch.no_grad():
        injection = Injection(kv={"encoder": kv}, offset=4)
        with backbone.injected(injection):
            found = backbone(rest, injection).states
    assert_close([found[0]], [expected[4:]])


@of_families(*DEBERTAS)
def test_prefix_in_disentangled_attention_is_that_written_out(folder):
    """The prefix's scores are q.k over the common scale, its relative ones 0; outputs and gradients."""
    backbone = loaded(folder)
    batch = collate(make_rows(backbone), pad_id(backbone))
    injection = deep(backbone, 3)
    ours, our_grads = real_states(backbone, batch, injection)
    model = plain_model(folder)
    for layer, kv in injection.kv["encoder"].items():
        write_out(model.encoder.layer[layer].attention.self, kv)
    states = model(input_ids=batch.ids, attention_mask=batch.mask.long()).last_hidden_state
    theirs = [row[mask] for row, mask in zip(states, batch.mask, strict=True)]
    their_grads = torch.autograd.grad(torch.stack([objective(row) for row in theirs]).sum(), leaves(injection))
    assert_close(ours, [row.detach() for row in theirs])
    assert_close(our_grads, their_grads)
    assert all(grad.abs().max() > 1e-4 for grad in our_grads)


def write_out(attention, kv):
    """Replace disentangled attention by its sums (arXiv 2006.03654, equation 4), one pair of tokens at a time."""

    def heads(x):
        return x.unflatten(-1, (4, -1)).transpose(-3, -2)  # [..., A, N, D]

    def projections(x, table):
        if not hasattr(attention, "in_proj"):
            q, k, v = (heads(getattr(attention, f"{n}_proj")(x)) for n in ("query", "key", "value"))
            shared = attention.share_att_key
            to_key = attention.key_proj if shared else attention.pos_key_proj
            to_query = attention.query_proj if shared else attention.pos_query_proj
            return q, k, v, heads(to_query(table)), heads(to_key(table))
        q, k, v = heads(attention.in_proj(x)).chunk(3, -1)
        q, v = q + heads(attention.q_bias[None]), v + heads(attention.v_bias[None])
        return q, k, v, heads(attention.pos_q_proj(table)), heads(attention.pos_proj(table))

    def forward(x, mask, *_, relative_pos, rel_embeddings, **__):
        q, k, v, pos_q, pos_k = projections(x, rel_embeddings)
        scores = q @ k.transpose(-1, -2)
        middle = len(rel_embeddings) // 2
        for i in range(x.shape[1]):
            for j in range(x.shape[1]):
                to_position = (q[:, :, i] * pos_k[:, middle + relative_pos[0, i, j]]).sum(-1)
                from_position = (k[:, :, j] * pos_q[:, middle - relative_pos[0, j, i]]).sum(-1)
                scores[:, :, i, j] = scores[:, :, i, j] + to_position + from_position
        rows = len(x)
        scores = torch.cat([q @ kv.k.expand(rows, -1, -1, -1).transpose(-1, -2), scores], -1) / (3 * q.shape[-1]) ** 0.5
        seen = torch.cat([torch.ones(*mask.shape[:3], kv.k.shape[2], dtype=torch.bool), mask.bool()], -1)
        weights = scores.masked_fill(~seen, -1e9).softmax(-1)
        found = weights @ torch.cat([kv.v.expand(rows, -1, -1, -1), v], 2)
        return found.transpose(1, 2).flatten(2), None

    attention.forward = forward


@of_families("modernbert")
def test_prefix_is_exempt_from_the_local_window(folder):
    """Attention of a local layer, written out: a token sees two to either side, and the whole prefix."""
    backbone = loaded(folder)
    (row,) = make_rows(backbone, (12,))
    batch = collate([row], pad_id(backbone))
    injection = deep(backbone, 3)
    caught = {}
    local = backbone.attentions()[1]
    hook = local.register_forward_hook(
        lambda module, args, kwargs, out: caught.update(x=args[0], out=out[0], **kwargs), with_kwargs=True
    )
    real_states(backbone, batch, injection)
    hook.remove()
    assert backbone.base.config.layer_types == ["full_attention", *["sliding_attention"] * 2, "full_attention"]
    q, k, v = local.Wqkv(caught["x"]).view(12, 3, 4, 8).permute(1, 2, 0, 3)
    cos, sin = (part[0] for part in caught["position_embeddings"])
    q, k = (x * cos + torch.cat([-x[..., 4:], x[..., :4]], -1) * sin for x in (q, k))
    places = torch.arange(12)
    near = (places[:, None] - places).abs() <= 2
    prefix = injection.kv["encoder"][1]
    scores = torch.cat([q @ prefix.k[0].mT, (q @ k.mT).masked_fill(~near, float("-inf"))], -1) / 8**0.5
    expected = local.Wo((scores.softmax(-1) @ torch.cat([prefix.v[0], v], 1)).transpose(0, 1).flatten(1))
    assert not near[0, 3]
    torch.testing.assert_close(caught["out"][0], expected, atol=1e-5, rtol=1e-5)


@of_families("albert")
def test_each_application_of_a_shared_layer_has_its_own_prefix(folder):
    backbone = loaded(folder)
    assert len(backbone.attentions()) < backbone.shape.layers
    batch = collate(make_rows(backbone), pad_id(backbone))
    injection = deep(backbone, 3)
    kv = injection.kv["encoder"]
    first, _ = real_states(backbone, batch, injection)
    again, _ = real_states(backbone, batch, injection)
    swapped, _ = real_states(backbone, batch, Injection(kv={"encoder": {**kv, 0: kv[1], 1: kv[0]}}, offset=3))
    assert_close(again, first, atol=0)
    assert not torch.allclose(swapped[0], first[0], atol=1e-3)


def test_albert_counts_its_applications(albert_folder):
    backbone = loaded(albert_folder)
    backbone.base.encoder.config.num_hidden_layers = 3
    with pytest.raises(RuntimeError, match="3 applications of attention where 4 have a prefix"):
        backbone(collate(make_rows(backbone), pad_id(backbone)), Injection())


def test_prefix_equals_the_cache_route_on_a_pretrained_checkpoint(shared):
    assert_equals_cache_route(shared / "models" / "minilm-l6-mlm")


def test_no_prompt_is_the_plain_model(folder, backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    ours, _ = real_states(backbone, batch, NoPrompt()(batch.example))
    theirs = [row[mask] for row, mask in zip(plain_states(folder, batch), batch.mask, strict=True)]
    assert_close(ours, theirs)


def test_prompt_length_0_is_the_plain_model(backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    empty = Deep(backbone.shape, None, length=0)(batch.example)
    nothing_in_front = Injection(front=torch.zeros(1, 0, backbone.shape.embed))
    plain, _ = real_states(backbone, batch, Injection())
    for injection in (empty, nothing_in_front):
        with torch.no_grad(), backbone.injected(injection):
            states = backbone(batch, injection).states
        assert_close([row[mask] for row, mask in zip(states, batch.mask, strict=True)], plain, atol=1e-6)


def test_prefix_changes_every_row_at_every_token(backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    plain, _ = real_states(backbone, batch, Injection())
    changed, _ = real_states(backbone, batch, deep(backbone, 3))
    for one, other in zip(plain, changed, strict=True):
        assert ((one - other).abs().amax(-1) > 1e-3).all()


@of_families(*[name for name in FAMILIES if name not in UNPLACED])
def test_offset_shifts_positions_and_nothing_else_does(backbone):
    """In ModernBERT, which has no absolute positions, too: the text moves away from a prefix that is not rotated."""
    batch = collate(make_rows(backbone), pad_id(backbone))
    shifted = deep(backbone, 3)
    left = Injection(kv=shifted.kv, offset=0)
    assert not torch.allclose(
        real_states(backbone, batch, shifted)[0][0], real_states(backbone, batch, left)[0][0], atol=1e-3
    )
    per_row = Injection(kv=shifted.kv, offset=torch.tensor([3, 3, 3]))
    assert_close(real_states(backbone, batch, shifted)[0], real_states(backbone, batch, per_row)[0], atol=0)


@of_families(*UNPLACED, "modernbert")
def test_offset_without_absolute_positions(folder, backbone):
    """Shifting the text alone changes nothing; in DeBERTa and T5, shifting it against a prefix does not either."""
    batch = collate(make_rows(backbone), pad_id(backbone))
    assert_close(
        real_states(backbone, batch, Injection(offset=3))[0], real_states(backbone, batch, Injection())[0], atol=1e-5
    )
    shifted = deep(backbone, 3)
    if folder.name.startswith(("deberta", "t5")):
        left = Injection(kv=shifted.kv, offset=0)
        assert_close(real_states(backbone, batch, shifted)[0], real_states(backbone, batch, left)[0], atol=0)


def test_order_of_prefix_rows_does_not_matter(backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    injection = deep(backbone, 4)
    order = torch.tensor([2, 0, 3, 1])
    permuted = changed(injection, lambda kv: KV(kv.k[:, :, order], kv.v[:, :, order]))
    keys_only = changed(injection, lambda kv: KV(kv.k[:, :, order], kv.v))
    expected, _ = real_states(backbone, batch, injection)
    found, _ = real_states(backbone, batch, permuted)
    torn, _ = real_states(backbone, batch, keys_only)
    assert_close(found, expected)
    assert not torch.allclose(torn[0], expected[0], atol=1e-3)


@pytest.mark.parametrize("kind", ["none", "deep", "front", "slots"])
@pytest.mark.parametrize(("side", "multiple"), [("right", 8), ("right", 32), ("left", 1), ("left", 8), ("left", 32)])
def test_padding_does_not_matter(backbone, kind, side, multiple):
    injection = {
        "none": Injection(),
        "deep": deep(backbone, 3),
        "front": front(backbone, 3),
        "slots": slotted(backbone, 2),
    }[kind]
    rows = make_rows(backbone, slots=2 if kind == "slots" else 0)
    tight = real_states(backbone, collate(rows, pad_id(backbone)), injection)
    batch = collate(rows, pad_id(backbone), side=side, multiple=multiple)
    padded = real_states(backbone, batch, injection)
    assert batch.ids.shape[1] % multiple == 0
    assert batch.mask[1, 0] == (side == "right")
    assert_close(padded[0], tight[0])
    assert_close(padded[1], tight[1], atol=5e-5)


@pytest.fixture
def packs(monkeypatch):
    """packs(True): every padded pass is packed from now on; packs(False): none is."""
    return lambda always: monkeypatch.setattr(packing, "PADDING", 0.0 if always else 1.0)


@pytest.mark.parametrize("kind", ["none", "deep", "front", "slots", "rows"])
def test_a_packed_pass_is_a_padded_one(folder, backbone, packs, kind):
    """States and gradients are the same; layers are given the tokens that are there and no others."""
    injection = {
        "none": Injection(),
        "deep": deep(backbone, 3),
        "front": front(backbone, 3),
        "slots": slotted(backbone, 2),
        "rows": join([deep(backbone, 3), deep(backbone, 1, layers=[1], seed=9), Injection()], [1, 1, 1]),
    }[kind]
    batch = collate(make_rows(backbone, (9, 4, 5), slots=2 if kind == "slots" else 0), pad_id(backbone))
    found, given = {}, []
    if packs_at_all := backbone.model_type not in ("deberta", "deberta-v2", "t5", "bart"):
        backbone.attentions()[0].register_forward_pre_hook(
            lambda _, args, named: given.append(tuple((*args, *named.values())[0].shape[:2])), with_kwargs=True
        )
    for always in (False, True):
        packs(always)
        found[always] = real_states(backbone, batch, injection)
    assert_close(found[True][0], found[False][0])
    assert_close(found[True][1], found[False][1])
    if packs_at_all and kind != "front":
        assert {(3, 9), (1, 18)} <= set(given)


@of_families("qwen3")
def test_a_packed_pass_has_the_windows_of_its_rows(folder, tmp_path, packs):
    """A token sees those right before it in its own row."""
    packs(True)
    rows = {}
    for window in (3, 99):
        changed_folder = shutil.copytree(folder, tmp_path / str(window))
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        local_ones = {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 0}
        kinds = ["sliding_attention"] * config["num_hidden_layers"]
        (changed_folder / "config.json").write_text(json.dumps({**config, **local_ones, "layer_types": kinds}))
        backbone = loaded(changed_folder)
        texts, injection = make_rows(backbone, (20, 4, 13)), front(backbone, 3)
        rows[window] = real_states(backbone, collate(texts, pad_id(backbone)), injection)[0]
        alone = [real_states(backbone, collate([text], pad_id(backbone)), injection)[0][0] for text in texts]
        assert_close(rows[window], alone)
    assert not torch.allclose(rows[3][0], rows[99][0], atol=0.01)


@of_families("bert", "modernbert", "gpt2", "llama")
def test_a_packed_pass_teaches_the_weights_the_same(folder, packs):
    """Those of word embeddings, positions and norms, too."""
    found = {}
    for always in (False, True):
        packs(always)
        backbone = loaded(folder)
        backbone.tune("all")
        batch = collate(make_rows(backbone, (9, 4, 5)), pad_id(backbone))
        states = backbone(batch, Injection()).states
        objective(torch.cat([row[mask] for row, mask in zip(states, batch.mask, strict=True)])).backward()
        found[always] = [p.grad for p in backbone.base.parameters() if p.grad is not None]
    assert_close(found[True], found[False])


def test_a_pass_of_little_padding_is_not_packed():
    for used, apart, packed in (
        (4, True, False),
        (2, True, False),
        (1, True, True),
        (4, False, False),
        (3, False, True),
    ):
        mask = torch.tensor([[True] * 4, [True] * used + [False] * (4 - used)])
        assert (packing.worth(mask, apart) is not None) == packed


def varlen_by_rows(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa):
    """What torch documents of `varlen_attn`, row by row on a CPU; causal queries are the last of as many keys."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert (len(query), len(key), len(value)) == (cu_seq_q[-1], cu_seq_k[-1], cu_seq_k[-1])
    assert cu_seq_q.diff().max() <= max_q
    assert cu_seq_k.diff().max() <= max_k
    found = []
    for places, key_places in zip(pairwise(cu_seq_q.tolist()), pairwise(cu_seq_k.tolist()), strict=True):
        q, k, v = query[slice(*places)], key[slice(*key_places)], value[slice(*key_places)]
        mask = torch.ones(len(q), len(k), dtype=torch.bool)
        if window_size == (-1, 0):
            mask = mask.tril(len(k) - len(q))
        heads = [part.transpose(0, 1)[None] for part in (q, k, v)]
        states = scaled_dot_product_attention(*heads, attn_mask=mask, scale=scale, enable_gqa=enable_gqa)
        found.append(states[0].transpose(0, 1))
    return torch.cat(found)


@pytest.fixture
def varlen_calls(monkeypatch):
    """A CPU takes the part of a GPU; the list of each call's numbers of queries and keys."""
    calls = []

    def kernel(query, key, *given, **named):
        calls.append((len(query), len(key)))
        return varlen_by_rows(query, key, *given, **named)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    monkeypatch.setattr(varlen, "fits", lambda *_: True)
    return calls


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", ["none", "deep", "front", "slots", "rows"])
def test_attention_of_rows_of_several_lengths_is_that_of_padded_ones(folder, backbone, varlen_calls, kind, side):
    """States and gradients are the same; no query and no key is padding."""
    injection, keys = {
        "none": (Injection(), 18),
        "deep": (deep(backbone, 3), 18 + 3 * 3),
        "front": (front(backbone, 3), 18 + 3 * 3),
        "slots": (slotted(backbone, 2), 18),
        "rows": (join([deep(backbone, 3), deep(backbone, 1, seed=9), Injection()], [1, 1, 1]), 18 + 3 + 1),
    }[kind]
    rows = make_rows(backbone, (9, 4, 5), slots=2 if kind == "slots" else 0)
    batch = collate(rows, pad_id(backbone), side=side)
    packed = real_states(backbone, batch, injection)
    seen = list(varlen_calls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PADDING_OF_VARLEN", 1.0)
        padded = real_states(backbone, batch, injection)
    assert_close(packed[0], padded[0])
    assert_close(packed[1], padded[1])
    if backbone.model_type in ("deberta", "deberta-v2", "t5", "bart"):
        assert not seen
    else:
        assert (18 + 9 * (kind == "front"), keys) in seen


@of_families("bert", "modernbert", "gpt2")
def test_rows_are_set_apart_where_the_kernel_has_no_answer(folder, varlen_calls):
    """It has no dropout, and its windows would shut out a prefix."""
    backbone = opened(folder, dropout=0.0, attention_dropout=0.1)
    backbone.load(lm=False)
    backbone.model.eval()
    rows = collate(make_rows(backbone, (9, 4, 5)), pad_id(backbone))
    assert not backbone.apart
    backbone(rows, Injection())
    windows = sum(getattr(part, "sliding_window", None) is not None for part in backbone.attentions())
    assert len(varlen_calls) == backbone.shape.layers - windows
    backbone.model.train()
    assert backbone.apart
    varlen_calls.clear()
    backbone(rows, Injection())
    assert not varlen_calls


def test_what_the_varlen_kernel_takes():
    query, cpu, gpu = torch.zeros(1, 2, 5, 16), torch.device("cpu"), torch.device("cuda")
    assert not varlen.fits(cpu, torch.bfloat16)
    assert not varlen.fits(gpu, torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "fits", lambda *_: True)
        assert varlen.takes(query, query, {"dropout": 0.0, "scaling": 0.25, "sliding_window": None})
        for beyond in ({"dropout": 0.1}, {"position_bias": query}, {"softcap": 30.0}, {"sliding_window": 4}):
            assert not varlen.takes(query, query, beyond)
        assert not varlen.takes(query[..., :12], query[..., :12], {})
        assert not varlen.takes(query.bfloat16(), query, {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@of_families("bert", "gpt2", "llama")
@pytest.mark.parametrize("kind", ["none", "deep", "rows"])
def test_the_varlen_kernel_of_a_gpu_is_the_attention_of_a_cpu(folder, kind):
    found = {}
    for device in ("cpu", "cuda"):
        backbone = loaded(folder)
        injection = {
            "none": Injection(),
            "deep": deep(backbone, 3),
            "rows": join([deep(backbone, 3), deep(backbone, 1, layers=[1], seed=9), Injection()], [1, 1, 1]),
        }[kind]
        batch = collate(make_rows(backbone, (9, 4, 5)), pad_id(backbone)).to(torch.device(device))
        backbone.model.to(device)
        moved = changed(injection, lambda kv, d=device: KV(*(t if t is None else t.to(d) for t in kv)))
        with torch.autocast(device, torch.bfloat16), backbone.injected(moved):
            assert backbone.apart == (device == "cpu")
            states = backbone(batch, moved).states
            objective(states[batch.mask].float().cpu()).backward()
        found[device] = states[batch.mask].float().cpu(), [t.grad for t in leaves(injection)]
    assert_close([found["cuda"][0]], [found["cpu"][0]], atol=0.05)
    assert_close(found["cuda"][1], found["cpu"][1], atol=0.1)


def test_a_prefix_a_row_reaches_its_own_row_only(backbone):
    rows = make_rows(backbone)
    together = deep(backbone, 3, rows=3)
    found, _ = real_states(backbone, collate(rows, pad_id(backbone)), together)
    for index, row in enumerate(rows):
        own = changed(together, lambda kv, i=index: KV(kv.k[i : i + 1], kv.v[i : i + 1]))
        alone, _ = real_states(backbone, collate([row], pad_id(backbone)), own)
        assert_close([found[index]], alone)


def test_rows_with_different_prompts_and_lengths_equal_each_row_alone(backbone):
    kinds = [
        (deep(backbone, 3, seed=1), 0, (7, 4)),
        (deep(backbone, 5, layers=[1, 3], seed=2), 0, (6,)),
        (Injection(), 0, (5,)),
        (front(backbone, 2, seed=3), 0, (4, 8)),
        (front(backbone, 4, seed=4), 0, (6,)),
        (slotted(backbone, 3, seed=5), 3, (7,)),
        (slotted(backbone, 1, seed=6), 1, (5, 3)),
        (Injection(kv={"encoder": random_kv(backbone, 1, [0], seed=7)}, offset=0), 0, (6,)),
    ]
    parts = [(injection, make_rows(backbone, lengths, slots)) for injection, slots, lengths in kinds]
    joint = join([injection for injection, _ in parts], [len(rows) for _, rows in parts])
    batch = collate([row for _, rows in parts for row in rows], pad_id(backbone))
    with backbone.injected(joint):
        states = backbone(batch, joint).states
        together = [row[mask] for row, mask in zip(states, batch.mask, strict=True)]
        tensors = [tensor for injection, _ in parts for tensor in leaves(injection)]
        grads = torch.autograd.grad(torch.stack([objective(row) for row in together]).sum(), tensors)
    alone, alone_grads = [], []
    for injection, rows in parts:
        states, gradient = real_states(backbone, collate(rows, pad_id(backbone)), injection)
        alone.extend(states)
        alone_grads.extend(gradient)
    assert_close([row.detach() for row in together], alone)
    assert_close(grads, alone_grads)


def test_join_of_one_is_itself_and_mixed_whole_embedding_is_refused(backbone):
    injection = deep(backbone, 2)
    assert join([injection], [5]) is injection
    doubled = Injection(front=torch.zeros(1, 2, backbone.shape.embed), whole_embedding=True)
    with pytest.raises(ValueError, match="whole_embedding cannot share a forward pass"):
        join([front(backbone, 2), doubled], [1, 1])


def test_slot_is_empty_outside_the_context(backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    injection = deep(backbone, 2)
    plain, _ = real_states(backbone, batch, Injection())
    with pytest.raises(RuntimeError), backbone.injected(injection):
        raise RuntimeError("half way")
    assert backbone.slot.kv == {}
    assert_close(real_states(backbone, batch, Injection())[0], plain, atol=0)


@pytest.mark.parametrize("packed", [False, True])
@of_families(*BUT_ALBERT)
def test_gradient_checkpointing_keeps_the_gradient(folder, packs, packed):
    packs(packed)
    found, passes = {}, {}
    for checkpointing in (False, True):
        backbone = loaded(folder)
        if checkpointing:
            backbone.checkpointing()
        backbone.model.train()
        calls = []
        backbone.attentions()[2].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        batch = collate(make_rows(backbone), pad_id(backbone))
        found[checkpointing] = real_states(backbone, batch, deep(backbone, 3))
        passes[checkpointing] = len(calls)
    assert passes == {False: 1, True: 2}
    assert_close(found[True][0], found[False][0], atol=0)
    assert_close(found[True][1], found[False][1], atol=1e-6)


@of_families("albert")
def test_albert_has_no_gradient_checkpointing(folder):
    with pytest.raises(PtuneError) as caught:
        loaded(folder).checkpointing()
    assert str(caught.value) == (
        "gradient_checkpointing: not supported for ALBERT, whose shared layers transformers cannot recompute"
    )


# Prompts in front of the text and in slots


def test_front_comes_back_in_the_coordinates_of_the_rows(folder, backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    injection = front(backbone, 3)
    with torch.no_grad():
        found = backbone(batch, injection).states
    model = plain_model(folder)
    embeds = torch.cat([injection.front.detach().expand(3, -1, -1), model.get_input_embeddings()(batch.ids)], 1)
    types = torch.cat([torch.zeros(3, 3, dtype=torch.long), batch.types], 1)
    states = model(
        inputs_embeds=embeds,
        attention_mask=torch.cat([torch.ones(3, 3, dtype=torch.long), batch.mask.long()], 1),
        **besides(folder, batch, types),
    ).last_hidden_state
    in_front = 0 if backbone.shape.decoder_layers else 3
    assert found.shape == (3, 7, backbone.shape.hidden)
    assert_close(
        [row[mask] for row, mask in zip(found, batch.mask, strict=True)],
        [row[in_front:][mask] for row, mask in zip(states, batch.mask, strict=True)],
    )


def test_slots_that_hold_word_embeddings_are_those_words(backbone):
    rows = make_rows(backbone, slots=2)
    words = torch.tensor([[9, 11]])
    injection = Injection(slots=backbone.base.get_input_embeddings()(words).detach())
    spelled = [Row(r.example, [r.ids[0], 9, 11, *r.ids[3:]], r.types, r.read) for r in rows]
    found, _ = real_states_without_gradient(backbone, collate(rows, pad_id(backbone)), injection)
    expected, _ = real_states(backbone, collate(spelled, pad_id(backbone)), Injection())
    assert_close(found, expected)


def real_states_without_gradient(backbone, batch, injection):
    with torch.no_grad(), backbone.injected(injection):
        states = backbone(batch, injection).states
    return [row[mask] for row, mask in zip(states, batch.mask, strict=True)], ()


def test_embedded_pads_are_those_of_a_mask_of_ones(deberta_v2_folder, monkeypatch):
    """As the published code's DeBERTa v2 has them: a convolution reads them at the ends of texts alone."""
    plain = opened(deberta_v2_folder, dropout=0.0, attention_dropout=0.0)
    quirk = opened(deberta_v2_folder, dropout=0.0, attention_dropout=0.0, embed_pads=True)
    for each in (plain, quirk):
        each.load(lm=False)
        each.model.eval()
    batch = collate(make_rows(plain, lengths=[9, 4]), pad_id(plain))
    ours, theirs = (real_states_without_gradient(each, batch, deep(each, 3))[0] for each in (plain, quirk))
    assert_close(ours[0], theirs[0])
    assert (ours[1] - theirs[1]).abs().max() > 1e-3
    model = plain_model(deberta_v2_folder)
    embed = model.embeddings.forward
    monkeypatch.setattr(model.embeddings, "forward", lambda mask, **given: embed(mask=torch.ones_like(mask), **given))
    states = model(input_ids=batch.ids, attention_mask=batch.mask.long(), token_type_ids=batch.types).last_hidden_state
    found = real_states_without_gradient(quirk, batch, Injection())[0]
    for row, mask, own in zip(states, batch.mask, found, strict=True):
        assert_close(row[mask], own)


@of_families(*[name for name in FAMILIES if name not in (*CAUSAL, *DECODERS)])
def test_whole_embedding_embeds_the_text_twice(folder, backbone):
    batch = collate(make_rows(backbone), pad_id(backbone))
    once = front(backbone, 2)
    twice = Injection(front=once.front, whole_embedding=True)
    found, _ = real_states(backbone, batch, twice)
    model = plain_model(folder)
    places = torch.arange(7) + (2 if "roberta" in folder.name else 0)
    asked = {"token_type_ids": batch.types, "position_ids": places.expand(3, -1)}
    if folder.name.startswith(("distilbert", "modernbert")):
        asked.pop("token_type_ids")
    if folder.name.startswith("modernbert"):
        asked.pop("position_ids")
    embedded = model.embeddings(input_ids=batch.ids, **asked)
    states = model(
        inputs_embeds=torch.cat([once.front.detach().expand(3, -1, -1), embedded], 1),
        attention_mask=torch.cat([torch.ones(3, 2, dtype=torch.long), batch.mask.long()], 1),
    ).last_hidden_state
    assert_close(found, [row[2:][mask] for row, mask in zip(states, batch.mask, strict=True)])
    assert not torch.allclose(found[0], real_states(backbone, batch, once)[0][0], atol=1e-2)


@of_families("gpt2", "opt")
def test_whole_embedding_of_causal_models_adds_positions_twice(folder, backbone):
    batch = collate(make_rows(backbone, (7, 7)), pad_id(backbone))
    injection = Injection(whole_embedding=True)
    found, _ = real_states(backbone, batch, injection)
    model = plain_model(folder)
    table = model.wpe.weight if folder.name.startswith("gpt2") else model.decoder.embed_positions.weight[2:]
    states = model(inputs_embeds=model.get_input_embeddings()(batch.ids) + table[:7]).last_hidden_state
    assert_close(found, list(states))


@of_families("modernbert", *ROTARY)
def test_rotary_frequencies_keep_their_digits(folder, settings):
    """In bfloat16 the angle of a position would be off by a tenth within some hundred tokens."""
    s = settings("method=ptv2", "task=rte", "backbone=local", f"backbone.path={folder}", "precision=bfloat16",
                 "prompt_length.value=2", "data.max_length=64")  # fmt: skip
    model = build.assemble([s], build.leaf(s.task))
    frequencies = [b for name, b in model.backbone.named_buffers() if name.endswith("inv_freq")]
    assert frequencies
    assert all(buffer.dtype == torch.float32 for buffer in frequencies)
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}


@of_families(*CAUSAL)
def test_a_token_sees_those_before_it(backbone):
    """And the prefix; another last token changes no state but its own."""
    (row,) = make_rows(backbone, (6,))
    other = Row(0, [*row.ids[:5], row.ids[5] + 1], row.types, row.read)
    injection = deep(backbone, 3)
    (one,), (two,) = (real_states(backbone, collate([each], pad_id(backbone)), injection)[0] for each in (row, other))
    assert_close([one[:5]], [two[:5]], atol=0)
    assert not torch.allclose(one[5], two[5], atol=1e-3)


def test_positions_count_real_tokens_and_shift():
    from ptune.backbones.bert import Bert
    from ptune.backbones.roberta import Roberta

    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1]]).bool()
    bert = Bert("x", 1, 1, 1, 1, 1, False, False)
    assert bert.position_ids(mask, 0)[mask].tolist() == [0, 1, 2, 0, 1]
    assert bert.position_ids(mask, 5)[mask].tolist() == [5, 6, 7, 5, 6]
    assert bert.position_ids(mask, torch.tensor([5, 1]))[mask].tolist() == [5, 6, 7, 1, 2]
    roberta = Roberta("x", 1, 1, 1, 1, 1, False, False)
    roberta.model = torch.nn.Identity()
    roberta.model.base_model = torch.nn.Identity()
    roberta.model.base_model.config = type("Config", (), {"pad_token_id": 1})
    assert roberta.position_ids(mask, 0).tolist() == [[2, 3, 4, 1], [1, 1, 2, 3]]
    assert roberta.position_ids(mask, 5).tolist() == [[7, 8, 9, 1], [1, 1, 7, 8]]
    assert roberta.position_ids(mask, torch.tensor([5, 1])).tolist() == [[7, 8, 9, 1], [1, 1, 3, 4]]


@pytest.mark.parametrize("kind", ["deep", "front"])
def test_the_last_position_of_the_model_can_be_used(backbone, kind):
    rows = make_rows(backbone, lengths=(backbone.shape.positions - 3,))
    injection = deep(backbone, 3) if kind == "deep" else front(backbone, 3)
    states, _ = real_states(backbone, collate(rows, pad_id(backbone)), injection)
    assert states[0].isfinite().all()


# The canary


def a_row(backbone):
    return collate(make_rows(backbone, lengths=(5,)), pad_id(backbone))


def test_canary_passes(backbone):
    backbone.canary(a_row(backbone))
    assert backbone.slot.kv == {}


def test_canary_catches_a_backbone_that_ignores_prefixes(backbone):
    for attention in backbone.attentions():
        del attention.ptune_slot
    with pytest.raises(PtuneError) as caught:
        backbone.canary(a_row(backbone))
    assert str(caught.value) == (
        f"backbone {backbone.name} ignores prefixes: a random one left its output or gradient unchanged; "
        "deep prompts cannot be trained on it"
    )


@of_families(*[name for name in FAMILIES if name not in DEBERTAS])
def test_canary_catches_an_attention_that_is_not_ours(backbone):
    """DeBERTa's attention is transformers' own, with hooks."""
    for attention in backbone.attentions():
        attention.config._attn_implementation = "sdpa"
    with pytest.raises(PtuneError, match="ignores prefixes"):
        backbone.canary(a_row(backbone))


@of_families(*BUT_ALBERT)
@pytest.mark.parametrize("layer", [0, 3])
def test_canary_catches_a_single_deaf_layer(backbone, layer):
    """ALBERT's layers are deaf together."""
    del backbone.attentions()[layer].ptune_slot
    with pytest.raises(PtuneError, match="ignores prefixes"):
        backbone.canary(a_row(backbone))


def test_canary_does_not_depend_on_rounding(backbone):
    """A backbone whose last LayerNorm is plain has states of constant square sum."""
    with torch.no_grad():
        for name, parameter in backbone.base.named_parameters():
            if "norm" in name.lower():
                parameter.fill_(float(name.endswith("weight")))
    seen = []
    original = torch.autograd.grad
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", lambda *a, **k: seen.append(original(*a, **k)) or seen[-1])
        backbone.canary(a_row(backbone))
    assert min(grad.abs().max() for grad in seen[0]) > 1e-4


# Loading


def test_language_model_logits_are_the_librarys(folder):
    backbone = loaded(folder, lm=True)
    batch = collate(make_rows(backbone), pad_id(backbone))
    ids = torch.tensor([7, 11, 5])
    with torch.no_grad():
        hidden = backbone(batch, Injection())
        found = hidden.words(hidden.states[:, 2], ids)
        legacy = {"legacy": "v2" in folder.name} if "deberta" in folder.name else {}
        library = getattr(transformers, backbone.lm_class).from_pretrained(str(folder), dtype=torch.float32, **legacy)
        library.eval()
        given = besides(folder, batch)
        logits = library(input_ids=batch.ids, attention_mask=batch.mask.long(), **given).logits
    torch.testing.assert_close(found, logits[:, 2, ids], atol=1e-5, rtol=1e-5)


def test_an_lm_head_that_is_not_there_is_not_made_up(electra_discriminator_folder):
    """Settings that say there is one do not make it so."""
    backbone = opened(electra_discriminator_folder, lm_head=True)
    with pytest.raises(PtuneError) as caught:
        backbone.load(lm=True)
    assert str(caught.value) == (
        f"backbone {backbone.name}: its checkpoint has no LM-head weights (generator_lm_head.bias); "
        "choose method/head=linear or a backbone with them"
    )


PROJECTIONS = {"key": 0, "value": 1, "k_lin": 0, "v_lin": 1, "key_proj": 0, "value_proj": 1, "k_proj": 0, "v_proj": 1}


@of_families(*[name for name in FAMILIES if name not in ("deberta", "modernbert", "gpt2", *ROTARY, *DECODERS)])
def test_key_values_are_those_of_the_text(folder, backbone):
    """Where a projection gives them alone; others are proven by standing for their text."""
    ids = [9, 7, 12]
    backbone.model.train()
    found = backbone.key_values(ids)
    assert backbone.model.training
    assert backbone.slot.seen is None
    caught = ([], [])
    model = plain_model(folder)
    for path, module in model.named_modules():
        name = path.rsplit(".", 1)[-1]
        if name in PROJECTIONS:
            module.register_forward_hook(lambda _, __, out, to=caught[PROJECTIONS[name]]: to.append(out))
    model(input_ids=torch.tensor([ids]))
    for layer in range(backbone.shape.layers):
        for which in (0, 1):
            expected = [out for out in caught[which] if out.shape[1] == 3][layer].view(1, 3, 4, 8).transpose(1, 2)
            torch.testing.assert_close(found[layer][which], expected, atol=1e-5, rtol=1e-5)


@of_families("deberta")
def test_key_values_of_a_fused_projection_have_its_bias(folder, backbone):
    found = backbone.key_values([9, 7, 12])
    model, caught = plain_model(folder), []
    for layer in model.encoder.layer:
        layer.attention.self.in_proj.register_forward_hook(lambda _, __, out: caught.append(out))
    model(input_ids=torch.tensor([[9, 7, 12]]))
    for layer, out in enumerate(caught):
        _, key, value = out.view(3, 4, 24).transpose(0, 1).chunk(3, -1)
        value = value + model.encoder.layer[layer].attention.self.v_bias.view(4, 1, 8)
        torch.testing.assert_close(found[layer][0][0], key, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[layer][1][0], value, atol=1e-5, rtol=1e-5)


@of_families(*[name for name in FAMILIES if name not in PLAIN])
def test_tune_chooses_what_learns(folder):
    backbone = loaded(folder)
    every = dict(backbone.model.named_parameters())
    backbone.tune("bias")
    learns = {name for name, p in every.items() if p.requires_grad}
    assert learns == {name for name in every if name.endswith("bias")}
    assert len(learns) > len(backbone.attentions()) * 6
    backbone.tune("all")
    assert all(p.requires_grad for p in every.values())
    backbone.tune("none")
    assert not any(p.requires_grad for p in every.values())


@of_families(*PLAIN)
def test_tune_bias_needs_biases(folder):
    with pytest.raises(PtuneError) as caught:
        loaded(folder).tune("bias")
    assert str(caught.value) == f"method.tune: 'bias', but backbone {opened(folder).name} has no biases"


@of_families("opt", *ROTARY)
def test_dropout_of_models_that_drop_by_a_function(folder):
    """What the config says is what the modules use; Llama's layout drops in attention alone."""
    kept, changed = opened(folder), opened(folder, dropout=0.3, attention_dropout=0.2)
    for backbone in (kept, changed):
        backbone.load(lm=False)
    usual = 0.1 if folder.name.startswith("opt") else 0.0
    for backbone, rate in ((kept, usual), (changed, 0.2)):
        for attention in backbone.attentions():
            assert getattr(attention, "attention_dropout", getattr(attention, "dropout", None)) == rate
    config = changed.base.config
    assert {getattr(config, name) for name in changed.dropouts} <= {0.3}


@of_families(*[name for name in FAMILIES if name not in ("opt", *ROTARY, *DECODERS)])
def test_dropout_is_the_checkpoints_or_the_settings(folder):
    kept, changed = opened(folder), opened(folder, dropout=0.3, attention_dropout=0.2)
    for backbone in (kept, changed):
        backbone.load(lm=False)
    usual = set() if any(name in folder.name for name in ("albert", "modernbert")) else {0.1}  # these drop nothing
    rates = [{m.p for m in b.base.modules() if isinstance(m, torch.nn.Dropout)} for b in (kept, changed)]
    assert rates[0] - {0.0} == usual
    assert rates[1] == {0.3, 0.2}
    assert {a.dropout.p for a in changed.attentions() if hasattr(a, "dropout")} <= {0.2}


def test_pooler_weights(bert_folder, pooled_bert_folder):
    assert opened(bert_folder).pooler_weights() is None
    weights = opened(pooled_bert_folder).pooler_weights()
    theirs = AutoModel.from_pretrained(str(pooled_bert_folder)).pooler.dense.state_dict()
    assert weights.keys() == {"weight", "bias"}
    assert all(torch.equal(weights[name], theirs[name]) for name in weights)


def test_pooler_weights_of_a_bin_checkpoint(pooled_bert_folder, tmp_path):
    shutil.copy(pooled_bert_folder / "config.json", tmp_path)
    model = AutoModel.from_pretrained(str(pooled_bert_folder))
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    backbone = opened(tmp_path, weights="bin")
    assert backbone.shape.pooler  # as the file says
    weights = backbone.pooler_weights()
    assert torch.equal(weights["weight"], model.pooler.dense.weight)
    assert torch.equal(weights["bias"], model.pooler.dense.bias)


def test_local_reads_sizes_and_heads_from_the_files(request):
    for name in (*FAMILIES, "pooled_bert", "electra_discriminator"):
        backbone = opened(request.getfixturevalue(f"{name}_folder"))
        shape = backbone.shape
        types = {"pooled_bert": "bert", "grouped_albert": "albert", "electra_discriminator": "electra", "t5_v1_1": "t5"}
        expected = types.get(name, "deberta_v2" if name == "deberta_v3" else name)
        assert backbone.model_type.replace("-", "_") == expected
        assert (shape.lm_head, shape.pooler) == (
            name not in ("pooled_bert", "electra_discriminator"),
            name == "pooled_bert",
        )
        assert (shape.layers, shape.embed) == (4, 16 if name in ("electra", "albert") else 32)
        of_keys = {"llama": (2, 8), "qwen3": (2, 16)}.get(name, (4, 8))
        assert (shape.heads, shape.head_dim, shape.hidden, shape.positions) == (*of_keys, 32, 192)
        assert shape.causal == (name in CAUSAL)
        assert shape.decoder_layers == (3 if name in DECODERS else 0)


@of_families(*DEBERTAS)
def test_a_deberta_that_detects_replaced_tokens_has_no_lm_head(folder):
    names = {"deberta.encoder.rel_embeddings.weight", "lm_predictions.lm_head.dense.weight"}
    family = type(opened(folder))
    assert family.has_lm_head(names)
    assert not family.has_lm_head({*names, "mask_predictions.dense.weight"})
    assert not family.has_lm_head({"deberta.encoder.rel_embeddings.weight"})


@of_families("deberta", "deberta_v2")
def test_the_lm_head_of_a_deberta_in_bin_weights(folder, tmp_path):
    """Published and transformers' own are told apart by their names here too."""
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, tmp_path)
    safe = loaded(folder, lm=True)
    torch.save(safe.model.state_dict(), tmp_path / "pytorch_model.bin")
    backbone = opened(tmp_path, weights="bin", lm_head=True)
    backbone.load(lm=True)
    assert backbone.model.config.legacy == (folder.name.startswith("deberta_v2"))
    found = backbone.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in safe.model.state_dict().items())


def test_albert_pooler_weights(tmp_path, albert_folder):
    model = AutoModel.from_pretrained(str(albert_folder))
    model.save_pretrained(tmp_path)
    backbone = opened(tmp_path)
    weights = backbone.pooler_weights()
    assert backbone.shape.pooler
    assert torch.equal(weights["weight"], model.pooler.weight)
    assert torch.equal(weights["bias"], model.pooler.bias)


@pytest.mark.parametrize(
    ("preset", "config"), [("modernbert_base", ModernBertConfig), ("albert_xxlarge_v2", AlbertConfig)]
)
def test_a_preset_has_the_sizes_that_its_family_begins_with(settings, preset, config):
    """transformers' default configuration is this checkpoint's."""
    backbone = build.leaf(settings(f"backbone={preset}", "data=local", "data.root=.").backbone)
    assert backbone.sizes(config().to_dict()).items() <= vars(backbone.shape).items()


def test_wrong_sizes_are_listed(bert_folder):
    backbone = opened(bert_folder, layers=5, hidden=64, positions=512)
    with pytest.raises(ConfigError) as caught:
        backbone.load(lm=False)
    config = bert_folder / "config.json"
    assert caught.value.problems == [
        f"backbone.layers: 5, but {config} says 4",
        f"backbone.hidden: 64, but {config} says 32",
        f"backbone.positions: 512, but {config} says 192",
    ]


def test_bin_weights_load_only_when_asked_for(bert_folder, tmp_path):
    for file in bert_folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, tmp_path)
    safe = plain_model(bert_folder)
    torch.save(safe.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(PtuneError) as caught:
        opened(tmp_path).load(lm=False)
    assert str(caught.value).endswith("; a checkpoint with only .bin weights needs backbone.weights=bin")
    assert "\n" not in str(caught.value)
    backbone = opened(tmp_path, weights="bin", dropout=0.0, attention_dropout=0.0)
    backbone.load(lm=False)
    for name, tensor in backbone.base.state_dict().items():
        assert torch.equal(tensor, safe.state_dict()[name])


def test_a_pickle_that_runs_code_is_never_unpickled(bert_folder, tmp_path):
    shutil.copy(bert_folder / "config.json", tmp_path)
    torch.save({"embeddings.word_embeddings.weight": Trap(tmp_path / "sprung")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        opened(tmp_path, weights="bin").load(lm=False)
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_tokenizer_that_takes_sentencepiece(deberta_v3_folder, tmp_path, monkeypatch):
    shutil.copy(deberta_v3_folder / "config.json", tmp_path)
    (tmp_path / "spm.model").touch()
    monkeypatch.setattr("ptune.backbones.find_spec", lambda name: None)
    with pytest.raises(PtuneError) as caught:
        opened(tmp_path).tokens()
    assert str(caught.value) == (
        f"backbone {tmp_path.name}: its only tokenizer file is spm.model, which needs sentencepiece: "
        "pip install 'ptune[sentencepiece]'"
    )


def test_a_folder_without_config_json(tmp_path):
    with pytest.raises(PtuneError) as caught:
        opened(tmp_path)
    assert str(caught.value) == f"backbone.path: {tmp_path} has no config.json; name the folder of a checkpoint"


def test_a_family_that_is_not_known(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberto"}))
    with pytest.raises(PtuneError) as caught:
        opened(tmp_path)
    assert str(caught.value) == (
        f"backbone.path: {tmp_path} is of family 'roberto', which ptune does not know; did you mean 'roberta'?"
    )

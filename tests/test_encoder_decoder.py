"""Encoder-decoders: what is read of them is what transformers' classes read, prefixes at three sites, texts written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_backbones import (
    DECODERS,
    T5S,
    deep,
    front,
    leaves,
    loaded,
    make_rows,
    objective,
    of_families,
    opened,
    pad_id,
    slotted,
)

from ptune.backbones import weight_names
from ptune.batch import EVERY, Row, collate
from ptune.errors import ConfigError, PtuneError
from ptune.injection import KV, Injection, Vocabulary, join
from ptune.prompts.deep import Deep
from ptune.templates.pattern import Pattern
from ptune.templates.plain import Plain

SITES = ["encoder", "decoder", "cross"]
OUTPUTS = ((9, 8, 7, 1), (6, 1), (11, 5, 12))


@pytest.fixture(params=DECODERS)
def folder(request):
    """Each family's tiny checkpoint in turn."""
    return request.getfixturevalue(f"{request.param}_folder")


@pytest.fixture
def backbone(folder):
    """A loaded backbone with its language-model head that does not drop."""
    return loaded(folder, lm=True)


def ended_rows(backbone, lengths=(7, 5, 4)):
    """Rows of random tokens that end with the end token, where they are read as a whole."""
    end = backbone.base.config.eos_token_id
    rows = [replace(row, ids=[*row.ids[:-1], end]) for row in make_rows(backbone, lengths)]
    return [replace(row, read={"cls": [len(row.ids) - 1]}) for row in rows]


def run(backbone, rows, injection=None, side="right"):
    injection = injection or Injection()
    batch = collate(rows, pad_id(backbone), side=side)
    with torch.no_grad(), backbone.injected(injection):
        return backbone(batch, injection)


def given_to(folder, kind, part, batch, **given):
    """What a class of transformers hands to its last part."""
    model = getattr(transformers, kind).from_pretrained(str(folder), dtype=torch.float32).eval()
    caught = []
    getattr(model, part).register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    with torch.no_grad():
        model(input_ids=batch.ids, attention_mask=batch.mask.long(), **given)
    return caught[0]


# What is read


def test_a_row_is_read_as_a_whole_where_transformers_classes_read_it(folder, backbone):
    rows = ended_rows(backbone)
    batch = collate(rows, pad_id(backbone))
    kind = "BartForSequenceClassification" if folder.name.startswith("bart") else "T5ForSequenceClassification"
    expected = given_to(folder, kind, "classification_head", batch)
    torch.testing.assert_close(run(backbone, rows).at(batch.read["cls"])[:, 0], expected, atol=1e-5, rtol=1e-5)


def test_answers_are_read_where_transformers_classes_read_them(folder, backbone):
    rows = [replace(row, read={**row.read, "context": [1, 2]}) for row in ended_rows(backbone, (6, 6))]
    batch = collate(rows, pad_id(backbone))
    kind = "BartForQuestionAnswering" if folder.name.startswith("bart") else "T5ForQuestionAnswering"
    expected = given_to(folder, kind, "qa_outputs", batch)
    torch.testing.assert_close(run(backbone, rows).states, expected, atol=1e-5, rtol=1e-5)


@of_families(*T5S)
def test_t5_tags_words_in_its_encoder_and_runs_nothing_else(folder, backbone):
    rows = [replace(row, read={**row.read, "words": [0, 2]}) for row in ended_rows(backbone, (6, 6))]
    batch = collate(rows, pad_id(backbone))
    backbone.base.decoder.register_forward_hook(lambda *_: pytest.fail("the decoder ran"))
    expected = given_to(folder, "T5ForTokenClassification", "classifier", batch)
    torch.testing.assert_close(run(backbone, rows).states, expected, atol=1e-5, rtol=1e-5)
    assert list(backbone.shape.of("token").sites) == ["encoder"]
    assert list(backbone.shape.of("sequence").sites) == SITES


@of_families("bart")
def test_bart_tags_words_in_its_decoder(backbone):
    rows = ended_rows(backbone)
    tagged = [replace(row, read={**row.read, "words": [0, 2]}) for row in rows]
    torch.testing.assert_close(run(backbone, tagged).states, run(backbone, rows).states)
    assert list(backbone.shape.of("token").sites) == SITES


@of_families(*T5S)
def test_t5_reads_a_mask_behind_the_sentinel(folder, backbone):
    """The word after start token and sentinel, of which the decoder is given no more than that."""
    sentinel = backbone.tokens().mask_id
    rows = [
        replace(row, ids=[*row.ids[:2], sentinel, *row.ids[3:]], read={"mask": [2]}) for row in ended_rows(backbone)
    ]
    library = transformers.T5ForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32).eval()
    words = torch.tensor([7, 11, 5])
    for side in ("right", "left"):
        batch = collate(rows, pad_id(backbone), side=side)
        hidden = run(backbone, rows, side=side)
        found = hidden.words(hidden.at(batch.read["mask"])[:, 0], words)
        with torch.no_grad():
            logits = library(
                input_ids=batch.ids,
                attention_mask=batch.mask.long(),
                decoder_input_ids=torch.tensor([[0, sentinel]] * 3),
            ).logits
        torch.testing.assert_close(found, logits[:, 1, words], atol=1e-4, rtol=1e-5)


@of_families("t5")
def test_t5_reads_one_mask_a_row(backbone):
    (row,) = ended_rows(backbone, (6,))
    with pytest.raises(PtuneError, match="reads one mask per text; choose a pattern with one mask"):
        run(backbone, [replace(row, read={"mask": [1, 2]})])


@of_families("bart")
def test_bart_reads_a_mask_in_its_place(folder, backbone):
    mask = backbone.tokens().mask_id
    rows = [replace(row, ids=[*row.ids[:2], mask, *row.ids[3:]], read={"mask": [2]}) for row in ended_rows(backbone)]
    batch = collate(rows, pad_id(backbone))
    hidden, words = run(backbone, rows), torch.tensor([7, 11, 5])
    library = transformers.BartForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32).eval()
    with torch.no_grad():
        logits = library(input_ids=batch.ids, attention_mask=batch.mask.long()).logits  # it shifts the text itself
    found = hidden.words(hidden.at(batch.read["mask"])[:, 0], words)
    torch.testing.assert_close(found, logits[:, 2, words], atol=1e-5, rtol=1e-5)


def test_rows_of_all_kinds_in_one_pass_are_read_as_each_alone(backbone):
    whole, tagged, cloze, text = ended_rows(backbone, (7, 6, 5, 4))
    mask = backbone.tokens().mask_id
    rows = [
        whole,
        replace(tagged, read={**tagged.read, "words": [0, 3]}),
        replace(cloze, ids=[*cloze.ids[:1], mask, *cloze.ids[2:]], read={"mask": [1]}),
        replace(text, read={}, output=(8, 9)),
    ]
    kinds = [deep(backbone, 3, seed=1), front(backbone, 2, seed=2), deep(backbone, 1, [0], seed=3), Injection()]
    together = run(backbone, rows, join(kinds, [1] * 4))
    for i, (row, injection) in enumerate(zip(rows, kinds, strict=True)):
        alone = run(backbone, [row], injection)
        for places in row.read.values():
            torch.testing.assert_close(together.states[i, places], alone.states[0, places], atol=1e-5, rtol=1e-4)
        if row.output:
            torch.testing.assert_close(together.output[i], alone.output[0], atol=1e-5, rtol=1e-4)


# How rows are made


def test_templates_end_rows_with_the_end_token_and_read_there(backbone):
    tokens = backbone.tokens()
    pattern = {"a": {"text": "{mask} is {x}."}, "b": {"text": "{x}? {mask}"}}
    example = transformers_example("The old mill", "A dog")
    for template in (Plain(tokens, ["x", "y"]), Pattern(tokens, ["x", "y"], pattern)):
        (row,) = template.rows(template.parts(0, example, None), None, 40)
        assert row.ids[-1] == tokens.end_id
        assert dict(row.read) == {"cls": [len(row.ids) - 1]}
    cloze = Pattern(tokens, ["x", "y"], pattern, mask=True)
    assert cloze.name == "b"
    (row,) = cloze.rows(cloze.parts(0, example, None), None, 40)
    assert list(row.read) == ["mask"]
    assert [row.ids[i] for i in row.read["mask"]] == [tokens.mask_id]
    assert Pattern(tokens, ["x", "y"], pattern, name="a", mask=True).name == "a"


def transformers_example(x, y):
    from ptune.batch import Example

    return Example("0", {"x": x, "y": y})


@of_families("t5")
def test_frames_and_sentinel_of_t5(backbone):
    tokens = backbone.tokens()
    assert (tokens.frames[1].after, tokens.frames[2].between, tokens.frames[2].after) == ((1,), (1,), (1,))
    assert tokens.tokenizer.convert_ids_to_tokens(tokens.mask_id) == "<extra_id_0>"


def test_a_tokenizer_without_a_frame_gets_one(settings):
    """The shipped one."""
    from ptune import build

    tokens = build.leaf(settings("backbone=tiny_encoder_decoder", "task=rte", "data=demo").backbone).tokens()
    assert tokens.tokenizer("a")["input_ids"] == tokens.encode("a")
    assert (tokens.frames[1].after, tokens.frames[2].between, tokens.frames[2].after) == ((1,), (1,), (1,))
    assert len(tokens.frames[2].between_types) == 1


# Prefixes at three sites


@pytest.mark.parametrize("site", SITES)
def test_each_site_changes_the_output_and_learns(backbone, site):
    batch = collate(ended_rows(backbone), pad_id(backbone))
    whole = deep(backbone, 3)
    injection = Injection(kv={site: whole.kv[site]})
    plain = run(backbone, ended_rows(backbone))
    with backbone.injected(injection):
        changed = backbone(batch, injection).states
        grads = torch.autograd.grad(objective(changed), leaves(injection))
    assert ((changed - plain.states)[batch.mask].abs().amax(-1) > 1e-3).float().mean() > 0.5
    assert len(grads) == 2 * backbone.shape.sites[site]
    assert all(grad.abs().max() > 1e-4 for grad in grads)


@pytest.mark.parametrize("site", SITES)
def test_the_canary_proves_each_site(backbone, site):
    batch = collate(ended_rows(backbone, (5,)), pad_id(backbone))
    backbone.canary(batch)
    modules = {
        "encoder": backbone.attentions,
        "decoder": backbone.decoder_attentions,
        "cross": backbone.cross_attentions,
    }[site]()
    del modules[-1].ptune_slot
    with pytest.raises(PtuneError, match="ignores prefixes"):
        backbone.canary(batch)


def test_a_site_that_is_not_there_is_no_place_for_a_prefix(bert_folder):
    backbone = loaded(bert_folder)
    prefix = {0: KV(torch.zeros(1, 4, 1, 8), torch.zeros(1, 4, 1, 8))}
    with (
        pytest.raises(RuntimeError, match="at cross would be ignored"),
        backbone.injected(Injection(kv={"cross": prefix})),
    ):
        pass


def test_a_deep_prompt_has_a_table_for_each_site(backbone):
    prompt = Deep(backbone.shape, None, 3, reparam="mlp", mid=6)
    kv = prompt(torch.tensor([0])).kv
    assert {site: list(layers) for site, layers in kv.items()} == {
        "encoder": [0, 1, 2, 3],
        "decoder": [0, 1, 2],
        "cross": [0, 1, 2],
    }
    assert prompt(torch.tensor([0])).offset == 0
    folded = prompt.fold()
    assert {name: tuple(tensor.shape) for name, tensor in folded.items()} == {
        "prefix": (3, 256),
        "decoder.prefix": (3, 192),
        "cross.prefix": (3, 192),
    }
    other = Deep(backbone.shape, None, 3)
    other.load({name: tensor.clone() for name, tensor in folded.items()})
    for site, layers in other(torch.tensor([0])).kv.items():
        for layer, found in layers.items():
            torch.testing.assert_close(found.k, kv[site][layer].k)
            torch.testing.assert_close(found.v, kv[site][layer].v)
    sum(t.square().sum() for layers in kv.values() for each in layers.values() for t in each[:2]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in prompt.parameters())


@pytest.mark.parametrize("sites", [["encoder"], ["decoder"], ["cross", "decoder"]])
def test_a_deep_prompt_at_some_sites(backbone, sites):
    prompt = Deep(backbone.shape, None, 3, layers="2-3", sites=sites)
    assert {site: list(layers) for site, layers in prompt(torch.tensor([0])).kv.items()} == {s: [1, 2] for s in sites}
    assert list(prompt.fold()) == ["prefix", *(["cross.prefix"] if len(sites) > 1 else [])]


@pytest.mark.parametrize("site", SITES)
def test_a_prompt_begins_with_the_keys_and_values_of_its_site(backbone, site):
    """Those of the encoder's states for the decoder's attention to it."""
    encode = backbone.tokens().encode
    text = "the old mill"
    real = Vocabulary(torch.zeros(1, 1), encode, lambda text, site: backbone.key_values(encode(text), site))
    length = len(encode(text))
    kv = Deep(backbone.shape, real, length, init="activations", init_text=text)(torch.tensor([0])).kv[site]
    caught = []
    module = {
        "encoder": backbone.attentions,
        "decoder": backbone.decoder_attentions,
        "cross": backbone.cross_attentions,
    }[site]()[1]
    projection = module.k if hasattr(module, "k") else module.k_proj
    projection.register_forward_hook(lambda _, __, out: caught.append(out))
    run(backbone, [Row(0, encode(text), [0] * length, {"cls": [0]})])
    torch.testing.assert_close(kv[1].k, caught[0].view(1, length, 4, 8).transpose(1, 2), atol=1e-5, rtol=1e-5)
    assert all(slot.seen is None for slot in backbone.slots.values())


def problems(settings, folder, *words):
    with pytest.raises(ConfigError) as caught:
        settings("method=ptv2", "backbone=local", f"backbone.path={folder}", "prompt_length.value=2", "data=local",
                 "data.root=.", "data.max_length=40", *words)  # fmt: skip
    return caught.value.problems


def test_sites_and_layers_that_are_not_there(settings, t5_folder, bert_folder):
    assert problems(settings, t5_folder, "task=rte", "method.prompt.sites=[decoders]") == [
        "method.prompt.sites: rte with this backbone does not use 'decoders'; did you mean 'decoder'?"
    ]
    assert problems(settings, t5_folder, "task=conll03", "method.prompt.sites=[cross]") == [
        "method.prompt.sites: conll03 with this backbone does not use 'cross'; one of: encoder"
    ]
    assert problems(settings, bert_folder, "task=rte", "method.prompt.sites=[encoder,cross]") == [
        "method.prompt.sites: rte with this backbone does not use 'cross'; one of: encoder"
    ]
    assert problems(settings, t5_folder, "task=rte", "method.prompt.sites=[]") == [
        "method.prompt.sites: must name at least one of encoder, decoder, cross"
    ]
    assert problems(settings, t5_folder, "task=rte", "method.prompt.layers=4") == [
        "method.prompt.layers: decoder: 4 is outside the 3 layers (1-3); did you mean '3'?"
    ]
    assert problems(settings, t5_folder, "task=rte", "cache_layers=true") == [
        "cache_layers: not supported for T5, whose layers are not a plain stack; leave it out"
    ]
    assert problems(settings, t5_folder, "task=rte", "+backbone.attention_dropout=0.1") == [
        "backbone.attention_dropout: T5 has no such setting; leave it out"
    ]


def test_prefixes_take_no_positions_of_an_encoder_decoder(settings, bart_folder):
    words = ["backbone=local", f"backbone.path={bart_folder}", "data=local", "data.root=.", "task=rte"]
    assert settings("method=ptv2", *words, "prompt_length.value=100", "data.max_length=192").data.max_length == 192
    assert settings("method=prompt_tuning", *words, "prompt_length.value=20").data.max_length == 172


# Texts that are written


def with_outputs(backbone):
    return [replace(row, output=output, read={}) for row, output in zip(ended_rows(backbone), OUTPUTS, strict=True)]


def injections(backbone):
    """None, deep, in front, in slots, and one of each kind for the three rows."""
    mixed = join([deep(backbone, 3, seed=1), front(backbone, 2, seed=2), Injection()], [1, 1, 1])
    return [Injection(), deep(backbone, 4), front(backbone, 3), slotted(backbone, 1), mixed]


def said(backbone, rows, injection=None, side="right", **how):
    injection = injection or Injection()
    batch = collate(rows, pad_id(backbone), side=side)
    with torch.no_grad(), backbone.injected(injection):
        return backbone(batch, injection).generate(end=1, **how)


def test_output_states_give_the_librarys_loss(folder, backbone):
    rows = with_outputs(backbone)
    batch = collate(rows, pad_id(backbone))
    hidden = run(backbone, rows)
    library = transformers.AutoModelForSeq2SeqLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    with torch.no_grad():
        theirs = library(input_ids=batch.ids, attention_mask=batch.mask.long(), labels=batch.output)
    logits = hidden.words(hidden.output, EVERY)
    torch.testing.assert_close(logits, theirs.logits, atol=1e-4, rtol=1e-5)
    ours = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.output.flatten(), ignore_index=-100)
    torch.testing.assert_close(ours, theirs.loss)


def test_a_text_begins_and_ends_as_the_tokenizer_has_it(folder, backbone):
    """BART's with <s> behind the decoder's start token, T5's with none; the longest is of what stands between."""
    tokens = backbone.tokens()
    text = "The old mill stands by the river."
    whole = tokens.tokenizer(text_target=text)["input_ids"]
    opening = [tokens.tokenizer.bos_token_id] if folder.name.startswith("bart") else []
    assert (backbone.opening, list(tokens.opening)) == (opening, opening)
    assert (whole[: len(opening)], whole[len(opening) :]) == (opening, [*tokens.encode(text), tokens.end_id])
    template = Plain(tokens, ["x"])
    template.generating([], 99)
    (row,) = template.rows(template.parts_with_text(0, transformers_example("x", "y"), text), None, 40)
    assert list(row.output) == whole
    template.generating([], 3)
    (row,) = template.rows(template.parts_with_text(0, transformers_example("x", "y"), text), None, 40)
    assert list(row.output) == whole[: len(opening) + 3]


@of_families("bart")
def test_bart_is_asked_behind_what_it_is_taught_behind(backbone):
    """The decoder is given its start token and <s>, then what it has written."""
    given = []
    for table in (backbone.base.decoder.embed_tokens, backbone.base.get_input_embeddings()):
        table.register_forward_hook(lambda _, args, out: given.append(args[0].tolist()))
    (row,) = ended_rows(backbone, (5,))
    (written,) = said(backbone, [row], limit=3, least=3)
    before = [backbone.start_id, backbone.tokens().tokenizer.bos_token_id]
    assert given[-4:] == [[[token]] for token in (*before, *written[:2])]
    given.clear()
    run(backbone, [replace(row, read={}, output=(before[1], *written))])
    assert given[-1] == [[*before, *written[:2]]]


@pytest.mark.parametrize("beams", [1, 4])
def test_search_is_that_of_transformers(backbone, beams):
    """Whose own cache would have as many layers as the encoder."""
    rows = ended_rows(backbone)
    batch = collate(rows, pad_id(backbone))
    options = {"max_new_tokens": 6, "min_new_tokens": 2, "num_beams": beams, "do_sample": False, "eos_token_id": 1}
    options |= {"bad_words_ids": [[7], [8]], "use_cache": False, "pad_token_id": 0}
    opening = backbone.opening
    if opening:  # as the published BARTs have it
        options |= {"forced_bos_token_id": opening[0], "max_new_tokens": 7, "min_new_tokens": 3}
    backbone.model.generation_config = transformers.GenerationConfig(decoder_start_token_id=backbone.start_id)
    with torch.no_grad():
        theirs = backbone.model.generate(batch.ids, attention_mask=batch.mask.long(), **options).tolist()
    assert all(row[: 1 + len(opening)] == [backbone.start_id, *opening] for row in theirs)
    theirs = [row[1 + len(opening) :] for row in theirs]
    found = said(backbone, rows, limit=6, least=2, beams=beams, banned=(7, 8))
    assert found == [
        row[: row.index(1)] if 1 in row else row[: len(own)] for row, own in zip(theirs, found, strict=True)
    ]
    assert {len(row) for row in found} != {0}


def test_kept_keys_and_values_say_what_whole_passes_say(backbone):
    """Of the source and all that was written, under each injection; and a prefix says something else."""
    row = ended_rows(backbone)[0]
    for injection in injections(backbone)[:4]:
        ids: list[int] = []
        for _ in range(5):
            hidden = run(backbone, [replace(row, read={}, output=(*backbone.opening, *ids, 1))], injection)
            ids.append(int(hidden.words(hidden.output[:, -1], EVERY).argmax()))
        expected = ids[: ids.index(1)] if 1 in ids else ids
        assert said(backbone, [row], injection, limit=5) == [expected]


@pytest.mark.parametrize("beams", [1, 3])
def test_rows_of_a_batch_say_what_each_says_alone(backbone, beams):
    rows = ended_rows(backbone)
    for injection in injections(backbone):
        together = said(backbone, rows, injection, side="left", limit=6, beams=beams)
        assert together == said(backbone, rows, injection, limit=6, beams=beams)
        for i, row in enumerate(rows):
            assert said(backbone, [row], injection.of(torch.tensor([i])), limit=6, beams=beams) == [together[i]]


@pytest.mark.parametrize("site", SITES)
def test_a_prefix_at_each_site_changes_what_is_written(backbone, site):
    rows = ended_rows(backbone)
    injection = Injection(kv={site: deep(backbone, 6).kv[site]})
    assert said(backbone, rows, injection, limit=8) != said(backbone, rows, limit=8)


def test_a_decoder_deeper_than_its_encoder_writes(t5_folder, tmp_path):
    config = transformers.T5Config(**{**json.loads((t5_folder / "config.json").read_text()), "num_layers": 1})
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    backbone = loaded(tmp_path, lm=True)
    assert backbone.shape.sites == {"encoder": 1, "decoder": 3, "cross": 3}
    assert len(said(backbone, ended_rows(backbone), deep(backbone, 2), limit=4, beams=2)) == 3


# Loading


@of_families("t5", "bart")
def test_an_encoder_alone_is_refused(folder, tmp_path):
    """transformers would draw the decoder at random."""
    shutil.copy(folder / "config.json", tmp_path)
    tensors = {k: v for k, v in load_file(folder / "model.safetensors").items() if "decoder." not in k}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    backbone = opened(tmp_path)
    assert not backbone.shape.lm_head
    with pytest.raises(PtuneError) as caught:
        backbone.load(lm=False)
    assert str(caught.value) == f"backbone {tmp_path.name}: its checkpoint has no decoder; choose one with a decoder"


@of_families("t5_v1_1")
def test_an_output_layer_of_its_own_stays_so(backbone):
    assert not torch.equal(backbone.model.lm_head.weight, backbone.base.get_input_embeddings().weight)
    assert not backbone.model.config.scale_decoder_outputs


@of_families("t5", "bart")
def test_a_checkpoint_without_its_head_is_tied(folder, backbone, tmp_path):
    """As BART is published."""
    transformers.AutoModel.from_pretrained(str(folder)).save_pretrained(tmp_path)
    assert not any(name.startswith(("lm_head", "final_logits")) for name in weight_names(tmp_path))
    other = loaded(tmp_path, lm=True)
    rows = ended_rows(backbone)
    torch.testing.assert_close(run(other, rows).states, run(backbone, rows).states)
    assert other.model.lm_head.weight is other.base.get_input_embeddings().weight


def test_a_bart_of_different_heads_is_refused(bart_folder, tmp_path):
    config = json.loads((bart_folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "decoder_attention_heads": 2}))
    with pytest.raises(PtuneError, match="different numbers of heads"):
        opened(tmp_path)


def test_dropout_is_the_checkpoints_or_the_settings(folder):
    kept, changed = opened(folder), opened(folder, dropout=0.3, attention_dropout=0.2)
    for backbone in (kept, changed):
        backbone.load(lm=False)
    t5 = folder.name.startswith("t5")
    for backbone, rate in ((kept, 0.1 if t5 else 0.0), (changed, 0.3 if t5 else 0.2)):
        assert {attention.dropout for attention in backbone.attentions()} == {rate}
    config = changed.base.config
    assert {getattr(config, name) for name in changed.dropouts} == {0.3}


@of_families(*T5S)
def test_t5_drops_from_random_numbers_of_its_thread(backbone):
    """In attention too, so that passes that go on at once draw what each would alone."""
    from ptune.dropout import seeded_generator

    for module in backbone.model.modules():
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.5
    backbone.model.train()
    rows, injection, state = ended_rows(backbone), deep(backbone, 2), torch.get_rng_state()
    batch = collate(rows, pad_id(backbone))

    def drawn(seed):
        with seeded_generator(seed), backbone.injected(injection):
            return backbone(batch, injection).states.detach()

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    assert torch.equal(torch.get_rng_state(), state)


# From the command line


@pytest.mark.parametrize(
    "words",
    [
        ["method=ptv2", "task=rte"],
        ["method=prefix", "task=conll03", "prompt_length.value=2"],
        ["method=prompt_tuning", "task=squad", "prompt_length.value=2"],
        ["method=pattern_finetune", "task=rte"],
        ["method=zero_shot", "task=rte"],
        ["method=ptuning", "method.template.name=pet4", "task=rte", "prompt_length.value=2"],
        ["method=finetune", "task=copa"],
        ["method=lora", "task=rte"],
    ],
    ids=" ".join,
)
def test_methods_run_on_the_shipped_one(ptune, tmp_path, words):
    sizes = ["data.demo.train=16", "data.demo.dev=8", "data.demo.test=8"]
    steps = [] if "method=zero_shot" in words else ["max_steps=2"]
    common = [
        "data=demo",
        "backbone=tiny_encoder_decoder",
        "tracker=none",
        "quiet=true",
        f"hydra.run.dir={tmp_path}/run",
    ]
    done = ptune("train", *words, *steps, *sizes, *common)
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "result.json").is_file()

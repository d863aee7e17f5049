"""LoRA files: written live by diffusers and PEFT, in kohya's names, and files that are refused by name."""

from __future__ import annotations

import copy
import json

import peft
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from engine.errors import RequestError
from tests.trainer.lora.examples import kohya, layers_of, lora_tensors, written
from trainer.lora.changes import Change
from trainer.lora.files import LoraFile, read_lora, write_lora
from trainer.lora.names import Place, original_name
from trainer.training.record import ClassRecord

PARTS = ("unet", "text_encoder")
MIDDLE = "mid_block.attentions.0.transformer_blocks.0"


def states(base):
    return {(part, name): t for part in PARTS for name, t in getattr(base, part).state_dict().items()}


def fused_by_diffusers(base, path, scale=1.0):
    """Return the states of the base after diffusers' own loading and fusing."""
    parts = {name: copy.deepcopy(getattr(base, name)) for name in ("vae", *PARTS)}
    pipe = StableDiffusionPipeline(
        **parts,
        tokenizer=base.tokenizer,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.load_lora_weights(path)
    pipe.fuse_lora(lora_scale=scale)
    pipe.unload_lora_weights()
    return {(part, name): t for part in PARTS for name, t in getattr(pipe, part).state_dict().items()}


def expect_same_as_diffusers(base, path, parts=PARTS, scale=1.0):
    wanted, before = fused_by_diffusers(base, path, scale), copy.deepcopy(states(base))
    read_lora(path).fold(base, scale)
    found = states(base)
    assert found.keys() == wanted.keys()
    for part in PARTS:
        changed = sum(not torch.equal(found[key], before[key]) for key in found if key[0] == part)
        assert (changed >= 4) == (part in parts)
    assert max(float((found[key] - wanted[key]).abs().max()) for key in wanted) < 1e-5


def adapted(model, **values):
    """Add a random adapter of PEFT to a model."""
    config = peft.LoraConfig(r=3, lora_alpha=6, init_lora_weights=False, **values)
    torch.manual_seed(3)
    model.add_adapter(config)
    return model


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ({"target_modules": ["to_q", "to_k", "to_v", "to_out.0"]}, 0.7),
        ({"target_modules": ["to_q", "conv1", "conv2", "proj_in", "ff.net.2"], "use_dora": True}, 1.0),
        ({"target_modules": ["to_k"], "alpha_pattern": {f"{MIDDLE}.attn2.to_k": 12}}, 1.0),
    ],
    ids=["attention", "dora", "alphas"],
)
def test_a_file_of_save_lora_adapter_is_fused_as_by_diffusers(values, scale, base, tmp_path):
    unet = adapted(copy.deepcopy(base.unet), **values)
    unet.save_lora_adapter(tmp_path)
    path = tmp_path / "pytorch_lora_weights.safetensors"
    before = copy.deepcopy(states(base))
    read_lora(path).fold(base, scale)
    unet.fuse_lora(lora_scale=scale)
    unet.unload_lora()
    wanted, found = unet.state_dict(), base.unet.state_dict()
    changed = sum(not torch.equal(found[name], before["unet", name]) for name in wanted)
    assert max(float((found[name] - wanted[name]).abs().max()) for name in wanted) < 1e-5
    assert changed >= 12


def test_a_file_of_save_lora_weights_changes_both_parts_as_in_diffusers(base, tmp_path):
    unet = adapted(copy.deepcopy(base.unet), target_modules=["to_q", "to_v"])
    text = adapted(copy.deepcopy(base.text_encoder), target_modules=["q_proj", "fc1"])
    layers = {
        "unet_lora_layers": peft.get_peft_model_state_dict(unet, adapter_name="default"),
        "text_encoder_lora_layers": peft.get_peft_model_state_dict(text, adapter_name="default"),
    }
    StableDiffusionPipeline.save_lora_weights(tmp_path, **layers)
    expect_same_as_diffusers(base, tmp_path / "pytorch_lora_weights.safetensors")


@pytest.mark.parametrize("words", [("attn",), ("attn", "conv1", "conv_shortcut", "proj_", "ff.net", "sampl")])
def test_kohyas_names_are_fused_as_by_diffusers(words, base, tmp_path):
    tensors = lora_tensors(layers_of(base.unet, words), kohya, alpha=1)
    text = layers_of(base.text_encoder, ("self_attn", "mlp"))
    tensors |= lora_tensors(text, lambda name: f"lora_te_text_model_{name.replace('.', '_')}", alpha=1)
    path = written(tmp_path / "kohya.safetensors", tensors)
    expect_same_as_diffusers(base, path, scale=0.6)


def test_every_spelling_of_one_lora_is_one_merge(base, tmp_path):
    """Also the files that diffusers reads no more."""
    modules = layers_of(base.unet)
    attention = [kind.startswith("CrossAttn") for kind in base.unet.config.up_block_types]
    down_up = ("lora.down.weight", "lora.up.weight")
    old = ("down.weight", "up.weight")
    files = {
        "kohya": lora_tensors(modules, kohya),
        "original": lora_tensors(modules, lambda name: kohya(original_name(name, 2, attention))),
        "peft": lora_tensors(modules, lambda n: f"unet.{n}", names=("lora_A.weight", "lora_B.weight")),
        "default": lora_tensors(modules, str, names=("lora_A.default.weight", "lora_B.default.weight")),
        "diffusers": lora_tensors(modules, lambda n: f"unet.{n}", names=down_up),
        "old": lora_tensors(
            modules,
            lambda n: "unet.{}.processor.{}_lora".format(*n.removesuffix(".0").rsplit(".", 1)),
            names=old,
        ),
    }
    first = None
    for name, tensors in files.items():
        file = read_lora(written(tmp_path / f"{name}.safetensors", tensors))
        one = copy.deepcopy(base)
        assert "modules" not in file.fold(one)
        first = first or one.unet.state_dict()
        assert all(torch.equal(first[key], tensor) for key, tensor in one.unet.state_dict().items())
    assert not torch.equal(
        first[f"{MIDDLE}.attn1.to_q.weight"],
        base.unet.state_dict()[f"{MIDDLE}.attn1.to_q.weight"],
    )


def test_a_file_of_peft_takes_alpha_from_the_settings_beside_it(base, tmp_path):
    name = f"{MIDDLE}.attn1.to_q"
    modules = {name: base.unet.get_submodule(name)}
    names = ("lora_A.weight", "lora_B.weight")
    tensors = lora_tensors(modules, "base_model.model.{}".format, names=names)
    path = written(tmp_path / "adapter_model.safetensors", tensors)
    with pytest.raises(RequestError, match=r"adapter_config\.json"):
        read_lora(path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 8}))
    assert [change.scale for change in read_lora(path).changes.values()] == [4.0]


def test_a_pickle_of_tensors_is_read_without_code(tmp_path, base):
    tensors = lora_tensors(layers_of(base.unet), kohya)
    torch.save(tensors, tmp_path / "lora.bin")
    assert len(read_lora(tmp_path / "lora.bin").changes) == len(tensors) // 2


def test_a_file_of_this_project_comes_back_with_its_facts(tmp_path):
    factors = {"lora_down": torch.randn(2, 6), "lora_up": torch.randn(8, 2)}
    record = ClassRecord("one", "one", "phantom", 3)
    place = Place("unet", "mid_block_x")
    write_lora(
        tmp_path / "one.safetensors",
        LoraFile({place: Change(factors, 4.0)}, "one", 7, record, "f" * 64),
    )
    found = read_lora(tmp_path / "one.safetensors")
    assert (found.name, found.step, found.record, found.base_sha256) == ("one", 7, record, "f" * 64)
    assert found.changes[place].scale == 2.0
    assert set(load_file(tmp_path / "one.safetensors")) == {
        f"lora_unet_mid_block_x.{end}" for end in ("lora_down.weight", "lora_up.weight", "alpha")
    }


KEY = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
DOWN, UP, WIDE = torch.ones(2, 16), torch.ones(16, 2), torch.ones(16, 16)
PAIR = {f"{KEY}.lora_down.weight": DOWN, f"{KEY}.lora_up.weight": UP}
CONV = "lora_unet_mid_block_resnets_0_conv1"
REFUSED = {
    "no tensor": ({}, "no tensor in the file"),
    "other tensors": ({"weight": DOWN}, "none of 1 keys"),
    "a checkpoint": ({"model.diffusion_model.out.2.bias": DOWN}, "checkpoint.*--base"),
    "a ControlNet": ({"control_model.input_blocks.0.0.weight": DOWN}, "ControlNet"),
    "an autoencoder": ({"first_stage_model.x": DOWN}, "autoencoder"),
    "an embedding": ({"emb_params": DOWN}, "--embedding"),
    "an embedding of XL": ({"clip_l": DOWN, "clip_g": DOWN}, "embedding of Stable Diffusion XL"),
    "an IP-Adapter": ({"ip_adapter.1.to_k_ip.weight": DOWN}, "IP-Adapter"),
    "the second text encoder": ({**PAIR, "lora_te2_text_model_x.lora_down.weight": DOWN}, "Stable Diffusion XL"),
    "the second text encoder of diffusers": ({**PAIR, "text_encoder_2.x.lora_A.weight": DOWN}, "Stable Diffusion XL"),
    "deep transformers": (
        {"lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q.lora_down.weight": DOWN},
        "Stable Diffusion XL",
    ),
    "Flux": ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": DOWN}, "Flux"),
    "a transformer": ({"transformer.blocks.0.attn.to_q.lora_A.weight": DOWN}, "transformer"),
    "AnimateDiff": ({"down_blocks.0.motion_modules.0.to_q.lora.down.weight": DOWN}, "AnimateDiff"),
    "whole changes": ({**PAIR, f"{CONV}.diff": DOWN}, r"diff.*: lora_unet_mid_block_resnets_0_conv1\.diff"),
    "norms": ({**PAIR, "lora_unet_mid_block_norm.w_norm": DOWN}, "normalisation"),
    "OFT": ({f"{KEY}.oft_blocks": DOWN}, "OFT"),
    "GLoRA": ({f"{KEY}.a1.weight": DOWN}, "GLoRA"),
    "IA3": ({f"{KEY}.on_input": DOWN}, "IA3"),
    "biases": ({**PAIR, f"{KEY}.lora_B.bias": DOWN}, "biases"),
    "bundled embeddings": ({**PAIR, "bundle_emb.word.string_to_param.*": DOWN}, "embeddings inside"),
    "an unknown key": ({**PAIR, f"{KEY}.lora_middle": DOWN}, "unknown kind: .*lora_middle"),
    "an unknown part": ({"lora_vae_x.lora_down.weight": DOWN}, "unknown kind: lora_vae_x"),
    "NaN": ({**PAIR, f"{KEY}.lora_up.weight": UP * float("nan")}, "not finite in .*lora_up"),
    "half a pair": ({f"{KEY}.lora_down.weight": DOWN}, "a part is missing"),
    "alpha alone": ({**PAIR, f"{CONV}.alpha": torch.tensor(1.0)}, "a part is missing"),
    "two ranks": ({**PAIR, f"{KEY}.lora_up.weight": torch.ones(16, 3)}, "the rank 2 and lora_up the rank 3"),
    "two kinds": ({**PAIR, f"{KEY}.hada_w1_a": UP}, "a part is missing"),
    "alpha of no number": ({**PAIR, f"{KEY}.alpha": torch.ones(2)}, "alpha has the shape"),
    "alpha zero": ({**PAIR, f"{KEY}.alpha": torch.tensor(0.0)}, "alpha is 0"),
    "whole numbers": ({**PAIR, f"{KEY}.lora_up.weight": UP.int()}, "lora_up holds int32"),
    "a vector": ({**PAIR, f"{KEY}.lora_up.weight": torch.ones(16)}, r"lora_up has the shape \(16,\)"),
    "two names of a module": (
        {**PAIR, f"unet.{KEY[10:].replace('_', '.')}.lora_A.weight": DOWN},
        "two tensors lora_down",
    ),
}
MISFITS = {
    "a module that the base lacks": (
        {"lora_unet_mid_block_x.lora_down.weight": DOWN, "lora_unet_mid_block_x.lora_up.weight": UP},
        "lacks: mid_block_x",
    ),
    "another width": (
        {**PAIR, f"{KEY}.lora_down.weight": torch.ones(2, 24)},
        r"\(16, 24\), and a weight of \(16, 16\)",
    ),
    "another kernel": (
        {f"{CONV}.lora_down.weight": torch.ones(2, 16, 1, 9), f"{CONV}.lora_up.weight": torch.ones(16, 2, 1, 1)},
        "a change of the shape",
    ),
    "a DoRA scale of no side": ({**PAIR, f"{KEY}.dora_scale": torch.ones(3, 1)}, "a DoRA scale"),
    "factors of two sizes": (
        {f"{KEY}.hada_w1_a": UP, f"{KEY}.hada_w1_b": DOWN, f"{KEY}.hada_w2_a": UP[:1], f"{KEY}.hada_w2_b": DOWN},
        "cannot be multiplied",
    ),
    "one module in two spellings": (
        {
            **PAIR,
            "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q.lora_down.weight": DOWN,
            "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q.lora_up.weight": UP,
        },
        "two changes of the module",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_understood_is_refused_by_name(name, tmp_path):
    tensors, words = REFUSED[name]
    path = written(tmp_path / "odd.safetensors", tensors)
    with pytest.raises(RequestError, match=f"(?s){words}") as error:
        read_lora(path)
    assert all(part in str(error.value) for part in ("odd.safetensors", "found:", "expected:", "fix:"))


@pytest.mark.parametrize("name", MISFITS)
def test_a_file_that_does_not_fit_the_base_is_refused_by_name(name, base, tmp_path):
    tensors, words = MISFITS[name]
    file = read_lora(written(tmp_path / "odd.safetensors", tensors))
    before = copy.deepcopy(base.unet.state_dict())
    for use in (file.expect_fitting, file.fold):
        with pytest.raises(RequestError, match=f"(?s){words}"):
            use(base)
    assert all(torch.equal(before[key], tensor) for key, tensor in base.unet.state_dict().items())


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "Stable Diffusion XL"),
        ({"ss_base_model_version": "sd_v2_768_v"}, "Stable Diffusion 2"),
        ({"record": "{}"}, "unreadable metadata"),
        ({"lora_adapter_metadata": "["}, "unreadable settings of PEFT"),
    ],
)
def test_metadata_of_another_model_are_refused(metadata, words, tmp_path):
    with pytest.raises(RequestError, match=words):
        read_lora(written(tmp_path / "odd.safetensors", PAIR, **metadata))


def test_a_truncated_file_and_a_missing_one_are_refused(tmp_path):
    whole = written(tmp_path / "whole.safetensors", PAIR)
    (tmp_path / "half.safetensors").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "text.safetensors").write_text("words")
    torch.save([DOWN], tmp_path / "list.pt")
    for name in ("half.safetensors", "text.safetensors", "list.pt", "none.safetensors"):
        with pytest.raises(RequestError, match=name):
            read_lora(tmp_path / name)

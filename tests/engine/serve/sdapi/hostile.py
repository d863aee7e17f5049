"""Bodies that no honest client sends: values of any type and size in the fields of every route."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from engine.serve.sdapi.fields import ExtraBatch, ExtraImage, Img2Img, PngInfo, TaskProgress, Txt2Img

MODELS = {
    "/sdapi/v1/txt2img": Txt2Img,
    "/sdapi/v1/img2img": Img2Img,
    "/sdapi/v1/png-info": PngInfo,
    "/sdapi/v1/extra-single-image": ExtraImage,
    "/sdapi/v1/extra-batch-images": ExtraBatch,
    "/internal/progress": TaskProgress,
}
TEXT = r"""
null true false 0 1 -1 2 33 64 1e308 -1e400 NaN Infinity -Infinity 0.5 99999999999999999999999999999999 [] [[]] {}
"" "x" "20" "\ud800" "\u0000" "\u202e" "../../etc/passwd" "http://127.0.0.1:1/x.png" "data:," "(((((" "[a:b:"
"a\u0020AND\u0020b:1e9" "<hypernet:x:1>" "<lora:..:1>" "BREAK" "Euler" "karras" "None" "Latent" {"a":{"b":[1]}}
"""
WEIRD = TEXT.split()
"""Values in JSON."""
SAFE = {"steps": 2, "width": 32, "height": 32}


def hostile_bodies(seed: int, count: int, pictures: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield paths and bodies. pictures: some pictures in base64, which are also cut and changed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for _ in range(count):
        path = chance.choice([*MODELS, "/sdapi/v1/options"])
        if chance.random() < 0.05:
            raw = chance.choice([b"", b"{", b"[" * 50_000, b"\xff\xfe", b'"text"', b"1" * 5000, b'{"a":' * 3000])
            yield path, raw
            continue
        names = list(MODELS[path].model_fields) if path in MODELS else ["sd_model_checkpoint", "randn_source", "other"]
        values = {
            name: _value(chance, pictures) for name in chance.sample(names, min(len(names), chance.randint(1, 5)))
        }
        plain = SAFE if path.endswith("2img") else {}
        if path.endswith("img2img") and chance.random() < 0.7:
            plain = {**plain, "init_images": [_picture(chance, pictures)]}
        pairs = [f"{json.dumps(name)}:{value}" for name, value in values.items()]
        pairs += [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in plain.items() if name not in values]
        yield path, ("{" + ",".join(pairs) + "}").encode()


def _value(chance: random.Random, pictures: list[str]) -> str:
    kind = chance.random()
    if kind < 0.15:
        return json.dumps(_picture(chance, pictures))
    if kind < 0.25:
        return "[" + ",".join(chance.choices(WEIRD, k=chance.randint(1, 3))) + "]"
    if kind < 0.3:
        return json.dumps({"data": _picture(chance, pictures), "args": [1]})
    if kind < 0.35:
        return json.dumps("".join(chance.choices("()[]:|,\\ aBé<>#\n", k=chance.randint(1, 200))))
    return chance.choice(WEIRD)


def _picture(chance: random.Random, pictures: list[str]) -> str:
    text = chance.choice(pictures)
    if chance.random() < 0.5:
        place = chance.randrange(len(text))
        text = text[:place] + chance.choice(["", "A", "/", "é", "="]) + text[place + chance.randint(0, 9) :]
    return text

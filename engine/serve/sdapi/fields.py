"""The fields of requests, with the WebUI's names. Unknown ones are ignored, and null means not given."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Common",
    "ExtraBatch",
    "ExtraImage",
    "Extras",
    "Fields",
    "Img2Img",
    "ListedImage",
    "PngInfo",
    "TaskProgress",
    "Txt2Img",
]

Count = Annotated[int, Field(ge=1, le=4096)]
Side = Annotated[int, Field(ge=1, le=2**16)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Size = Annotated[int, Field(ge=0, le=2**16)]


class Fields(BaseModel):
    """Fields of a body. Types are coerced: "20" and 20.0 are 20."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        for name, value in body.items():
            if isinstance(value, str) and not _is_text(value):
                raise ValueError(f"{name!a} has half a character, which no file can hold")
        return {name: value for name, value in body.items() if value is not None}


def _is_text(words: str) -> bool:
    """Return whether a text is valid. JSON can state single surrogates, which are no characters."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


class Common(Fields):
    """What txt2img and img2img share. None takes the value of the bundle."""

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = []
    seed: Whole = -1
    subseed: Whole = -1
    subseed_strength: float = 0
    seed_resize_from_h: Whole = -1
    seed_resize_from_w: Whole = -1
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    batch_size: Count = 1
    n_iter: Count = 1
    steps: Count | None = None
    cfg_scale: float | None = None
    width: Side | None = None
    height: Side | None = None
    restore_faces: bool = False
    tiling: bool = False
    eta: float | None = None
    denoising_strength: float | None = None
    s_min_uncond: float = 0
    s_churn: float = 0
    s_tmin: float = 0
    s_tmax: float = 0
    s_noise: float = 1
    override_settings: dict[str, Any] = {}
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str = ""
    refiner_switch_at: float | None = None
    disable_extra_networks: bool = False
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    send_images: bool = True
    save_images: bool = False
    script_name: str = ""
    script_args: list[Any] = []
    alwayson_scripts: dict[str, Any] = {}
    force_task_id: str | None = None
    infotext: str = ""


class Txt2Img(Common):
    """The body of txt2img."""

    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_upscaler: str = "Latent"
    hr_second_pass_steps: Size = 0
    hr_resize_x: Size = 0
    hr_resize_y: Size = 0
    hr_checkpoint_name: str = ""
    hr_sampler_name: str = ""
    hr_scheduler: str = ""
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    firstphase_width: Size = 0
    firstphase_height: Size = 0


class Img2Img(Common):
    """The body of img2img."""

    init_images: list[str] = []
    denoising_strength: float = 0.75
    resize_mode: Annotated[int, Field(ge=0, le=3)] = 0
    mask: str | None = None
    mask_blur: float | None = None
    mask_blur_x: float = 4
    mask_blur_y: float = 4
    mask_round: bool = True
    inpainting_fill: Annotated[int, Field(ge=0, le=3)] = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: Size = 0
    inpainting_mask_invert: Annotated[int, Field(ge=0, le=1)] = 0
    initial_noise_multiplier: float = 1.0
    image_cfg_scale: float | None = None
    include_init_images: bool = False


class PngInfo(Fields):
    """The body of png-info."""

    image: str


class Extras(Fields):
    """How pictures are enlarged."""

    resize_mode: Annotated[int, Field(ge=0, le=1)] = 0
    upscaling_resize: Annotated[float, Field(gt=0, le=16)] = 2
    upscaling_resize_w: Side = 512
    upscaling_resize_h: Side = 512
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: Annotated[float, Field(ge=0, le=1)] = 0
    gfpgan_visibility: float = 0
    codeformer_visibility: float = 0
    codeformer_weight: float = 0
    upscale_first: bool = False
    show_extras_results: bool = True


class ExtraImage(Extras):
    """The body of extra-single-image."""

    image: str


class ListedImage(Fields):
    """A picture of a list."""

    data: str
    name: str = ""


class ExtraBatch(Extras):
    """The body of extra-batch-images."""

    imageList: list[ListedImage]  # noqa: N815 - the WebUI's name


class TaskProgress(Fields):
    """The body of /internal/progress."""

    id_task: str
    id_live_preview: Whole = -1
    live_preview: bool = True

"""Changes of OpenVINO models for prompts: a context of more tokens, and the state of an earlier layer.

A bundle's graphs are exported for the tokens of one text encoder call, and for its last layer. Both are facts of the
graph alone, not of the weights, so a model that was read can be changed before it is compiled.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from engine.errors import CytosynthError, RequestError

__all__ = ["CONTEXT", "set_tokens", "skip_layers"]

CONTEXT = "encoder_hidden_states"
"""Name of the UNet's input for the embeddings of the prompt."""


def set_tokens(model: ov.Model, tokens: int) -> None:
    """Let the UNet take a context (B, tokens, D), however many tokens it was exported for.

    The keys and values of each attention are reshaped to (-1, tokens, heads, width) with a constant. Only these
    constants and the input's shape state the number. Raises CytosynthError if one is not of this form.
    """
    parameter = next((node for node in model.get_parameters() if CONTEXT in node.output(0).get_names()), None)
    shape = None if parameter is None else parameter.get_partial_shape()
    if parameter is None or shape is None or shape[1].is_dynamic or shape[1].get_length() == tokens:
        return
    exported = shape[1].get_length()
    for reshape in _reshapes_of(parameter):
        target = reshape.input_value(1).get_node()
        values = target.get_data() if target.get_type_name() == "Constant" else None
        if values is None or values.shape != (4,) or [*values[:2]] != [-1, exported]:
            raise CytosynthError(
                "The UNet's graph",
                found=f"a reshape of the context to {None if values is None else values.tolist()}",
                expected=f"-1, {exported} and the heads",
                fix="shorten the prompt to one chunk, without BREAK",
            )
        longer = ops.constant(np.array([-1, tokens, *values[2:]], np.int64))
        reshape.input(1).replace_source_output(longer.output(0))
    parameter.set_partial_shape(ov.PartialShape([shape[0], ov.Dimension(tokens), shape[2]]))
    model.validate_nodes_and_infer_types()


def _reshapes_of(parameter: ov.Node) -> list[ov.Node]:
    """Return the first reshapes on every way from the parameter."""
    found, seen, waiting = [], set(), [parameter]
    while waiting:
        for port in waiting.pop().output(0).get_target_inputs():
            node = port.get_node()
            if node.get_name() in seen:
                continue
            seen.add(node.get_name())
            if node.get_type_name() == "Reshape":
                found.append(node)
            else:
                waiting.append(node)
    return found


def skip_layers(model: ov.Model, clip_skip: int) -> None:
    """Let the text encoder return the state that is `clip_skip`-th from last, through its final normalisation.

    A layer of CLIP normalises twice, and what it normalises first is the state of the layer before. So the state
    `clip_skip - 1` layers back is what the normalisation 2 (clip_skip - 1) places before the final one takes. Raises
    RequestError if there are not that many layers.
    """
    norms = [node for node in model.get_ordered_ops() if node.get_type_name() == "MVN"]
    layers = (len(norms) - 1) // 2
    if not 1 <= clip_skip <= layers:
        raise RequestError(
            "--clip-skip",
            found=str(clip_skip),
            expected=f"1 to {layers}, the number of layers of the text encoder",
            fix="lower --clip-skip",
        )
    norms[-1].input(0).replace_source_output(norms[-1 - 2 * (clip_skip - 1)].input_value(0))
    model.validate_nodes_and_infer_types()

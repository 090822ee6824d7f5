"""One network of a .tflite file, run by LiteRT on the CPU through XNNPACK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BadFile

Float = NDArray[np.float32]


class Network:
    """A network with one float32 input. Not for two threads at once.

    `input_shape` is that of the input tensor, batch included.
    """

    def __init__(self, name: str, model: bytes, threads: int, input_shape: tuple[int, ...], output_shapes: tuple[tuple[int, ...], ...]) -> None:
        """Loads the model and checks that its first outputs are as expected.

        Raises:
            BadFile: the bytes are no network, or its tensors have other shapes.
        """
        from ai_edge_litert.interpreter import Interpreter  # loaded here because importing models must stay light

        try:
            self._interpreter = Interpreter(model_content=model, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BadFile(f"{name}: not a network that LiteRT can run: {error}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shapes = tuple(_shape(tensor) for tensor in outputs[: len(output_shapes)])
        if len(inputs) != 1 or _shape(inputs[0]) != input_shape or shapes != output_shapes:
            raise BadFile(f"{name}: expected input {input_shape} and outputs {output_shapes}, got {[_shape(tensor) for tensor in inputs]} and {shapes}")
        self.input_shape = input_shape
        self._input_view: Callable[[], Float] = self._interpreter.tensor(inputs[0]["index"])
        self._output_indices = [tensor["index"] for tensor in outputs[: len(output_shapes)]]

    def run(self, fill: Callable[[Float], object]) -> tuple[Float, ...]:
        """Lets `fill` write into the input tensor itself, runs, and returns copies of the outputs."""
        fill(self._input_view())
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(index) for index in self._output_indices)


def _shape(tensor: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in tensor["shape"])

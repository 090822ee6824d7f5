"""The regressor's network as an ONNX file, written node by node: it is eight of them, and no exporter's version decides what they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from models.regressor import METADATA, VERSION
from training.regressor.learn import Learned

OPSET, IR_VERSION = 20, 9
"""Gelu is an operator since opset 20."""


def write_regressor(path: Path, learned: Learned) -> None:
    """Whole or not at all.

    Raises:
        OSError: it cannot be written there.
    """
    model = _model(learned)
    onnx.checker.check_model(model, full_check=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(model.SerializeToString())
    os.replace(part, path)


def _model(learned: Learned) -> onnx.ModelProto:
    tensors = {"input_mean": learned.input_mean, "input_scale": learned.input_scale}
    nodes = [helper.make_node("Sub", ["features", "input_mean"], ["centred"]), helper.make_node("Div", ["centred", "input_scale"], ["hidden_0"])]
    for number, (weights, bias) in enumerate(learned.hidden):
        tensors |= {f"weights_{number}": weights, f"bias_{number}": bias}
        nodes += [
            helper.make_node("Gemm", [f"hidden_{number}", f"weights_{number}", f"bias_{number}"], [f"linear_{number}"], transB=1),
            helper.make_node("Gelu", [f"linear_{number}"], [f"hidden_{number + 1}"]),
        ]
    last = f"hidden_{len(learned.hidden)}"
    for name, (weights, bias) in (("mean", learned.mean), ("log_spread", learned.log_spread)):
        tensors |= {f"{name}_weights": weights, f"{name}_bias": bias}
        nodes.append(helper.make_node("Gemm", [last, f"{name}_weights", f"{name}_bias"], [name], transB=1))
    size = learned.layout.size
    graph = helper.make_graph(
        nodes,
        "headcast regressor",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["frames", len(learned.input_mean)])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["frames", size]) for name in ("mean", "log_spread")],
        [numpy_helper.from_array(tensor.astype("float32"), name) for name, tensor in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="headcast")
    about = {"version": VERSION, "head": learned.head, "expression_names": list(learned.layout.expression_names), "partner": learned.partner.tolist()}
    helper.set_model_props(model, {METADATA: json.dumps(about)})
    return model

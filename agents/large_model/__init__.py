"""The large model: a Transformer over the items shown and their feedback, with policy, value and feedback heads.

`agent` has the public class; `config` every setting; `model` the network, `rollout` its use in sessions, `losses` and
`training` its training; `online` learning from live feedback; `checkpoint` saving and loading; `distributed` several
processes; `language` a language model as the backbone; `export` graphs for ONNX, which `serving` executes.
"""

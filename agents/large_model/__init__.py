"""The large model: a Transformer over the items shown and their feedback, with policy, value and feedback heads.

`agent` has the public class; `config` every setting; `model` the network, `session_state` and `rollout` its use in
sessions, `losses`, `training` and `training_run` its training, `worlds` where; `online` learning from live feedback;
`checkpoint` saving and loading; `distributed` several processes; `language` a language model as the backbone.
"""

"""A Transformer over what a person was shown and answered: policy, value and rating prediction in one model.

`sizes` names the presets, `schema` what a model reads of a world, `item_content` a catalogue as tensors; `encoder`,
`trunk` and `heads` are the parts of `model`; `reader` follows sessions as they go on, `playing` plays whole ones,
`losses` says what is learnt from them, `stages` in which order, `training` does it; `learner` puts it on the board.
"""

"""Serving the large model without torch: recommendations to people over HTTP, from an exported model.

`exported_model` has the model, in the folder that `export_folder` describes; `model_versions` has several, of which a
server follows the published one (`followed_versions`, `served_model`). `app` has the endpoints and `requests` their
schemas; `recommender` what they do; `sessions` the sessions in memory and `database` those on disk, in the tables of
`database_file`; `batching` shares calls of the model among requests; `slates` selects items; `catalog` and
`observations` describe items and people to the model; `limits` and `metrics` stand before the endpoints. `agents` are
what a session is of, `simulated_visits` has users who are not people, and `page_files` the page on which a person plays
the user.
"""

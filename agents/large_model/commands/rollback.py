"""Publish an earlier version of a model again, and withdraw the present one.

By default the one published before, which is not withdrawn itself. Servers of the folder use it within seconds. A
withdrawn version is not published again, except by a roll-back to it.
"""

import argparse

from agents.terminal import path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", type=path, required=True, metavar="DIR", help="folder of versions")
    parser.add_argument("--to", metavar="VERSION", help="instead of the version published before")


def rollback(parsed: argparse.Namespace) -> int:
    from agents.large_model.serving.model_versions import ModelVersions

    found = ModelVersions(parsed.models)
    version = found.roll_back(parsed.to)
    print(f"version {version} is published; {found.history[-1].withdrawn} is withdrawn")
    return 0

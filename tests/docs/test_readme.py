"""What the README says is true: its programs run, its links lead somewhere, its tables say what the code says."""

import dataclasses
import re
import subprocess
import sys

import gymnasium
import pytest
from conftest import CHECKOUT

from recsim_env.config import SessionConfig
from recsim_env.simulation.observation import OBSERVATION_KINDS
from recsim_env.world.world import SPLITS

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINKS = re.findall(r"\]\(((?!https?://)[^)#]+)\)", README)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_each_python_program_runs_as_it_stands(number, tmp_path):
    # agents/ and benchmarks/ are not installed: they run from the checkout
    where = CHECKOUT if "from agents" in PROGRAMS[number] else tmp_path
    ran = subprocess.run([sys.executable, "-c", PROGRAMS[number]], capture_output=True, text=True, cwd=where)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert ran.stdout.strip()


def test_there_are_programs_and_links_to_check():
    assert len(PROGRAMS) >= 2
    assert len(LINKS) >= 3


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_each_link_into_the_checkout_leads_to_a_file(link):
    assert (CHECKOUT / link).exists()


def test_each_id_in_the_readme_is_registered_and_each_plain_id_is_in_it():
    named = set(re.findall(r"recsim_env/\w+-v\d", README))
    registered = {name for name in gymnasium.registry if name.startswith("recsim_env/")}
    assert named <= registered
    assert {name for name in registered if not re.search(r"(Slate|Content|Catalog)-v0$", name)} <= named


def test_the_table_of_arguments_gives_the_defaults():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \|", README, re.MULTILINE)
    stated = {}
    for names, defaults in rows:
        stated.update(zip(re.findall(r"\w+", names), re.split(r", ", defaults.strip()), strict=False))
    for field in dataclasses.fields(SessionConfig):
        assert stated[field.name] == str(field.default), field.name
    assert stated["observation"].strip('`"') == OBSERVATION_KINDS[0]
    assert stated["split"].strip('`"') == SPLITS[0]
    assert stated["catalog_seed"] == "0"
    assert stated["render_mode"] == "`None`"

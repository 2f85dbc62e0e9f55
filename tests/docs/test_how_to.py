"""The tutorials, the how-to guides and the examples: settings that the program takes, and pages that can be found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetswap_pulumi.parse import parse
from fleetswap_pulumi.settings import Settings
from tests.docs.commands import PAGES, blocks

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs/how-to").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
NEEDED = {"fleetswap:service": "web", "fleetswap:image": {"file": "web.raw"}}
"""What every stack has, and no guide repeats."""


def read(config: dict[str, Any]) -> Settings:
    """Validate a configuration as the program does. Pulumi hands objects on as JSON."""
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    ours, aws = (
        {key.removeprefix(prefix): value for key, value in text.items() if key.startswith(prefix)}
        for prefix in ("fleetswap:", "aws:")
    )
    assert len(ours) + len(aws) == len(config)
    return parse(ours, region=aws.pop("region", "eu-central-1"), aws=aws)


SETTINGS = [(path, number) for path in PAGES for number in range(len(blocks(path, "yaml")))]


@pytest.mark.parametrize(("path", "number"), SETTINGS, ids=[f"{path.stem}-{n}" for path, n in SETTINGS])
def test_the_settings_of_a_guide_are_valid(path: Path, number: int) -> None:
    """A reader would copy settings that the program refuses."""
    shown = yaml.safe_load(blocks(path, "yaml")[number].text)
    config = shown.get("config", shown)  # a whole file, or a part of it
    assert read({**NEEDED, **config})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_and_whole(path: Path) -> None:
    """An example would be refused, or need something that it does not show."""
    document = yaml.safe_load(path.read_text())
    assert set(document) == {"config"}
    assert read(document["config"]).network.vpc is not None


def test_the_index_names_every_guide_and_every_example() -> None:
    """A guide or an example would be there that nobody finds."""
    index = (ROOT / "docs/how-to/README.md").read_text()
    for path in GUIDES:
        assert path.name == "README.md" or f"]({path.name})" in index, path
    for path in EXAMPLES:
        assert f"](../../{path.relative_to(ROOT)})" in index, path
    assert "](docs/how-to/README.md)" in (ROOT / "README.md").read_text()


def test_a_guide_shows_the_settings_of_its_example() -> None:
    """The page and the example that it goes through would drift apart."""
    shown = {
        "your-own-vpc.md": ["existing-vpc.yaml"],
        "several-services.md": ["two-services/shop.yaml", "two-services/admin.yaml"],
        "database.md": ["database.yaml"],
        "nixos-image.md": ["nixos.yaml"],
    }
    assert sorted(name for names in shown.values() for name in names) == [
        str(path.relative_to(ROOT / "examples")) for path in EXAMPLES
    ]
    for guide, names in shown.items():
        on_page = [yaml.safe_load(block.text) for block in blocks(ROOT / "docs/how-to" / guide, "yaml")]
        for name in names:
            config = yaml.safe_load((ROOT / "examples" / name).read_text())["config"]
            assert any(block.items() <= config.items() for block in on_page), name

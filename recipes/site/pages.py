"""Hooks of mkdocs (see mkdocs.yml): generated pages, and pages that lie outside docs/.

A line `<!-- command line: NAME -->` in a page is replaced by the reference of that command line, and a line
`<!-- settings: MODULE.CLASS -->` by a table of the fields of a settings dataclass. CHANGELOG.md and
CONTRIBUTING.md become pages of the site. A link to a file of the repository that is not part of the site, such as a
script, becomes its path.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

from recipes.site.command_lines import markdown_of, settings_table

__all__ = ["on_files", "on_page_markdown"]

ROOT = Path(__file__).parents[2]
OUTSIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
MARK = re.compile(r"^<!-- command line: (\w+) -->$", re.MULTILINE)
SETTINGS = re.compile(r"^<!-- settings: ([\w.]+)\.(\w+) -->$", re.MULTILINE)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie beside docs/. Their links to docs/ and to each other keep working."""
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, target in OUTSIDE.items():
            text = text.replace(f"]({other}", f"]({target}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the reference of each command line where a page asks for it, and replace links that leave the site."""
    folder = (ROOT / "docs" / page.file.src_uri).parent
    linked = LINK.sub(lambda found: _without_leaving(found, folder), markdown)
    with_commands = MARK.sub(lambda found: markdown_of(found[1]), linked)
    return SETTINGS.sub(lambda found: settings_table(found[1], found[2]), with_commands)


def _without_leaving(link: re.Match[str], folder: Path) -> str:
    """Return a link as it is, or the text and path of a target in the repository that the site does not have."""
    target = (folder / link[2]).resolve()
    inside = target.is_relative_to(ROOT / "docs")
    if not target.is_relative_to(ROOT) or not target.exists() or (inside and target.is_file()):
        return link[0]
    path = f"`{target.relative_to(ROOT)}`"
    return link[1] if str(target.relative_to(ROOT)) in link[1] else f"{link[1]} ({path})"

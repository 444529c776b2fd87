"""What `make docs` puts on the site: every page of this repository where it stands, so that their links hold there too.

A hook of MkDocs (mkdocs.yml).
"""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PATTERNS = (
    "*.md",
    "LICENSE",
    "docs/*.md",
    "docs/*.png",
    "docs/*.css",
    "search_spaces/*",
    "benchmarks/*.md",
    "examples/*.py",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The repository's pages and pictures, and of what MkDocs has found (docs/ alone) the theme's files."""
    root = Path(config.config_file_path).parent
    pages = [file for pattern in PATTERNS for file in sorted(root.glob(pattern)) if file.is_file()]
    ours = [File(str(page.relative_to(root)), str(root), config.site_dir, config.use_directory_urls) for page in pages]
    return Files([*ours, *(file for file in files if file.src_dir != config.docs_dir)])

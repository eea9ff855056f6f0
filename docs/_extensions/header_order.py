"""Examples in the gallery in the order in which its header names them: first steps first."""

from pathlib import Path


class HeaderOrder:
    """Sort key for sphinx-gallery: where an example is named in the header."""

    def __init__(self, src_dir):
        self.header = Path(src_dir) / "GALLERY_HEADER.rst"

    def __call__(self, filename):
        return self.header.read_text().index(f"sphx_glr_auto_examples_{Path(filename).name}`")

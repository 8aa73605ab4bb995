"""Settings of Sphinx: `sphinx-build -W docs OUT` writes these pages as HTML."""

from stata_jax import __version__

project = "stata_jax"
author = copyright = "The stata_jax authors"
version = release = __version__

extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 2
nb_execution_mode = "off"

html_theme = "sphinx_book_theme"
html_title = f"stata_jax {__version__}"
html_theme_options = {"show_toc_level": 2}

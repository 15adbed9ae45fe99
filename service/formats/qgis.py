"""A layer style for QGIS: names and colours for the classes that `cog.write_classes` writes."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def style(legend: Mapping[str, str]) -> str:
    """The text of a .qml for a map whose values are positions in `legend`, which has a colour (#rrggbb) for each name.

    QGIS takes `map.qml` beside `map.tif` by itself. Its elements are those of QgsPalettedRasterRenderer::writeXml.
    """
    root = ElementTree.Element("qgis", version="3.28", styleCategories="Symbology")
    pipe = ElementTree.SubElement(root, "pipe")
    renderer = ElementTree.SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, (name, colour) in enumerate(legend.items()):
        ElementTree.SubElement(palette, "paletteEntry", value=str(value), label=name, color=colour, alpha="255")
    ElementTree.indent(root)
    return DOCTYPE + ElementTree.tostring(root, encoding="unicode") + "\n"

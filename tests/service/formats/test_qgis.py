"""The style of a map. QGIS itself is not here; what it would read is."""

from __future__ import annotations

from xml.etree import ElementTree

from service.formats import qgis


def test_every_class_has_its_value_name_and_colour() -> None:
    legend = {'Beaches, "dunes" & <sands>': "#e6e6e6", "Urban fabric": "#e6004d"}
    root = ElementTree.fromstring(qgis.style(legend))
    renderer = root.find("pipe/rasterrenderer")
    assert (root.tag, renderer is not None and renderer.attrib["type"]) == ("qgis", "paletted")
    entries = root.findall("pipe/rasterrenderer/colorPalette/paletteEntry")
    assert [(one.attrib["value"], one.attrib["label"], one.attrib["color"]) for one in entries] == [
        ("0", 'Beaches, "dunes" & <sands>', "#e6e6e6"),
        ("1", "Urban fabric", "#e6004d"),
    ]

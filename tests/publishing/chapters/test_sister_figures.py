import pytest

from dpcxr_core.publishing.chapters.sister_figures import plot_maps
from dpcxr_core.publishing.chapters.sister_tables import published_maps
from dpcxr_core.study.sister import published_matrix


@pytest.mark.usefixtures("ax")
def test_each_level_has_a_map_and_none_is_said_to_be_none():
    maps = published_maps(published_matrix())
    figure = plot_maps(maps)
    figure.canvas.draw()
    titles = [panel.get_title(loc="left") for panel in figure.axes if panel.images]
    assert titles == list(dict.fromkeys(maps["finding"]))
    assert "have not run" in plot_maps(maps[:0]).axes[0].texts[0].get_text()

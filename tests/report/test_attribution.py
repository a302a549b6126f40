"""Slices of lesions with what moves the score in them: what is drawn is what the table says."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from radnet.report.attribution import LOWERS, RAISES, outline, pictures, shown_attribution, strongest
from radnet.report.figures.attribution import attribution_figure
from radnet.report.figures.hand import save_figure
from radnet.report.html import write_report
from radnet.report.plots.attribution import attribution_plots

HOSTILE = "_<b>$\\frac{</script> with a name that goes on and on and on"


def disk(rows=12, columns=10) -> np.ndarray:
    y, x = np.indices((rows, columns))
    return (y - 6) ** 2 + (x - 4) ** 2 <= 9


def table(lesions=2, channels=("soft_tissue",), shape=(12, 10)) -> pd.DataFrame:
    """As it is read from disk: every cell a text; attributions of one lesion are ten times those of the one before."""
    rng = np.random.default_rng(0)
    parts = []
    for number in range(1, lesions + 1):
        for channel in channels:
            y, x = (index.ravel() for index in np.indices(shape))
            columns = {"lesion_number": number, "role": ["highest score", "lowest score"][number % 2], "score": -1.25}
            columns |= {"baseline_score": 0.5, "in_lesion": 0.624, "channel": channel, "view": "axial", "slice": 31}
            columns |= {"y": y + 3, "x": x + 5, "intensity": rng.random(y.size), "lesion": disk(*shape).ravel() * 1}
            parts.append(pd.DataFrame(columns).assign(attribution=rng.normal(size=y.size) * 10.0**number))
    return pd.concat(parts, ignore_index=True).astype(str)


def drawn_arrays(figure):
    return [[np.asarray(image.get_array()) for image in axes.images] for axes in figure.axes if axes.images]


def test_a_picture_lays_out_the_voxels_of_its_lesion_in_whatever_order_they_stand():
    given = table()

    (first,), _ = pictures(shown_attribution(given.sample(frac=1, random_state=1).sort_values("lesion_number")))

    rows = given[given["lesion_number"] == "1"]
    np.testing.assert_allclose(first.attribution.ravel(), rows["attribution"].astype(float))
    np.testing.assert_allclose(first.intensity.ravel(), rows["intensity"].astype(float))
    np.testing.assert_array_equal(first.lesion, disk())
    assert first.name == "Lesion 1 · lowest score"
    assert first.told == ["score −1.25", "featureless 0.50", "62% of attribution in the lesion", "axial slice 31"]


def test_a_lesion_without_any_attribution_has_no_share():
    ((picture,),) = pictures(shown_attribution(table(1).assign(in_lesion="", attribution="0.0")))

    assert picture.told == ["score −1.25", "featureless 0.50", "axial slice 31"]
    assert strongest([[picture]]) == 1.0
    assert len(attribution_figure(table(1).assign(in_lesion="", attribution="0.0")).axes) == 3


def test_a_picture_with_a_voxel_missing_or_twice_is_refused():
    with pytest.raises(ValueError, match="lesion 2, channel soft_tissue.*12 × 10 voxels needs each once, got 119"):
        pictures(shown_attribution(table().drop(index=150)))
    with pytest.raises(ValueError, match="got 121"):
        pictures(shown_attribution(pd.concat([table(1), table(1).iloc[[7]]])))


def test_a_table_without_a_column_or_with_words_for_numbers_is_refused():
    with pytest.raises(ValueError, match="lacks the columns baseline_score, attribution: train again"):
        shown_attribution(table().drop(columns=["baseline_score", "attribution"]))
    with pytest.raises(ValueError, match="should hold numbers"):
        shown_attribution(table().assign(score="high"))


def test_a_run_without_attributions_has_no_row():
    assert shown_attribution(None).empty
    with pytest.raises(ValueError, match="no attribution to draw"):
        attribution_figure(shown_attribution(None))


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_has_a_side_for_every_two_neighbours_of_which_one_is_lesion(seed):
    lesion = np.random.default_rng(seed).random((7, 5)) < 0.5
    around = np.pad(lesion, 1).astype(int)
    sides = np.abs(np.diff(around, axis=0)).sum() + np.abs(np.diff(around, axis=1)).sum()

    x, y = (np.array(line).reshape(-1, 3) for line in outline(lesion))

    length = np.hypot(x[:, 1] - x[:, 0], y[:, 1] - y[:, 0])
    assert (len(length), set(length)) == (sides, {1.0})
    assert np.isnan(x[:, 2]).all()
    for one in zip(x[:, 0], y[:, 0], x[:, 1], y[:, 1], strict=True):  # the two voxels beside each side differ
        at = np.array([(one[1] + one[3]) / 2, (one[0] + one[2]) / 2])
        across = np.array([0.5, 0.0]) if one[1] == one[3] else np.array([0.0, 0.5])
        before, after = (tuple((at + sign * across + 1).astype(int)) for sign in (-1, 1))
        assert around[before] != around[after]


def test_each_lesion_is_a_row_of_its_image_and_the_same_with_its_attribution():
    shown = pictures(shown_attribution(table()))

    figure = attribution_figure(table())

    arrays = drawn_arrays(figure)
    assert [len(images) for images in arrays] == [1, 2, 1, 2]
    for (picture,), (image,), (under, over) in zip(shown, arrays[::2], arrays[1::2], strict=True):
        np.testing.assert_array_equal(image, picture.intensity)
        np.testing.assert_array_equal(under, picture.intensity)
        np.testing.assert_array_equal(over, picture.attribution)
    written = [text.get_text() for text in figure.texts]
    assert written[0] == "Lesion 1"
    assert "featureless 0.50" in written[1]


def test_colours_end_at_the_same_attribution_either_way_and_in_every_lesion():
    figure = attribution_figure(table())

    every = np.abs(table()["attribution"].astype(float))
    limits = [axes.images[1].get_clim() for axes in figure.axes if len(axes.images) == 2]
    assert limits == [pytest.approx((-np.quantile(every, 0.995), np.quantile(every, 0.995)))] * 2
    colours = next(axes.images[1].get_cmap() for axes in figure.axes if len(axes.images) == 2)
    assert colours(0.0)[:3] == pytest.approx(to_rgb(LOWERS))
    assert colours(1.0)[:3] == pytest.approx(to_rgb(RAISES))
    opacity = colours(np.linspace(0, 1, 101))[:, 3]
    np.testing.assert_allclose(opacity, opacity[::-1], atol=0.01)  # of 510 steps
    assert opacity[50] < 0.01
    assert (np.diff(opacity[50:]) > 0).all()


def test_beneath_the_colours_the_image_is_paler_so_that_no_voxel_darkens_them():
    figure = attribution_figure(table(1))

    plain, beneath = (axes.images[0] for axes in figure.axes if axes.images)
    darkest = float(plain.get_array().min())
    assert plain.get_cmap()(plain.norm(darkest))[0] == 0.0
    assert beneath.get_cmap()(beneath.norm(darkest))[0] == pytest.approx(0.5, abs=0.01)
    assert beneath.get_clim()[1] == plain.get_clim()[1]


def test_one_channel_fits_a_column_and_two_stand_side_by_side():
    one, two = attribution_figure(table(6)), attribution_figure(table(6, ("CT", "PET")))

    assert one.get_figwidth() <= 85 / 25.4
    assert one.get_figheight() <= 23 / 2.54  # of a page
    assert len(drawn_arrays(one)) == 12
    assert len(drawn_arrays(two)) == 24
    assert [axes.get_title(loc="left") for axes in two.axes[:4]] == ["CT", "Attribution", "PET", "Attribution"]


@pytest.mark.parametrize("name", ["soft_tissue", HOSTILE], ids=["plain name", "hostile name"])
def test_no_word_is_cut_off_at_the_edge_or_runs_into_a_picture(tmp_path, name):
    figure = attribution_figure(table(3, (name,)).assign(score="-12345.678", role=name))
    save_figure(figure, tmp_path, "attribution")
    renderer, edge = figure.canvas.get_renderer(), figure.bbox

    assert imread(tmp_path / "attribution.png")[..., :3].std() > 0.01
    for text in [*figure.texts, *(axes._left_title for axes in figure.axes)]:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0, text.get_text()
        assert box.x1 <= edge.x1, text.get_text()
        assert box.y0 >= 0, text.get_text()
        assert box.y1 <= edge.y1, text.get_text()
    pictures_begin = min(axes.get_window_extent(renderer).x0 for axes in figure.axes if axes.images)
    lesion_words = [text for text in figure.texts if text.get_va() == "top"]
    assert lesion_words
    assert all(text.get_window_extent(renderer).x1 <= pictures_begin for text in lesion_words)


def test_panels_of_the_page_show_the_same_numbers_and_say_whose():
    plots = attribution_plots(table(2, ("CT", "PET")))

    assert [plot.label for plot in plots] == [
        *("Lesion 1 · lowest score · CT", "Lesion 1 · lowest score · PET"),
        *("Lesion 2 · highest score · CT", "Lesion 2 · highest score · PET"),
    ]
    assert plots[0].note == "score −1.25; featureless 0.50; 62% of attribution in the lesion; axial slice 31"
    limit = strongest(pictures(shown_attribution(table(2, ("CT", "PET")))))
    overlays = [trace for plot in plots for trace in plot.spec["data"] if "colorbar" in trace]
    assert [(one["zmin"], one["zmax"]) for one in overlays] == [(-limit, limit)] * 4
    greys = [trace for trace in plots[0].spec["data"] if trace["type"] == "heatmap" and "colorbar" not in trace]
    assert [one["z"] for one in greys] == [greys[0]["z"]] * 2


def test_names_are_harmless_in_panels_of_the_page():
    shown = "".join(json.dumps(dict(plot.spec)) for plot in attribution_plots(table(1, (HOSTILE,))))

    assert "</script>" not in shown
    assert "$" not in shown


def test_the_report_draws_the_figure_and_carries_its_voxels_once(write_evaluation):
    folder = write_evaluation()
    (folder / "tables").mkdir()
    table().to_csv(folder / "tables" / "attribution.csv", index=False)

    page = write_report(folder).read_text(encoding="utf-8")

    assert all((folder / "figures" / f"attribution.{suffix}").is_file() for suffix in ("pdf", "svg", "png", "csv"))
    assert '<section id="attribution"' in page
    assert "not where disease is" in page
    assert page.count('download="attribution.csv"') == 1
    assert 'role="img" tabindex="0" aria-label="Attribution: Lesion 1 · lowest score · soft_tissue. score −1.25' in page
    assert "#attribution .plot, #attribution .drawing { filter: none; }" in page  # dark paper, but never a dark scan

"""Which patients and sites the figures of lesion weights show, on paper and on screen."""

import pandas as pd

from radnet.report.look import COLOURS, GREY

MOST_PATIENTS = 40
_MOST_SITES = 6
OTHER_SITE = "other site"


def shown_patients(panel: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Keep the first patients with several lesions, and say who is left out: of one lesion there is nothing to weigh.

    Args:
        panel: Rows of one model and partition, columns patient, lesion, weight; typed.
    """
    lesions = panel.groupby("patient", sort=False)["lesion"].size()
    several = lesions[lesions > 1].index
    shown = list(several[:MOST_PATIENTS])
    told = [f"{len(shown)} of {len(several)} patients with several lesions"] if len(several) > len(shown) else []
    one = len(lesions) - len(several)
    told += [f"{one} with one lesion not shown"] if one else []
    return panel[panel["patient"].isin(shown)], "; ".join(told)


def of_several_lesions(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the models that weigh the lesions of a patient who has several."""
    of_model = table.groupby(["endpoint", "model", "partition"])
    return table[of_model["lesion"].transform("nunique") > 1]


def site_colours(sites: pd.Series) -> dict[str, str]:
    """Give the commonest sites a colour each, and the rest, or an unnamed one, grey."""
    common = list(sites[sites != ""].value_counts(sort=True).index[:_MOST_SITES])
    return {site: COLOURS[place] for place, site in enumerate(common)} | {OTHER_SITE: GREY}


def known_site(sites: pd.Series, colours: dict[str, str]) -> pd.Series:
    """Call every site without a colour of its own the other site."""
    return sites.where(sites.isin(list(colours)), OTHER_SITE)

"""Clinical benefit, derived from best response and from how long stable disease lasted."""

RESPONSES = ("CR", "PR", "SD", "PD", "NE")
"""Best response by RECIST 1.1: complete, partial, stable, progressive, not evaluable."""


def clinical_benefit(
    response: str | None,
    *,
    stable_months: float | None,
    stable_ended: bool | None,
    response_months: float | None,
    months: float,
) -> bool | None:
    """Return whether a patient benefited: by response, or by stable disease of more than so many months.

    | best response | stable disease | benefit |
    |---|---|---|
    | CR, PR | | yes. One that came after ``months`` too: until then the disease was stable for as long |
    | SD | longer than ``months``, ended or not | yes |
    | SD | as long or shorter, ended by progression or death | no |
    | SD | as long or shorter, and held at the last look | not known: nobody saw how long it would have lasted |
    | SD | as long or shorter, whether it ended not known | not known |
    | SD | of unknown length | not known |
    | PD | | no |
    | NE, or not known | | not known |

    Args:
        response: Best response, out of ``RESPONSES``; None where not known.
        stable_months: How long stable disease lasted, or was seen to last, from the start of treatment.
        stable_ended: Whether progression or death ended it; False where it held at the last look.
        response_months: When the response was first seen. It decides nothing, and must not stand beside another one.
        months: How long stable disease has to last.

    Returns:
        True or False; None where what is known does not decide, which is never a no.

    Raises:
        ValueError: If best response is another word, or what is told of it contradicts it.

    References:
        Ligero et al. Radiology 2021;299:109-119: complete or partial response within the first 5 months, or stable
        disease still after 5 months, by RECIST 1.1.

    Example:
        >>> known = {"stable_ended": None, "response_months": None, "months": 5.0}
        >>> clinical_benefit("SD", stable_months=5.5, **known), clinical_benefit("PD", stable_months=None, **known)
        (True, False)
    """
    if response not in (None, *RESPONSES):
        raise ValueError(f"best response is {response!r}, expected {', '.join(RESPONSES[:-1])} or {RESPONSES[-1]}")
    if stable_months is not None and response not in (None, "SD"):
        raise ValueError(f"best response is {response}, and {stable_months:g} months of stable disease are given")
    if response_months is not None and response not in (None, "CR", "PR"):
        raise ValueError(f"best response is {response}, and a response after {response_months:g} months is given")
    if response in ("CR", "PR"):
        return True
    if response == "PD":
        return False
    if response == "SD" and stable_months is not None:
        if stable_months > months:
            return True
        if stable_ended:
            return False
    return None

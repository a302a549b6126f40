"""Questions on design, data and patients."""

from radnet.report.checklist.items import Finding
from radnet.report.checklist.record import Record, class_name, needs_run, part, run_file, targets


def adherence(record: Record) -> Finding:  # noqa: ARG001 - every question has the same signature
    """Whether a checklist was followed: the report carries three, answered."""
    return Finding("met", "TRIPOD+AI, CLEAR and METRICS are answered in this report", "#checklist")


def source(record: Record) -> Finding:
    """Where the data come from."""
    if record.simulated:
        preset = (record.config.get("data") or {}).get("preset", "")
        return Finding("for the authors", f"a simulated cohort ({preset}): no patient is real", "config: data")
    return Finding("for the authors", str(record.run.get("cohort") or ""), "#provenance" if record.run else "")


def setting(record: Record) -> Finding:
    """In which centres the patients were."""
    centres = _centres(record)
    names = f"{len(centres)} centres: {', '.join(centres)}" if centres else ""
    return Finding("for the authors", names and f"{names}; their setting and place are not known", "#provenance")


def multicentre(record: Record) -> Finding:
    """Whether images of more than one institution were used."""
    centres = _centres(record)
    if len(centres) > 1 and record.simulated:
        return Finding("not met", f"{len(centres)} centres, but simulated ones", "config: data")
    if len(centres) > 1:
        return Finding("met", f"{len(centres)} centres: {', '.join(centres)}", "#centres")
    return Finding("not met", f"one centre: {centres[0]}") if centres else Finding("for the authors")


def eligibility(record: Record) -> Finding:
    """Who was eligible; the run knows only who was left out of the cohort it was given."""
    return Finding("for the authors", _left_out(record), "#flow" if record.run else "")


def flow(record: Record) -> Finding:
    """Flow of patients and events."""
    if missing := needs_run(record):
        return missing
    if (record.config.get("endpoint") or {}).get("time"):
        return Finding("not met", f"{_flow(record)}; follow-up is not summarised", "#flow")
    return Finding("met", _flow(record), "#flow")


def flow_partly(record: Record) -> Finding:
    """Flow of patients; who was screened before the cohort was put together only the authors know."""
    if missing := needs_run(record):
        return missing
    return Finding("for the authors", f"within the cohort: {_flow(record)}", "#flow")


def numbers(record: Record) -> Finding:
    """Patients and events in every analysis."""
    if missing := needs_run(record):
        return missing
    tuned = targets(record, "Tuned", "GridSearch", "RandomizedSearch")
    return Finding(
        "met", f"{_parts(record)}; {'tuning by folds' if tuned else 'nothing was tuned in this run'}", "#flow"
    )


def characteristics(record: Record) -> Finding:
    """Table one by partition."""
    table = record.tables.get("table_one")
    if table is None:
        return Finding("not met", "no table one of the run")
    if not part(record, "held_out"):
        return Finding("not applicable", "no patients were held out to compare with")
    count = len(set(table["variable"]) - {"patients"})
    return Finding("met", f"table one: {count} variables by partition", "tables/table_one.csv")


def characteristics_partly(record: Record) -> Finding:
    """Table one; dates and treatments only the authors know."""
    found = characteristics(record)
    if found.answer != "met":
        return Finding("not met", "no table one of the run") if "table_one" not in record.tables else found
    return Finding("for the authors", f"{found.evidence}; dates and treatments are missing from it", found.link)


def drift(record: Record) -> Finding:
    """Differences between development and evaluation patients."""
    if missing := needs_run(record):
        return missing
    if not part(record, "held_out"):
        return Finding("not applicable", "no patients were held out")
    link = "tables/table_one.csv" if "table_one" in record.tables else "#flow"
    return Finding("for the authors", _parts(record), link)


def outcome(record: Record) -> Finding:
    """The endpoint's columns; how it was assessed only the authors know."""
    endpoint = record.config.get("endpoint") or {}
    if not endpoint:
        return Finding("for the authors")
    time = f", time in column {endpoint['time']} ({endpoint.get('time_unit')})" if endpoint.get("time") else ""
    return Finding("for the authors", f"column {endpoint.get('event')}{time}", "config: endpoint")


def missing_data(record: Record) -> Finding:
    """How missing values were handled, and who was left out."""
    if missing := needs_run(record):
        return missing
    imputed = [f"features by {class_name(settings)}" for _, settings in targets(record, "Imput")]
    model = record.config.get("model") or {}
    if model.get("clinical"):
        imputed.append("clinical columns by the median or the commonest level")
    if not imputed:
        return Finding("not met", f"no step of the model imputes; {_left_out(record)}", "config: model")
    evidence = f"{'; '.join(imputed)}, learned from training patients; {_left_out(record)}"
    return Finding("met", evidence, run_file(record, "config.yaml"))


def imbalance(record: Record) -> Finding:
    """Share of events and what was done about it."""
    development = part(record, "development")
    if not development:
        return needs_run(record) or Finding("not met", "the run does not count events")
    share = f"{development['events']} of {development['patients']} development patients have the event"
    treated = _imbalance_treatment(record)
    return Finding("met", f"{share}; {treated or 'no method against imbalance was used'}", "#flow")


def imbalance_treated(record: Record) -> Finding:
    """What was done about imbalance, if anything."""
    if missing := needs_run(record):
        return missing
    treated = _imbalance_treatment(record)
    if treated:
        return Finding("for the authors", f"{treated}: why, and whether it was recalibrated", "config: model")
    return Finding("not applicable", "no method against imbalance was used", "config: model")


def partition(record: Record) -> Finding:
    """How patients were divided."""
    if missing := needs_run(record):
        return missing
    split = record.config.get("split") or {}
    if not split:
        return Finding("not met", "the run's configuration is not known")
    ways = [
        f"{words} by {class_name(split[key])}"
        for key, words in (("held_out", "held out"), ("folds", "folds"))
        if split.get(key)
    ]
    rule = "patients never straddle, and whatever is learned is learned from training patients"
    return Finding("met", f"{_parts(record)}; {'; '.join(ways)}; {rule}", "config: split")


def confounders(record: Record) -> Finding:
    """Whether causes other than disease were looked for."""
    checks = (record.about.get("falsification") or {}).get("leak_checks") or []
    if not checks:
        return Finding("not met", "no check of centre, acquisition or order was run (falsification=true runs them)")
    suspicious = [str(check.get("cause")) for check in checks if check.get("suspicious")]
    if suspicious:
        return Finding("not met", f"found and not dealt with: {', '.join(suspicious)}", "#falsification")
    causes = ", ".join(str(check.get("cause")) for check in checks)
    return Finding("met", f"checked, none suspicious: {causes}", "#falsification")


def pipeline_drawing(record: Record) -> Finding:  # noqa: ARG001 - every question has the same signature
    """A drawing of the pipeline, which the report has not."""
    return Finding("not met", "the report draws no pipeline; its steps stand in the run's config.yaml")


def _imbalance_treatment(record: Record) -> str:
    for key, settings in targets(record, ""):
        weight = settings.get("positive_weight", 1.0)
        if weight not in (1, None):
            return f"{key}: events weigh {weight}"
        if settings.get("class_weight"):
            return f"{key}: class_weight {settings['class_weight']}"
    return ""


def _centres(record: Record) -> list[str]:
    return sorted({centre for name in ("development", "held_out") for centre in part(record, name).get("centres", [])})


def _parts(record: Record) -> str:
    told = [
        f"{words}: {found['patients']} patients, {found['events']} events"
        for name, words in (("development", "development"), ("held_out", "held-out"))
        if (found := part(record, name))
    ]
    return "; ".join(told)


def _flow(record: Record) -> str:
    steps = (("patients", "patients"), ("patients_with_outcome", "with outcome"), ("patients_measured", "measured"))
    counted = [f"{record.counts[key]} {words}" for key, words in steps if key in record.counts]
    return f"{' → '.join(counted)}; {_left_out(record)}; {_parts(record)}"


def _left_out(record: Record) -> str:
    if not record.run:
        return ""
    excluded = record.run.get("excluded") or {}
    reasons = ", ".join(sorted(set(map(str, excluded.values()))))
    return f"{len(excluded)} patients left out ({reasons})" if excluded else "no patient left out"

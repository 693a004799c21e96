"""What a report is worth: whether its first cause is the one that was made, and whether its evidence exists."""

import re
from pathlib import Path

#: From here on a finding is asserted.
ASSERTED = 0.5

#: Places that are no files: probes, processes and tables of the kernel.
NO_FILE = re.compile(r"^(probe |pid |[a-z ]+$)|^/proc/|^/sys/|^/dev/")


def verdict(module, report: dict, whole: bool) -> dict:
    """The module's CAUSE must be first and asserted; None is a control, on which nothing may be. ROOTS names several causes
    that must all be asserted, each as a finding of its own; CONSEQUENCES must stand below the first: both only where the
    whole evidence was at hand."""
    findings = [(finding["cause"], finding["confidence"]) for finding in report["findings"]]
    asserted = [cause for cause, confidence in findings if confidence >= ASSERTED]
    ghosts = ungrounded(report)
    why = []
    cause = module.CAUSE
    allowed = () if cause is None else (cause, *getattr(module, "ALSO_RIGHT", ()))
    if cause is None:
        why += [f"asserts {name} on a control" for name, confidence in findings if confidence > ASSERTED]
    elif not findings:
        why.append("found nothing")
    elif findings[0][0] not in allowed:
        why.append(f"{findings[0][0]} is first")
    elif findings[0][1] < ASSERTED:
        why.append(f"only {findings[0][1]:.2f}")
    for root in getattr(module, "ROOTS", ()) if whole else ():
        if root not in asserted:
            why.append(f"{root} is not asserted")
    if whole and findings and getattr(module, "CONSEQUENCES", ()):
        below = set(names(report["findings"][0].get("consequences", [])))
        why += [f"{one} is no consequence" for one in module.CONSEQUENCES if one not in below]
    why += [f"cites what is not there: {ghost}" for ghost in ghosts]
    return {
        "cause": cause,
        "right": not why,
        "why": "; ".join(why),
        "first": findings[0][0] if findings else None,
        "confidence": findings[0][1] if findings else None,
        "others": [f"{name} {confidence:.2f}" for name, confidence in findings[1:4]],
    }


def names(consequences) -> list[str]:
    found = []
    for one in consequences:
        found.append(one if isinstance(one, str) else one["cause"])
        if isinstance(one, dict):
            found += names(one.get("consequences", []))
    return found


def ungrounded(report: dict) -> list[str]:
    """Evidence whose line does not exist, or says something else."""
    ghosts = []
    for finding in report["findings"]:
        for evidence in [*finding["for"], *finding["against"]]:
            place, text = evidence.get("place") or "", evidence["text"]
            found = re.match(r"^(/.*?):(\d+)$", place)
            if not found or NO_FILE.match(place):
                continue
            path, number = Path(found[1]), int(found[2])
            lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
            if not 0 < number <= len(lines):
                ghosts.append(place)
            elif path.suffix in (".log",) and evidence["kind"] in ("failure",) and words(text) not in words(lines[number - 1]):
                ghosts.append(f"{place} ({text[:60]})")
    return ghosts


def words(text: str) -> str:
    """What is compared: a cited text may be shortened at its end."""
    return re.sub(r"\s+", " ", text).strip()[:60]

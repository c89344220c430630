"""A report as the XML that build servers read."""

from __future__ import annotations

import xml.etree.ElementTree as Tree

from orchestrator.flowtests.results import CaseResult, FileResult, Report
from orchestrator.flowtests.telling.telling import told

_NO_TEXT = (0xFFFE, 0xFFFF)


def junit(report: Report) -> str:
    """One suite for each file, one case for each case; a file that cannot be used is a suite with an error."""
    root = Tree.Element(
        "testsuites",
        tests=str(len(report.cases)),
        failures=str(sum(not case.passed for case in report.cases)),
        errors=str(len(report.unreadable)),
        time=f"{report.took:.3f}",
    )
    for file in report.files:
        root.append(_suite(file))
    Tree.indent(root)
    return Tree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(file: FileResult) -> Tree.Element:
    suite = Tree.Element(
        "testsuite",
        name=file.flow or file.file,
        file=file.file,
        tests=str(len(file.cases) + bool(file.problems)),
        failures=str(sum(not case.passed for case in file.cases)),
        errors=str(int(bool(file.problems))),
        time=f"{sum(case.took for case in file.cases):.3f}",
    )
    for case in file.cases:
        suite.append(_case(case))
    if file.problems:
        unread = Tree.SubElement(suite, "testcase", name="the file can be used", classname=file.file)
        said = [_clean(str(problem)) for problem in file.problems]
        Tree.SubElement(unread, "error", message=said[0]).text = "\n".join(said)
    return suite


def _case(case: CaseResult) -> Tree.Element:
    element = Tree.Element("testcase", name=_clean(case.name), classname=case.flow, file=case.file, line=str(case.line))
    element.set("time", f"{case.took:.3f}")
    if not case.passed:
        failure = Tree.SubElement(element, "failure", message=_clean(str(case.problems[0])))
        failure.text = _clean("\n".join(told(case)))
    return element


def _clean(text: str) -> str:
    """Text without what XML cannot hold."""
    return "".join(
        one if one in "\t\n" or (ord(one) >= 32 and ord(one) not in (0xFFFE, 0xFFFF)) else "�" for one in text
    )

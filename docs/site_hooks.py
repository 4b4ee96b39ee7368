"""What mkdocs does to the pages besides its plugins: formulas become MathML, so that no page loads a script from
elsewhere."""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert

FUNCTION = re.compile(r"<mi>(log|det|tanh|tr|min)</mi>(?=<mi|<msub)")  # without a bracket: set off from its argument
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(html: str, **_: Any) -> str:
    """
    Put MathML in the place of each formula.

    :param html: the rendered page
    :raises ValueError: if a formula has a command that the converter does not know
    """
    return FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    formula = unescape(match[3]).strip()
    mathml = convert(formula, display="block" if match[2] == "[" else "inline")
    if "\\" in unescape(mathml):
        raise ValueError(f"no MathML for {formula}")
    mathml = FUNCTION.sub(r'\g<0><mspace width="0.17em"/>', mathml)
    return f'<div class="formula">{mathml}</div>' if match[2] == "[" else mathml

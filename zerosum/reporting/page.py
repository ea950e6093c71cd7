"""From variables to one HTML file that needs nothing else and may run nothing but its own script."""

import base64
import hashlib
import re
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zerosum.charts import duration, number, uncertain


def render(template: str, variables: dict[str, Any]) -> str:
    """The page. Everything in the variables is text, whatever it looks like: only the templates hold markup."""
    environment = Environment(
        loader=PackageLoader("zerosum.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "duration": duration, "uncertain": uncertain, "breakable": breakable}
    style, script = (_asset(name) for name in ("style.css", "script.js"))
    # no network, no plug-in, no frame, no form; style and script only these two, so that nothing injected would run
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    # ours, so not to be escaped
    assets = {"style": Markup(style), "script": Markup(script), "policy": Markup(policy)}  # noqa: S704
    return environment.get_template(template).render(**variables, **assets)


def breakable(name: str) -> Markup:
    """A long name that may be broken after its punctuation.

    >>> breakable("a_<b>@c")
    Markup('a_<wbr>&lt;b&gt;@<wbr>c')
    """
    return Markup("<wbr>").join(re.split(r"(?<=[_@=-])|(?<=\.)(?!\d)", name))


def _asset(name: str) -> str:
    return (resources.files("zerosum.reporting") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

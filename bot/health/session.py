"""How a query travels to Prometheus: a short one in the URL, a long one as a form.

The union of what eight inference servers call one number is up to 18 KB as a URL. Prometheus takes that; what often
stands before it does not (nginx: 8 KB, `large_client_header_buffers`). The form is made for it
(https://prometheus.io/docs/prometheus/latest/querying/api/#expression-queries).
"""

from collections.abc import Mapping
from typing import Any, Final

from requests import Response

from bot.punctual import Punctual

LONG: Final = 2_000
"""Characters of a query; percent signs make up to twice as many of them."""
NO_FORMS: Final = frozenset({403, 404, 405, 501})
"""How a gateway that lets only GET through turns a form away."""
_PATHS: Final = ("/api/v1/query", "/api/v1/query_range")


class Forms(Punctual):
    """A session for the Prometheus client. Where forms are turned away, it asks by URL from then on."""

    def __init__(self) -> None:
        super().__init__()
        self._takes_forms = True

    def request(  # type: ignore[override]  # what our one caller passes by name
        self, method: str, url: str, *, params: Mapping[str, Any] | None = None, **more: Any
    ) -> Response:
        """As requests' own."""
        long = params is not None and len(str(params.get("query", ""))) > LONG
        if method == "GET" and long and self._takes_forms and url.endswith(_PATHS):
            answer = super().request("POST", url, data=params, **more)
            # A redirect makes a GET without its query of it.
            if answer.status_code not in NO_FORMS and not answer.history:
                return answer
            self._takes_forms = False
        return super().request(method, url, params=params, **more)

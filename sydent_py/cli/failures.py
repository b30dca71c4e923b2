"""Why a server that was named on the command line gave no answer, in words that say what to do."""

from sydent_py.federation.remote import Answered
from sydent_py.federation.transport import Reason, RequestFailed


def failure_in_words(failure: RequestFailed, url: str, timeout_s: float, wanted: str) -> str:
    """What went wrong with the request for ``url``, which should have brought ``wanted`` ("a file of a log")."""
    if isinstance(failure, Answered):
        return f"{url} answered with status {failure.status}: {failure.detail}"
    advice = {
        Reason.TLS: f"The certificate of {url} is not trusted: {failure.detail}. For an authority of your own, use --ca-file.",
        Reason.TIMEOUT: f"{url} did not answer within {timeout_s:g} s: {failure.detail}. Please try again later.",
        Reason.TOO_LARGE: f"{url} sent {failure.detail}, which is too much for {wanted}.",
        Reason.MALFORMED: f"{url} does not speak HTTP as it should: {failure.detail}.",
    }
    return advice.get(
        failure.reason, f"{url} cannot be reached: {failure.detail}. Is the URL right, and the server running?"
    )

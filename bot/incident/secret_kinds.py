"""What is blanked: a table of what keys, tokens, passwords and personal data look like, each with its examples."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Sort(StrEnum):
    """How a rule's patterns are looked for. Whatever is looked for, twice as long a text takes twice as long."""

    KEY = "key"  # begins with letters of its own, and holds 15 letters, digits, _ or - in a row
    ARMOUR = "armour"  # stands between lines of dashes
    NAMED = "named"  # follows a word that names it, in any case
    LOGIN = "login"  # stands in an address, before an @
    E_MAIL = "e-mail"
    CARD = "card"


@dataclass(frozen=True, slots=True)
class Rule:
    """A group in a pattern is what is left standing. Each of `hits` must be blanked, and `miss` left as it is.

    A `~` in a hit is no part of it: with it, no scanner of sources takes the example for a leak.
    """

    name: str
    sort: Sort
    patterns: tuple[str, ...]
    hits: tuple[str, ...]
    miss: str

    @property
    def examples(self) -> tuple[str, ...]:
        """What must be blanked."""
        return tuple(hit.replace("~", "") for hit in self.hits)


_KEY: Final = (
    r"(?:(?:api|access|private|secret)[_ -]?|(?:account|auth|encryption|master|shared|signing|storage)[_-]?)key"
)
_WORD: Final = r"(?:pass(?:word|wd|phrase)|(?:db|user|admin|root|redis|mysql|pg|smtp)_?pass)"
_TOKEN: Final = rf"(?:secret|token|credentials?|{_KEY})"
_MANY: Final = rf"(?:{_WORD}|secret|{_KEY}|(?:access|api|auth|bearer|refresh)[_-]?token)s"
NAME_OF_A_SECRET: Final = rf"(?:.*[_.-])?(?:{_WORD}|{_TOKEN}|{_MANY}|authorization)"
"""A label with such a name holds a secret, whatever it looks like."""

# What may stand between a name and its value: `name=`, `name: `, `"name": "`, `\"name\":\"`, `name => '`.
_IS: Final = r"""\\?["']?\s{0,3}(?:=>|[=:])\s{0,3}\\?["']?"""
# No value, but what stands in for one: ${VAR}, $(cat file), {{ template }}, <your-token>, ***, [secret], null.
_REAL: Final = r"(?!\$[{(A-Z_]|\{|<|\*\*|\[|(?:null|none|true|false)\b)"
_VALUE: Final = r"""(?:(?<=")[^"\n]{4,}|(?<=')[^'\n]{4,}|[^\s,;"']{4,})"""
# Prose has colons too ("invalid token: expected ..."), and so have measurements (first token: 0.31).
_NO_NUMBER: Final = r"""(?![\d.]+[a-z%]{0,3}(?![^\s,;"']))"""
# It looks so far ahead and no farther: "token:token:token:..." would be read to its end from each of its colons.
_NO_PROSE: Final = r"""(?:(?<==)|(?<=["'])|(?=[^\s,;"']{0,200}?(?-i:[0-9A-Z])))"""

# `curl ... -u`, also among other letters (`-su`), and `--user`; what stands between is looked through so far only.
_CURL: Final = (
    r"(?:(?<![a-z])|(?<=\\[nrt]))curl\s(?:[^\n;|]{0,150}?\s)?(?:-[a-z]{0,6}u|--(?:proxy-)?user(?![\w-]))(?:\s{1,3}|=)?"
)
# A password in an address may hold / and @. It ends before what is a host for certain, else at the last @ there is.
_IN_ADDRESS: Final = r"""(?:(?!://)[^\s?#&"'<>,;|])"""
_HOST: Final = r"(?:[\w-]+(?:\.[\w-]+)+|[\w-]+:\d|\[[0-9A-Fa-f:.]+\])"

NAMES: Final = (
    r"pass(?:word|wd|phrase)?\\?[\"']?\s{0,3}[=:]",
    r"pwd\s{0,3}[=:]",
    r"secret\\?[\"']?\s{0,3}[=:]",
    r"token\\?[\"']?\s{0,3}[=:]",
    r"credentials?\\?[\"']?\s{0,3}[=:]",
    r"key\\?[\"']?\s{0,3}[=:]",
    r"sig=",
    r"authorization",
    r"bearer\s",
    r"cookie",
    r"curl\s",
)
"""Whatever a rule of the sort NAMED finds holds one of these, in small letters: the quick look before the long one."""

RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "Slack token",
        Sort.KEY,
        (r"xox[abceoprs]-[A-Za-z0-9-]{10,}", r"xoxe\.xox[bp]-[A-Za-z0-9-]{10,}", r"xapp-[A-Za-z0-9-]{10,}"),
        ("xox~b-123456789012-abcdefABCDEF", "xox~e.xoxp-1-abcdefABCDEF0123", "xap~p-1-A0B1C2D3E4-1234567890-abcdef"),
        "xoxb-token",
    ),
    Rule(
        "Slack webhook",
        Sort.KEY,
        (r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}",),
        ("https://hooks.slack.com/~services/T0A1B2C3D/B0A1B2C3D/abcdEFGHijklMNOPqrstUVWX",),
        "https://hooks.slack.com/services/new",
    ),
    Rule(
        "break-glass key of ours",
        Sort.KEY,
        (r"ffglass_[0-9a-f]{40}",),
        ("ffgl~ass_0123456789abcdef0123456789abcdef01234567",),
        "ffglass_expired",
    ),
    Rule(
        "GitHub token",
        Sort.KEY,
        (r"gh[pousr]_[A-Za-z0-9]{30,}", r"github_pat_[A-Za-z0-9_]{30,}"),
        (
            "gh~p_abcdefghijklmnopqrstuvwxyz0123456789",
            "git~hub_pat_11ABCDEFG0abcdefghijkl_abcdefghijklmnopqrstuvwxyz",
        ),
        "https://github.com/vllm-project/vllm/pull/12345",
    ),
    Rule(
        "GitLab token",
        Sort.KEY,
        (r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt)-[0-9A-Za-z_-]{20,}",),
        ("gl~pat-abcdefghij0123456789", "gl~cbt-abcdefghij0123456789"),
        "gl-runner-deployment-7d9f8c6b5d-x2k4j",
    ),
    Rule(
        "AWS access key, and the secret beside it",
        Sort.KEY,
        (r"A(?:KIA|SIA|BIA|CCA)[0-9A-Z]{16}(?:\W{1,10}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=]))?",),
        ("AK~IAABCDEFGHIJKLMNOP", "AS~IAABCDEFGHIJKLMNOP wJalrXUtnFEMI/K7MDENG/bPxRfiCYabcdefghij"),
        "arn:aws:eks:eu-central-1:123456789012:cluster/inference",
    ),
    Rule(
        "Google key or token",
        Sort.KEY,
        (r"AIza[0-9A-Za-z_-]{35}", r"ya29\.[0-9A-Za-z_-]{20,}", r"GOCSPX-[0-9A-Za-z_-]{20,}"),
        (
            "AI~zaabcdefghijklmnopqrstuvwxyz012345678",
            "ya~29.abcdefghijklmnopqrstuvwxyz",
            "GOC~SPX-abcdefghijklmnopqrstuvwxyz",
        ),
        "projects/inference-prod/locations/europe-west4/clusters/a3-highgpu",
    ),
    Rule(
        "OpenAI, Anthropic, OpenRouter or DeepSeek key",
        Sort.KEY,
        (
            r"sk-(?=[A-Za-z0-9_-]{0,80}?[A-Z])(?=[A-Za-z0-9_-]{0,80}?[0-9])[A-Za-z0-9_-]{20,}+",
            r"sk-or-v1-[0-9a-f]{64}",
            r"s(?:(?<![a-z]s)|(?<=\\[nrt]s))k-[0-9a-f]{32}",
        ),
        (
            "sk~-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789-ABCD",
            "sk~-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD",
            "sk~-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "sk~-0123456789abcdef0123456789abcdef",
        ),
        "disk-pressure-eviction-manager-7d9f8c6b5d",
    ),
    Rule(
        "Hugging Face token",
        Sort.KEY,
        (r"hf_[A-Za-z0-9]{30,}",),
        ("hf~_abcdefghijklmnopqrstuvwxyzABCDEFGH",),
        "hf_transformers_cache_dir_is_not_writable_here",
    ),
    Rule(
        "NVIDIA, Groq or Replicate key",
        Sort.KEY,
        (r"nvapi-[A-Za-z0-9_-]{40,}", r"gsk_[A-Za-z0-9]{40,}", r"r8_[A-Za-z0-9]{37,}"),
        (
            "nv~api-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ",
            "gs~k_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ",
            "r8~_abcdefghijklmnopqrstuvwxyz0123456789A",
        ),
        "nvapi-version-535.104.05",
    ),
    Rule(
        "Stripe key",
        Sort.KEY,
        (r"sk_(?:live|test)_[A-Za-z0-9]{16,}", r"rk_(?:live|test)_[A-Za-z0-9]{16,}", r"whsec_[A-Za-z0-9+/=]{20,}"),
        ("sk~_live_abcdefghijklmnop01234567", "rk~_test_abcdefghijklmnop01234567", "wh~sec_abcdefghijklmnop01234567"),
        "disk_test_results_of_last_night",
    ),
    Rule(
        "token of a package registry",
        Sort.KEY,
        (r"npm_[A-Za-z0-9]{36}", r"pypi-[A-Za-z0-9_-]{50,}", r"dckr_pat_[A-Za-z0-9_-]{20,}"),
        (
            "np~m_abcdefghijklmnopqrstuvwxyz0123456789",
            "py~pi-AgEIabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQR",
            "dck~r_pat_abcdefghijklmnopqrstuvwxyz",
        ),
        "npm_config_cache",
    ),
    Rule(
        "Vault, Grafana, SendGrid or DigitalOcean token",
        Sort.KEY,
        (
            r"hv[sb]\.[A-Za-z0-9_-]{24,}",
            r"glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}",
            r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
            r"dop_v1_[a-f0-9]{64}",
        ),
        (
            "hv~s.abcdefghijklmnopqrstuvwxyz",
            "gl~sa_abcdefghijklmnopqrstuvwxyzABCDEF_0123abcd",
            "S~G.abcdefghijklmnopqrstuv.abcdefghijklmnopqrstuvwxyz",
            "do~p_v1_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ),
        "hvs.example",
    ),
    Rule(
        "PagerDuty key",
        Sort.KEY,
        (
            r"u\+[A-Za-z0-9_-]{18}(?![A-Za-z0-9_-])",
            r"events\.(?:eu\.)?pagerduty\.com/integration/[a-z0-9]{32}",
        ),
        (
            "u~+abcdefghij01234567",
            "https://events.pagerduty.com/~integration/0123456789abcdef0123456789abcdef/enqueue",
        ),
        "https://events.pagerduty.com/v2/enqueue",
    ),
    Rule(
        "JSON web token",
        Sort.KEY,
        (r"eyJ[A-Za-z0-9_-]{10,4000}+\.[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{5,}",),
        ("ey~JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",),
        "eyJ is how base64 of a JSON object begins",
    ),
    Rule(
        "private key",
        Sort.ARMOUR,
        (r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|$)",),
        (
            "-----BEGIN ~PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----",
            "-----BEGIN ~RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA and no end",
        ),
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBa",
    ),
    Rule(
        "password",
        Sort.NAMED,
        (rf"({_WORD}{_IS}){_REAL}{_VALUE}",),
        ("password=correct-horse", 'password: "correct horse"', '\\"db_pass\\": \\"hunter22\\"'),
        "password authentication failed for user app",
    ),
    Rule(
        "password of a connection string",
        Sort.NAMED,
        (rf"((?<![a-z])pwd{_IS}){_REAL}(?!/){_VALUE}",),
        ("Server=db;Uid=app;Pwd=hunter22;",),
        "PWD=/opt/vllm",
    ),
    Rule(
        "password for curl",
        Sort.NAMED,
        (
            rf"""({_CURL}\\?["'][^:"'\n]{{0,100}}:){_REAL}[^"'\n]+""",
            rf"""({_CURL}[^\s:"']{{0,100}}:){_REAL}[^\s"']+""",
        ),
        (
            "curl -u admin:hunter22 http://10.0.3.17/v1/models",
            "curl -fsSu admin:hunter22 http://10.0.3.17",
            "curl -s http://10.0.3.17 --user 'admin:correct-horse battery'",
        ),
        "curl -u $WHO:$PASSWORD --user-agent=probe:1 http://10.0.3.17; docker run -u 1000:1000 vllm",
    ),
    Rule(
        "token, secret or key by its name",
        Sort.NAMED,
        (rf"""({_TOKEN}{_IS}){_REAL}{_NO_NUMBER}{_NO_PROSE}[^\s,;"'()]{{6,}}""",),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYabcdefghij",
            "DefaultEndpointsProtocol=https;AccountName=w;AccountKey=abcdefghijklmnop0123456789ABCDEF==",
            'X-Api-Key: "abcdefgh"',
            "GET /v1/models?access_token=abcdefgh",
            "client_secret: Abc8Q~defghijklmnopqrstuvwxyz",
        ),
        "time to first token: 0.312s, max_tokens: 4096, invalid token: expected three parts",
    ),
    Rule(
        "Azure signature",
        Sort.NAMED,
        (r"((?<![a-z])sig=)[A-Za-z0-9%+/]{20,}=*",),
        ("https://store.blob.core.windows.net/w?sv=2024-11-04&sig=abcdefghijklmnop%2Bqrstuv0123456789%3D",),
        "sig=SIGTERM",
    ),
    Rule(
        "PagerDuty key by its name",
        Sort.NAMED,
        (rf"((?:routing|integration|service)[_ -]?key{_IS})[A-Za-z0-9]{{32}}(?![A-Za-z0-9])",),
        ("routing_key: R0123456789abcdef0123456789ABCDE",),
        "routing_key=llama-70b.requests",
    ),
    Rule(
        "Authorization header",
        Sort.NAMED,
        (
            rf"(authorization{_IS}(?:basic|bearer|digest|token|bot|key)\s+){_REAL}[^\s,;\"']{{6,}}",
            rf"(authorization{_IS}){_REAL}[^\s,;\"']{{16,}}",
        ),
        (
            "Authorization: Basic dXNlcjpwYXNz",
            "authorization: Token token=abcdefghij0123456789",
            '"authorization": "abcdefghij0123456789"',
        ),
        "authorization: denied by policy",
    ),
    Rule(
        "bearer token",
        Sort.NAMED,
        (r"(bearer\s+)(?=[A-Za-z0-9._~+/-]*\d)[A-Za-z0-9._~+/-]{16,}=*",),
        ("sent bearer abcdefghijklmnop1234",),
        "bearer authentication-required",
    ),
    Rule(
        "cookie",
        Sort.NAMED,
        (r"""(cookie\\?["']?\s?:\s?\\?["']?)[^\s=;,"']{1,200}=[^\r\n"']{6,}""",),
        ("Set-Cookie: session=0123456789abcdef; Path=/",),
        "cookie: missing",
    ),
    Rule(
        "password in an address",
        Sort.LOGIN,
        (
            rf"(://(?!\[)[^/\s:@]*:)(?!\d{{1,5}}[/?#]|\$[{{(])"
            rf"(?:{_IN_ADDRESS}{{1,200}}?(?=@{_HOST})|{_IN_ADDRESS}{{1,200}}(?<!/)(?=@(?!sha256:)))",
            r"(://[^/\s:@]*:)[^/\s@]+(?=@)",
        ),
        (
            "postgresql://app:hunter22@db.internal:5432/inference",
            "redis://:hunter22@cache:6379/0",
            "redis://default:hun/ter22@host:1",
            "https://user:p@ss:w/ord@host",
        ),
        "http://10.0.3.17:8000/v1/completions oci://registry:5000/vllm@sha256:3f5e http://[::1]:8000/@vllm/x@y",
    ),
    Rule(
        "token in an address",
        Sort.LOGIN,
        (r"(://)[A-Za-z0-9_-]{20,}(?=@)",),
        ("https://0123456789abcdef0123456789abcdef@sentry.internal/42",),
        "oci://registry.internal/vllm@sha256:3f5e8a9b1c2d4e6f",
    ),
    Rule(
        "e-mail address",
        Sort.E_MAIL,
        (
            r"(?<![\w.%+-])(?!git@)[A-Za-z0-9_][\w.%+-]*@(?:[A-Za-z0-9-]+\.)+"
            r"(?!(?:local|internal|lan|svc|service|slice|socket|scope|timer|mount|target|device)\b)[A-Za-z]{2,}\b"
            r"(?!\.\w)",
        ),
        ("owner is maya@example.com.", "<mailto:maya.lindt+gpu@mail.example.com|Maya>"),
        "vllm@sha256:3f5e git@github.com:org/repo user@1000.service root@gpu-node-17.cluster.local",
    ),
    Rule(
        "payment card",
        Sort.CARD,
        (
            r"[2-6]\d{3}(?:(?<![\w.+-]\d{4})|(?<=\\[nrt]\d{4}))"
            r"(?:([ -]?)\d{4}\1\d{4}\1\d{4}|(?<=3[47]\d\d)([ -]?)\d{6}\2\d{5})(?![\w-]|\.\d)",
        ),
        ("4111 1111 1111 1111", "4111111111111111", "3782 822463 10005", "5555-5555-5555-4444"),
        "4111 1111 1111 1112 5f0a9b2c-4111-1111-1111-1111deadbeef 1763694245678901234",
    ),
)
